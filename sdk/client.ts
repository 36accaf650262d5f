/**
 * The client of Airlock: calls actions, enqueues jobs and watches them, over one WebSocket that it keeps up.
 *
 * For browsers, Deno and Node; it knows no runtime and needs no package but zod. The protocol is that of
 * `schemas/ws_protocol.ts`, parsed by the same schemas as at the server.
 *
 * ```ts
 * await using client = new AirlockClient({ url: "http://127.0.0.1:8787", token });
 * const { output } = await client.invoke("hello", "greet", { name: "world" });
 *
 * const job = await client.enqueue({ plugin: "ngram", action: "infer", input: { prompt: "Alice was" } });
 * for await (const token of client.tokens(job.id)) console.log(token);
 * ```
 *
 * What a lost connection does: it is made again, after pauses that grow. Watches of jobs and the feed go on where
 * they were, each event once. `enqueue` and `cancel` are sent again, which is safe. `invoke` and `stream` fail with
 * ConnectionLostError, since whether the action ran is not known.
 *
 * @module
 */
import { ActionStream } from "./client/action_stream.ts";
import { checkBearer, socketUrl } from "./client/address.ts";
import { call } from "./client/call.ts";
import { type ClientClock, systemClock } from "./client/clock.ts";
import type {
  ClientOptions,
  InvokeResult,
  JobRequestInput,
  Parsed,
  PipelineRequestInput,
  RequestOptions,
  StreamOptions,
  TokensOptions,
  TokenStream,
  WatchOptions,
} from "./client/options.ts";
import type { WebSocketConstructor } from "./client/connection.ts";
import { ClientClosedError, JobFailedError } from "./client/errors.ts";
import { Exchanges } from "./client/exchanges.ts";
import { Feed } from "./client/feed.ts";
import { HttpRequests } from "./client/http_requests.ts";
import type { InboxLimits } from "./client/inbox.ts";
import { watchJob } from "./client/job_watch.ts";
import { type ClientState, Link } from "./client/link.ts";
import { Readiness } from "./client/readiness.ts";
import type { FeedEvent, Invoked, JobEvent, JobView } from "./client/server_messages.ts";

export type { ClientClock } from "./client/clock.ts";
export type { WebSocketConstructor, WebSocketLike } from "./client/connection.ts";
export * from "./client/errors.ts";
export type { ClientState } from "./client/link.ts";
export type * from "./client/options.ts";
export type { FeedEvent, JobEvent, JobView, Progress } from "./client/server_messages.ts";

/** Connects at `connect()`, or at the first request. */
export class AirlockClient implements AsyncDisposable {
  readonly #clock: ClientClock;
  readonly #timeoutMs: number;
  readonly #limits: InboxLimits;
  readonly #feed: Feed;
  readonly #link: Link;
  readonly #exchanges: Exchanges;
  readonly #readiness: Readiness;
  readonly #http: HttpRequests;

  /** Throws TypeError for an address or a token that cannot be one, and where there is no WebSocket. */
  constructor(options: ClientOptions) {
    const { url, token, clock = systemClock, onStateChange, onEvent, feed = true } = options;
    const WebSocket: WebSocketConstructor | undefined = options.WebSocket ?? globalThis.WebSocket;
    if (WebSocket === undefined) throw new TypeError("There is no WebSocket here: pass one, as `ws` has");
    this.#clock = clock;
    this.#timeoutMs = options.requestTimeoutMs ?? 30_000;
    this.#limits = {
      bufferItemsMax: options.bufferItemsMax ?? 1_024,
      bufferCharsMax: options.bufferCharsMax ?? 4_194_304,
    };
    this.#feed = new Feed(this.#limits, guarded(onEvent));
    this.#readiness = new Readiness(clock, this.#timeoutMs);
    const told = guarded(onStateChange);
    const { pongIntervalMs = 5_000, messageCharsMax = 67_108_864 } = options;
    const address = { url: socketUrl(url), token: checkBearer(token), messageCharsMax };
    const fetch = options.fetch === undefined ? globalThis.fetch.bind(globalThis) : options.fetch;
    this.#http = new HttpRequests({ ...address, fetch, clock });
    this.#link = new Link({
      ...address,
      WebSocket,
      fetch,
      clock,
      client: options.name ?? "airlock-client",
      feed,
      openTimeoutMs: this.#timeoutMs,
      stableMs: pongIntervalMs,
      silenceMaxMs: options.silenceMaxMs ?? 3 * pongIntervalMs,
      backoffMs: options.backoffMs ?? 250,
      backoffMaxMs: options.backoffMaxMs ?? 30_000,
      attemptsMax: options.attemptsMax ?? 1_000,
      faultsMax: 5,
    }, {
      ready: (payload) => {
        this.#readiness.ready();
        this.#feed.ready(payload.feed);
        this.#exchanges.ready(payload);
      },
      message: (message, chars) => {
        if (message.type === "EVENT" && message.id === null) this.#feed.receive(message.payload, chars);
        else this.#exchanges.receive(message, chars);
      },
      unreadable: (message) => this.#exchanges.receiveUnreadable(message),
      lost: (cause) => this.#exchanges.lost(cause),
      failed: (cause) => {
        this.#readiness.failed(cause);
        this.#exchanges.failed(cause);
        this.#feed.failed(cause);
      },
      changed: (state, cause) => told?.(state, cause),
      feedAfter: () => this.#feed.after,
    });
    this.#exchanges = new Exchanges(this.#link, 1_024);
  }

  /** ERROR: it was refused, gave up, or was closed; see `cause`. Before it connects: CONNECTING. */
  get state(): ClientState {
    return this.#link.state;
  }

  /** Why the state is ERROR; while CONNECTING, why the last connection ended. */
  get cause(): Error | undefined {
    return this.#link.cause;
  }

  /** Connects; after an ERROR, anew. Resolves and rejects as `ready()`. */
  async connect(): Promise<void> {
    this.#link.start();
    await this.ready();
  }

  /**
   * Resolves when READY. Rejects with ConnectionRefusedError, GaveUpError or ClientClosedError, and after
   * `requestTimeoutMs` with RequestTimeoutError: then it is still trying.
   */
  async ready(): Promise<void> {
    this.#exchanges.checkTrying();
    if (this.state !== "READY") await this.#readiness.wait();
  }

  /**
   * Calls an action, once: a call that is lost with its connection may have run, and rejects with
   * ConnectionLostError. Else rejects with AirlockError, RequestTimeoutError (whose `outcome` says whether it may
   * have run) or the signal's reason; after these two the call is cancelled. The output is `unknown`, unless `parse`
   * is given.
   */
  invoke<T>(
    plugin: string,
    action: string,
    input: unknown,
    options: RequestOptions & Parsed<T>,
  ): Promise<InvokeResult<T>>;
  invoke(
    plugin: string,
    action: string,
    input?: unknown,
    options?: RequestOptions,
  ): Promise<InvokeResult<unknown>>;
  async invoke(
    plugin: string,
    action: string,
    input?: unknown,
    options: RequestOptions & Partial<Parsed<unknown>> = {},
  ): Promise<InvokeResult<unknown>> {
    const invoked = await call(this.#exchanges, this.#clock, {
      ...this.#request(options),
      body: { type: "INVOKE", payload: { plugin, action, input } },
      isRepeatable: false,
      read: (result) => result.kind === "invoked" ? result : undefined,
    });
    return resultOf(invoked, options.parse);
  }

  /**
   * Calls an action that streams. Its tokens are to be read as they come: a reader that falls behind by a whole
   * buffer gets a BufferOverflowError, and a lost connection is a ConnectionLostError. A reader that stops early
   * cancels the call.
   */
  stream<Token, Output>(
    plugin: string,
    action: string,
    input: unknown,
    options: StreamOptions & Parsed<Output> & { readonly parseToken: (token: unknown) => Token },
  ): TokenStream<Token, Output>;
  stream(
    plugin: string,
    action: string,
    input?: unknown,
    options?: StreamOptions,
  ): TokenStream<unknown, unknown>;
  stream(
    plugin: string,
    action: string,
    input?: unknown,
    options: StreamOptions & Partial<Parsed<unknown>> & { parseToken?: (token: unknown) => unknown } = {},
  ): TokenStream<unknown, unknown> {
    const { signal, onProgress, parse, parseToken } = options;
    const stream = new ActionStream(this.#exchanges, this.#limits, {
      body: { type: "INVOKE", payload: { plugin, action, input, stream: true } },
      clock: this.#clock,
      timeoutMs: this.#timeoutMs,
      signal,
      onProgress: guarded(onProgress),
    });
    const result = stream.result.then((invoked) => resultOf(invoked, parse));
    // As above: who reads the tokens is told by them.
    result.catch(() => {});
    return { result, [Symbol.asyncIterator]: () => parsedTokens(stream.tokens(), parseToken) };
  }

  /**
   * Enqueues a job. It is on disk when this resolves. Without an `idempotencyKey` one is made up, so that it can be
   * sent again after a lost connection and still be one job; with null it is not sent again. To try again yourself
   * after a RequestTimeoutError, give a key of your own.
   */
  enqueue(request: JobRequestInput, options: RequestOptions = {}): Promise<JobView> {
    const { idempotencyKey = randomKey() } = request;
    return call(this.#exchanges, this.#clock, {
      ...this.#request(options),
      body: { type: "ENQUEUE", payload: { ...request, idempotencyKey } },
      isRepeatable: idempotencyKey !== null,
      read: (result) => result.kind === "job" ? result.job : undefined,
    });
  }

  /** Cancels a job; one that has ended is left as it is. Resolves with the job, where Airlock says what became of it. */
  cancel(jobId: string, options: RequestOptions = {}): Promise<JobView | null> {
    return call(this.#exchanges, this.#clock, {
      ...this.#request(options),
      body: { type: "CANCEL", payload: { job: jobId } },
      isRepeatable: true,
      read: (result) => result.kind === "job" ? result.job : result.kind === "done" ? null : undefined,
    });
  }

  /**
   * A job as it is now, its output included. Goes by HTTP, as do the next two: see the README. They reject with
   * AirlockError, RequestTimeoutError, ConnectionLostError, ProtocolError or the signal's reason.
   */
  job(jobId: string, options: RequestOptions = {}): Promise<JobView> {
    const path = `/v1/jobs/${encodeURIComponent(jobId)}`;
    return this.#http.job({ ...this.#request(options), method: "GET", path });
  }

  /** Tries a job again that has failed or was cancelled. */
  retry(jobId: string, options: RequestOptions = {}): Promise<JobView> {
    const path = `/v1/jobs/${encodeURIComponent(jobId)}/retry`;
    return this.#http.job({ ...this.#request(options), method: "POST", path });
  }

  /** Enqueues a pipeline: its job. To try again after a lost connection, give an `idempotencyKey` of your own. */
  pipeline(request: PipelineRequestInput, options: RequestOptions = {}): Promise<JobView> {
    return this.#http.job({
      ...{ ...this.#request(options), method: "POST", path: "/v1/pipelines", body: request },
    });
  }

  /**
   * A job's events, each once and in order, over lost connections; ends when the job has ended. Throws AirlockError
   * (JOB_NOT_FOUND, FORBIDDEN, …), the signal's reason, or what the client failed of.
   */
  watch(jobId: string, { after = 0, signal }: WatchOptions = {}): AsyncGenerator<JobEvent, void, void> {
    return watchJob(this.#exchanges, this.#limits, { job: jobId, after, signal });
  }

  /**
   * A job's tokens, likewise, of every attempt one after the other: see `onAttempt`. Ends when the job is completed,
   * and throws JobFailedError when it has ended otherwise and was not tried again.
   */
  async *tokens(jobId: string, options: TokensOptions = {}): AsyncGenerator<unknown, void, void> {
    let failed: JobView | undefined;
    for await (const { event, data } of this.watch(jobId, options)) {
      switch (event) {
        case "JOB_QUEUED":
          failed = undefined;
          break;
        case "JOB_STARTED":
          failed = undefined;
          options.onAttempt?.(data.attempt);
          break;
        case "JOB_PROGRESS":
          options.onProgress?.(data);
          break;
        case "JOB_TOKEN":
          yield data;
          break;
        case "JOB_FAILED":
        case "JOB_CANCELLED":
          // An attempt that failed and is made again leaves the job pending.
          if (data.state === "failed" || data.state === "cancelled") failed = data;
          break;
        case "JOB_COMPLETED":
          return;
      }
    }
    if (failed !== undefined) throw new JobFailedError(failed);
  }

  /**
   * The feed, from the first read on; a reader that falls behind by a whole buffer finds an EVENTS_DROPPED in the
   * place of what it missed. `after`, the id of an event, is where the feed is resumed; since a connection has one
   * feed, it can be given before the client connects only (else TypeError).
   */
  async *events(
    { after, signal }: { readonly after?: string; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<FeedEvent, void, void> {
    if (after !== undefined) this.#feed.resumeAfter(after, this.#link.isStarted);
    this.#exchanges.checkTrying();
    yield* this.#feed.read(signal);
  }

  /** Ends everything that is under way with ClientClosedError. The client cannot be used again. */
  async close(): Promise<void> {
    this.#http.close(new ClientClosedError("The client was closed"));
    await this.#link.close(1_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #request({ signal, timeoutMs = this.#timeoutMs }: RequestOptions) {
    return { signal, timeoutMs };
  }
}

function resultOf(
  { kind: _, ...invoked }: Invoked,
  parse?: (value: unknown) => unknown,
): InvokeResult<unknown> {
  return parse === undefined ? invoked : { ...invoked, output: parse(invoked.output) };
}

async function* parsedTokens(
  tokens: AsyncIterable<unknown>,
  parse: (token: unknown) => unknown = (token) => token,
) {
  for await (const token of tokens) yield parse(token);
}

/** Not `crypto.randomUUID()`: a browser has that on secure pages only. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a callback throws is its program's error, reported as one, and must not stop what calls it. */
function guarded<Args extends unknown[]>(
  callback: ((...args: Args) => void) | undefined,
): ((...args: Args) => void) | undefined {
  if (callback === undefined) return undefined;
  return (...args) => {
    try {
      callback(...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}
