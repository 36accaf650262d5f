/**
 * The typed protocol: `GET /v1/ws`, upgraded to a WebSocket that speaks `schemas/ws_protocol.ts`.
 *
 * What Deno's server WebSocket does by itself, and cannot be told otherwise: a frame above 64 MiB, or a text that is
 * not UTF-8, ends the socket without a close frame; a message in many frames is put together whatever its size, and
 * refused only then; and a close frame that the client never answers leaves the socket to the client. It pings a client
 * that it heard nothing from, see {@linkcode idleTimeoutS}.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { type Clock, systemClock } from "../../sandbox/clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { within } from "../within.ts";
import { checkReady } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import type { EventReaders } from "./event_readers.ts";
import { tokenProblems } from "./responses.ts";
import { requestIdHeader, securityHeaders } from "./security_headers.ts";
import { admitCaller, checkSource, readOffer } from "./ws/admit_upgrade.ts";
import { Connection } from "./ws/connection.ts";
import { slowestBytesPerSecond } from "./ws/outbox.ts";

export interface WsOptions {
  /** Where each connection takes a place. */
  readonly readers: EventReaders;
  readonly connections: WsConnections;
  readonly clock?: Clock | undefined;
}

/** Those that are open: whoever ends the server has to end them. Their number is bounded by the readers' places. */
export class WsConnections {
  readonly #open = new Set<Connection>();

  constructor(private readonly limits: { readonly drainTimeoutMs: number }) {}

  get count(): number {
    return this.#open.size;
  }

  /** Returns what is to be called when the connection is no more. */
  enter(connection: Connection): () => void {
    this.#open.add(connection);
    return () => this.#open.delete(connection);
  }

  /**
   * Lets what is under way be answered and closes all, with 1001. Takes `drainTimeoutMs` at most; then
   * they are closed all the same. To be awaited before the server's own shutdown, which cuts what it finds.
   */
  async closeAll(): Promise<void> {
    const all = [...this.#open];
    await within(this.limits.drainTimeoutMs, Promise.all(all.map((one) => one.drain())));
    for (const one of all) one.close();
  }
}

const wsRoute = createRoute({
  method: "get",
  path: "/v1/ws",
  operationId: "openWebSocket",
  tags: ["events"],
  summary: "Open a WebSocket",
  description:
    "Needs the role `viewer`. Offer the subprotocol `airlock.v1`, and where no header can be set also " +
    "`bearer.<token>`. Messages are JSON texts, see `schemas/ws_protocol.ts`. A page of another origin needs " +
    "`streams.origins`, and another name than the address listened on `streams.hosts`.",
  security: [{ bearer: [] }],
  responses: {
    101: { description: "The socket is open; the client begins with INIT." },
    ...tokenProblems("UPGRADE_REQUIRED", "INPUT_INVALID", "QUEUE_FULL"),
  },
});

/** The answer of an upgrade is used as it is, so that it is given all its headers here. */
export function registerWs(
  app: Api,
  kernel: ApiKernel,
  { readers, connections, clock = systemClock }: WsOptions,
): void {
  app.openAPIRegistry.registerPath(wsRoute);
  app.get(wsRoute.getRoutingPath(), (c) => {
    checkReady(kernel);
    const { raw } = c.req;
    const { protocol, credentials } = readOffer(raw.headers);
    const caller = admitCaller(kernel, credentials);
    c.set("caller", caller);
    checkSource(kernel.config, raw.headers);
    let connection: Connection | undefined;
    let forget = () => {};
    const leave = readers.enter(caller.actor, () => void connection?.drain());
    try {
      const { socket, response } = upgrade(raw, idleTimeoutS(kernel.config.streams));
      const ended = () => {
        leave();
        forget();
      };
      const authenticate = () => admitCaller(kernel, credentials);
      connection = new Connection({ kernel, socket, caller, clock, authenticate, ended });
      forget = connections.enter(connection);
      for (const [name, value] of Object.entries(securityHeaders)) response.headers.set(name, value);
      response.headers.set(requestIdHeader, c.get("requestId"));
      // Not by Deno's own option: that does not find a protocol in a list without spaces.
      if (protocol !== undefined) response.headers.set("sec-websocket-protocol", protocol);
      return response;
    } catch (error) {
      leave();
      throw error;
    }
  });
}

/** Of a long message, what may lie in the system's own buffers once the socket is rid of it. */
const systemBufferBytes = 4_194_304;

/**
 * For half of this Deno waits before it pings a silent client, and for the other half before it ends one that does not
 * answer. A ping comes behind what is on its way, so a client that takes that slowly, and not too slowly for
 * `ws/outbox.ts`, must be able to answer by then.
 */
export function idleTimeoutS({ readerTimeoutMs }: { readonly readerTimeoutMs: number }): number {
  return 2 * Math.ceil(readerTimeoutMs / 1_000 + systemBufferBytes / slowestBytesPerSecond);
}

/** Throws UPGRADE_REQUIRED, and INPUT_INVALID for an upgrade that lacks what belongs to one. */
function upgrade(request: Request, idleTimeout: number): Deno.WebSocketUpgrade {
  const asked = request.headers.get("upgrade")?.toLowerCase().split(",").map((name) => name.trim()) ?? [];
  if (request.method !== "GET" || !asked.includes("websocket")) {
    throw new ProblemError("UPGRADE_REQUIRED", "Cannot open a WebSocket: the request is no upgrade to one");
  }
  try {
    return Deno.upgradeWebSocket(request, { idleTimeout });
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    const state = "the request is no proper upgrade to one";
    throw new ProblemError("INPUT_INVALID", `Cannot open a WebSocket: ${state}`, { cause });
  }
}
