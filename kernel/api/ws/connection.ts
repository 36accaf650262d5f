/**
 * A connection is one WebSocket client of the typed protocol, from its upgrade to the end of its socket.
 *
 *     opened --INIT--> ready --drain--> draining --> closed
 *
 * Invariants:
 * - every message is answered, whatever is in it, until the connection is closed;
 * - nothing but INIT is answered before INIT, and no INIT in time ends it;
 * - it ends when its token does, at the next act or the next sign of life;
 * - closed, it holds no cursor, no timer, and no call that goes on. Its place is given back with its socket's end and
 *   not before: a client that answers nothing keeps the socket, and would have any number of them.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../../../sandbox/clock.ts";
import { roleIncludes } from "../../../schemas/api.ts";
import type { Fault } from "../../../schemas/problem.ts";
import { type ClientMessage, wsProtocolVersion } from "../../../schemas/ws_protocol.ts";
import type { FeedCursor } from "../../bus/feed.ts";
import { Tracker } from "../../tracker.ts";
import { checkReady } from "../authenticate.ts";
import type { Caller } from "../context.ts";
import { toProblemError } from "../problems.ts";
import { Outbox } from "./outbox.ts";
import { parseMessage } from "./parse_message.ts";
import { pump } from "./pump.ts";
import { Requests, toWsError, type WsKernel } from "./requests.ts";
import { errorText, eventPayload, messageText } from "./server_messages.ts";

const logger = getLogger(["airlock", "api", "ws"]);

/** Codes of the close frame: those of RFC 6455, and 4000 and more for what only this protocol has. */
export const closeCodes = { goingAway: 1001, revoked: 4401, initTimeout: 4408, tooSlow: 4429 } as const;

/** Beside an input, which is bounded as a body is: what else stands in its message. */
export const envelopeBytesMax = 65_536;

/** Who may send neither inputs nor jobs has nothing long to say, and parsing costs time and memory. */
const viewerMessageBytesMax = 65_536;

export interface ConnectionOptions {
  readonly kernel: WsKernel;
  readonly socket: WebSocket;
  readonly caller: Caller;
  readonly clock: Clock;
  /** Throws UNAUTHENTICATED when the token no longer stands for anybody. */
  authenticate(): Caller;
  /** The socket is no more; called once. */
  ended(): void;
}

export class Connection {
  readonly #outbox: Outbox;
  readonly #requests: Requests;
  readonly #tracker = new Tracker((error) => logger.error("The feed failed: {error}", { error }));
  readonly #closing = new AbortController();
  readonly #socketEnded = Promise.withResolvers<void>();
  readonly #messageBytesMax: number;
  #state: "opened" | "ready" | "draining" | "closed" = "opened";
  #cancelTimer: () => void;

  constructor(private readonly options: ConnectionOptions) {
    const { kernel, socket, clock, caller } = options;
    const { http, streams } = kernel.config;
    const { readerBytesMax, readerTimeoutMs, initTimeoutMs } = streams;
    this.#outbox = new Outbox({
      ...{ socket, clock, bytesMax: readerBytesMax, timeoutMs: readerTimeoutMs },
      tooSlow: () => this.#close(closeCodes.tooSlow, "reader too slow"),
    });
    this.#requests = new Requests({
      ...{ kernel, outbox: this.#outbox, authenticate: options.authenticate },
      revoked: () => this.#close(closeCodes.revoked, "token revoked"),
    });
    const ownBytesMax = roleIncludes(caller.role, "invoker")
      ? http.bodyBytesMax + envelopeBytesMax
      : viewerMessageBytesMax;
    this.#messageBytesMax = Math.min(streams.messageBytesMax, ownBytesMax);
    this.#cancelTimer = clock.setTimer(() => this.#close(closeCodes.initTimeout, "no INIT"), initTimeoutMs);
    socket.onmessage = ({ data }) => this.#receive(data);
    // What went wrong with a socket is the client's or the network's affair; its end comes next.
    socket.onerror = () => this.#release();
    socket.onclose = () => {
      this.#release();
      options.ended();
      this.#socketEnded.resolve();
    };
  }

  /** Lets what is under way be answered, then closes. Resolves when the socket is no more. Safe to repeat. */
  async drain(): Promise<void> {
    if (this.#state === "ready") {
      this.#state = "draining";
      await this.#requests.drained();
    }
    this.#close(closeCodes.goingAway, "Airlock is stopping");
    await this.#socketEnded.promise;
  }

  /** Closes at once. */
  close(): void {
    this.#close(closeCodes.goingAway, "Airlock is stopping");
  }

  #close(code: number, reason: string): void {
    if (this.#state === "closed") return;
    this.#release();
    this.options.socket.close(code, reason);
  }

  #release(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#cancelTimer();
    this.#outbox.close();
    this.#closing.abort();
    this.#tracker.track(this.#requests.abort());
  }

  #receive(data: unknown): void {
    if (this.#state === "closed") return;
    if (typeof data !== "string") return this.#invalid(null, [{ path: "", message: "must be text" }]);
    const parsed = parseMessage(data, this.#messageBytesMax);
    if (!parsed.ok) return this.#invalid(parsed.id, parsed.errors);
    const { message } = parsed;
    if (this.#requests.has(message.id)) {
      const errors = [{ path: "/id", message: "must not be the id of a request under way" }];
      return this.#invalid(message.id, errors);
    }
    this.#handle(message);
  }

  #handle(message: ClientMessage): void {
    const { id, type } = message;
    if (type === "INIT") return this.#init(message);
    if (this.#state === "opened") {
      const state = "INIT comes first";
      return this.#outbox.post(
        errorText(id, { code: "NOT_READY", message: `Cannot answer "${type}": ${state}` }),
      );
    }
    if (type === "PING") return this.#pong(id);
    this.#requests.begin(message);
  }

  #init({ id, payload }: Extract<ClientMessage, { type: "INIT" }>): void {
    if (this.#state !== "opened") {
      return this.#invalid(id, [{ path: "/type", message: "must be INIT once only" }]);
    }
    const { kernel, caller } = this.options;
    if (!/^1(?:\.|$)/.test(payload.version)) {
      const state = `this is version ${wsProtocolVersion}`;
      const message = `Cannot speak version ${JSON.stringify(payload.version)} of the protocol: ${state}`;
      return this.#outbox.post(errorText(id, { code: "INIT_FAILED", message }));
    }
    let feed: FeedCursor | undefined;
    try {
      checkReady(kernel);
      feed = payload.feed ? kernel.feed.watch(payload.feedAfter) : undefined;
    } catch (error) {
      return this.#outbox.post(errorText(id, toWsError(toProblemError(error))));
    }
    this.#state = "ready";
    this.#cancelTimer();
    logger.debug("{actor} speaks the protocol by {client}", {
      ...{ actor: caller.actor, client: payload.client ?? "an unnamed client" },
    });
    const { requestsMax } = kernel.config.streams;
    const ready = {
      ...{ version: wsProtocolVersion, airlock: kernel.version, uptimeMs: this.#uptimeMs() },
      ...{ messageBytesMax: this.#messageBytesMax, requestsMax, feed: feed?.id ?? null },
    };
    this.#outbox.post(messageText("READY", id, JSON.stringify(ready)));
    this.#keepPonging();
    if (feed !== undefined) this.#tracker.track(this.#sendFeed(feed));
  }

  async #sendFeed(feed: FeedCursor): Promise<void> {
    using cursor = feed;
    await pump({
      ...{ cursor, outbox: this.#outbox, signal: this.#closing.signal },
      toText: (event) => messageText("EVENT", null, eventPayload(event, "feed")),
    });
  }

  #keepPonging(): void {
    const { kernel, clock } = this.options;
    this.#cancelTimer = clock.setTimer(() => {
      if (!this.#checkToken()) return;
      // What waits is a sign of life itself.
      if (!this.#outbox.isBusy) this.#pong(null);
      this.#keepPonging();
    }, kernel.config.streams.pongIntervalMs);
  }

  /** A client that only listens must not hear what happens for longer than its token is good. */
  #checkToken(): boolean {
    try {
      this.options.authenticate();
      return true;
    } catch (error) {
      this.#outbox.post(errorText(null, toWsError(toProblemError(error))));
      this.#close(closeCodes.revoked, "token revoked");
      return false;
    }
  }

  #pong(id: string | null): void {
    this.#outbox.post(messageText("PONG", id, `{"uptimeMs":${this.#uptimeMs()}}`));
  }

  #uptimeMs(): number {
    return Math.max(0, Date.now() - this.options.kernel.startedAtMs);
  }

  #invalid(id: string | null, errors: Fault[]): void {
    const [{ path, message } = { path: "", message: "does not fit" }] = errors;
    const where = path === "" ? "it" : path;
    const told = `Cannot read the message: ${where} ${message}`;
    this.#outbox.post(errorText(id, { code: "INVALID_MESSAGE", message: told, errors }));
  }
}
