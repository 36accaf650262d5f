/**
 * What callers of the client give it and get from it. Types only.
 *
 * @module
 */
import type { z } from "zod";
import type { jobRequestSchema } from "../../schemas/job.ts";
import type { pipelineRequestSchema, stepSchema } from "../../schemas/pipeline.ts";
import type { ClientClock } from "./clock.ts";
import type { WebSocketConstructor } from "./connection.ts";
import type { ClientState } from "./link.ts";
import type { FeedEvent, Invoked, Progress } from "./server_messages.ts";

/** What `enqueue` takes: as `POST /v1/jobs`. */
export type JobRequestInput = z.input<typeof jobRequestSchema>;

type StepInput = z.input<typeof stepSchema>;
type PlanItemInput = StepInput | { readonly parallel: (StepInput | PlanItemInput[])[] };
/** What `pipeline` takes: as `POST /v1/pipelines`. */
export interface PipelineRequestInput extends Omit<z.input<typeof pipelineRequestSchema>, "steps"> {
  readonly steps: readonly PlanItemInput[];
}

/** What came of a call, and the signed checkpoint (base64) that covers its entry in the ledger. */
export interface InvokeResult<Output> extends Omit<Invoked, "kind" | "output"> {
  readonly output: Output;
}

/** The tokens of a call as they come; they can be read once. */
export interface TokenStream<Token, Output> extends AsyncIterable<Token> {
  /** Rejects with what reading the tokens throws. */
  readonly result: Promise<InvokeResult<Output>>;
}

export interface ClientOptions {
  /** Where Airlock is, `http://127.0.0.1:8787`, or its WebSocket, `ws://127.0.0.1:8787/v1/ws`. */
  readonly url: string;
  readonly token: string;
  /** The runtime's own, if left out; Node before 22 has none, and takes that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /**
   * For `job`, `retry` and `pipeline`, which go by HTTP, and to ask why a WebSocket did not open, so that a wrong
   * token is told; null: neither. The runtime's own, if left out.
   */
  readonly fetch?: typeof fetch | null;
  /** Name and version of the program, for Airlock's log. */
  readonly name?: string;
  /** From a request to its answer, and to READY: 30 s. */
  readonly requestTimeoutMs?: number;
  /** Pause before the first try to connect again: 250 ms. */
  readonly backoffMs?: number;
  /** Longest pause: 30 s. */
  readonly backoffMaxMs?: number;
  /** Tries in a row after which it gives up: 1,000. One that is READY for `pongIntervalMs` ends the row. */
  readonly attemptsMax?: number;
  /** As the server's `streams.pongIntervalMs`: 5 s. */
  readonly pongIntervalMs?: number;
  /**
   * So long without a message, and a connection is dead: three times `pongIntervalMs`. A message counts when all of
   * it is there, and nothing comes beside it: give more where the largest may take longer on the network.
   */
  readonly silenceMaxMs?: number;
  /** Longest message that is taken from the server, in UTF-16 units: 67,108,864. */
  readonly messageCharsMax?: number;
  /** Events or tokens that wait for one reader: 1,024. */
  readonly bufferItemsMax?: number;
  /** The same, in UTF-16 units of what came: 4,194,304. */
  readonly bufferCharsMax?: number;
  /** Whether the feed is wanted: yes. */
  readonly feed?: boolean;
  readonly onStateChange?: (state: ClientState, cause: Error | undefined) => void;
  /** Of each event of the feed. */
  readonly onEvent?: (event: FeedEvent) => void;
  readonly clock?: ClientClock;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
  /** The client's `requestTimeoutMs`, if left out. */
  readonly timeoutMs?: number;
}

/** Checks and types what a plugin returned; what it throws is thrown on. */
export interface Parsed<T> {
  readonly parse: (value: unknown) => T;
}

export interface StreamOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface WatchOptions {
  /** Only what comes after this `seq`. */
  readonly after?: number;
  readonly signal?: AbortSignal;
}

export interface TokensOptions extends WatchOptions {
  /**
   * Told before the first token of each attempt (1, 2, …). What came before a second one is void: a reader that
   * collects tokens empties its collection here.
   */
  readonly onAttempt?: (attempt: number) => void;
  readonly onProgress?: (progress: Progress) => void;
}
