/**
 * The context of a request: what the API uses of the kernel, and what one request carries along.
 *
 * Types only.
 *
 * @module
 */
import type { Context } from "hono";
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Feed } from "../bus/feed.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Kernel } from "../kernel.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Shredder } from "../ledger/shredder.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Tokens } from "../trust/tokens.ts";

/** The part of the kernel that the API speaks to. */
export interface ApiKernel extends
  Pick<
    Kernel,
    "audit" | "config" | "version" | "startedAtMs" | "status" | "plugins" | "router" | "refuse" | "lane"
  > {
  readonly ledger: Pick<
    Ledger,
    "verifierKeys" | "checkpoint" | "checkpointBase64" | "reader" | "rotateKey" | "retireKey"
  >;
  readonly commitments: Shredder;
  readonly tokens: Pick<Tokens, "authenticate" | "create" | "list" | "revoke" | "refused">;
  readonly metrics: Pick<Metrics, "requestEnded" | "render">;
  readonly jobs: Jobs;
  readonly feed: Pick<Feed, "watch">;
}

/** Whom a bearer token stands for. */
export type Caller = NonNullable<ReturnType<Tokens["authenticate"]>>;

export interface ApiEnv {
  Variables: {
    /** Made by us for each request; one from outside is never taken over. */
    requestId: string;
    /** Set once the token was accepted, whatever its role. */
    caller?: Caller;
    /** Set before the request is handed to the router, which records the calls it refuses itself. */
    recorded?: true;
  };
}

export type Api = OpenAPIHono<ApiEnv>;
export type ApiContext = Context<ApiEnv>;
