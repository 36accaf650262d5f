/**
 * A connection is one WebSocket: opened, introduced by INIT, watched for signs of life, ended once.
 *
 * It is not made again: `link.ts` makes the next. The token goes into the list of subprotocols, where a browser can
 * put it too, and never into an address.
 *
 *     opening → initialising → ready → ended; and from each of them to ended
 *     opening → asking → ended                it did not open, and the server is asked why
 *
 * @module
 */
import { wsProtocolVersion, wsSubprotocol, wsTokenPrefix } from "../../schemas/ws_protocol.ts";
import type { ClientClock } from "./clock.ts";
import { AirlockError, ConnectionLostError, ConnectionRefusedError, ProtocolError } from "./errors.ts";
import { readMessage, type Unreadable } from "./read_message.ts";
import type { Ready, ServerMessage } from "./server_messages.ts";

/** What the client needs of a WebSocket: the browser's, Deno's, Node's, and that of the package `ws` have it. */
export interface WebSocketLike {
  readonly protocol: string;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(
    type: "open" | "message" | "close" | "error",
    listener: (event: { readonly data?: unknown; readonly code?: number }) => void,
  ): void;
}
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface ConnectionOptions {
  /** `ws:` or `wss:`. */
  readonly url: string;
  readonly token: string;
  readonly WebSocket: WebSocketConstructor;
  /** Asks why an upgrade was refused; null: never. */
  readonly fetch: typeof fetch | null;
  readonly clock: ClientClock;
  readonly client: string;
  readonly feed: boolean;
  readonly openTimeoutMs: number;
  /** So long without a whole message, and the server is taken for dead. */
  readonly silenceMaxMs: number;
  readonly messageCharsMax: number;
}

/** `refused`: no use to try again. `fault`: the server does not keep the protocol. */
export interface ConnectionEnd {
  readonly kind: "lost" | "refused" | "fault";
  readonly cause: Error;
}

export interface ConnectionHandlers {
  ready(payload: Ready): void;
  /** Throws ProtocolError for what it does not expect. */
  message(message: ServerMessage, chars: number): void;
  /** Throws ProtocolError where nothing was asked under its id. */
  unreadable(message: Unreadable): void;
  /** Once, and nothing after it. */
  ended(end: ConnectionEnd): void;
}

const initId = "init";
/** With this the server closes a connection whose token was revoked. */
const revokedCode = 4_401;
/** Refusals of INIT that may be others the next time. */
const passing: readonly string[] = ["NOT_READY", "QUEUE_FULL", "INTERNAL", "PROCESSING_ERROR"];

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #socket: WebSocketLike;
  readonly #closed: Promise<void>;
  #phase: "opening" | "asking" | "initialising" | "ready" | "ended" = "opening";
  #heardAtMs: number;
  #cancelTimer: () => void;
  readonly #asking = new AbortController();

  /** Throws what the WebSocket's constructor throws. */
  constructor(options: ConnectionOptions, handlers: ConnectionHandlers, feedAfter: string | undefined) {
    this.#options = options;
    this.#handlers = handlers;
    this.#heardAtMs = options.clock.nowMs();
    this.#socket = new options.WebSocket(options.url, [wsSubprotocol, wsTokenPrefix + options.token]);
    const on = this.#socket.addEventListener.bind(this.#socket);
    on("open", () => this.#opened(feedAfter));
    on("message", ({ data }) => this.#received(data));
    // A close follows; but not in Node 20, of one that did not open.
    on("error", () => {
      if (this.#phase === "opening") this.#socketClosed(undefined);
    });
    this.#closed = new Promise((resolve) => on("close", () => resolve()));
    on("close", ({ code }) => this.#socketClosed(code));
    this.#cancelTimer = options.clock.setTimer(
      () => this.#lose(`it was not ready within ${options.openTimeoutMs} ms`),
      options.openTimeoutMs,
    );
  }

  /** Resolves when the socket is closed; that may take long, where the server is dead. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  send(text: string): void {
    if (this.#phase === "ready") this.#socket.send(text);
  }

  end(end: ConnectionEnd): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#cancelTimer();
    this.#asking.abort();
    // 4000 to 4999 are an application's own; a browser's socket takes no other but 1000.
    this.#socket.close(end.kind === "fault" ? 4_002 : 1_000);
    this.#handlers.ended(end);
  }

  #lose(state: string, cause?: unknown): void {
    const message = `Cannot stay connected to "${this.#options.url}": ${state}`;
    this.end({ kind: "lost", cause: new ConnectionLostError(message, "unknown", cause) });
  }

  #refuse(state: string, status?: number, cause?: unknown): void {
    const message = `Cannot connect to "${this.#options.url}": ${state}`;
    this.end({ kind: "refused", cause: new ConnectionRefusedError(message, status, cause) });
  }

  #opened(feedAfter: string | undefined): void {
    if (this.#phase !== "opening") return;
    if (this.#socket.protocol !== wsSubprotocol) {
      return this.#refuse(`it does not speak ${wsSubprotocol}`);
    }
    this.#phase = "initialising";
    const { client, feed } = this.#options;
    const payload = {
      version: wsProtocolVersion,
      client,
      feed,
      ...(feedAfter === undefined ? {} : { feedAfter }),
    };
    this.#socket.send(JSON.stringify({ type: "INIT", id: initId, payload }));
  }

  #received(data: unknown): void {
    if (this.#phase === "ended") return;
    try {
      this.#heardAtMs = this.#options.clock.nowMs();
      const message = readMessage(data, this.#options.messageCharsMax);
      // A newer server's: a sign of life like any other.
      if (message === undefined) return;
      if (message.type === "UNREADABLE") {
        if (this.#phase !== "ready") throw message.cause;
        this.#handlers.unreadable(message);
      } else if (this.#phase === "ready") {
        if (isRevocation(message)) return this.#refuse("the token is not valid any more", 401);
        if (message.type === "READY") throw new ProtocolError('Cannot take "READY": it came before');
        this.#handlers.message(message, typeof data === "string" ? data.length : 0);
      } else this.#introduced(message);
    } catch (error) {
      // What a handler throws else is a bug of the client's, and no reason to keep a connection in a state unknown.
      const cause = error instanceof Error ? error : new ProtocolError("Cannot take a message", error);
      this.end({ kind: "fault", cause });
    }
  }

  /** The answer to INIT. */
  #introduced(message: ServerMessage): void {
    if (message.type === "PONG") return;
    if (message.type === "READY" && message.id === initId) {
      this.#phase = "ready";
      this.#cancelTimer();
      this.#watchPulse();
      return this.#handlers.ready(message.payload);
    }
    if (message.type !== "ERROR") {
      throw new ProtocolError(`Cannot take "${message.type}": it came before READY`);
    }
    const error = new AirlockError(message.payload);
    if (passing.includes(error.code)) this.#lose(error.message, error);
    else this.#refuse(`${error.code}: ${error.message}`, undefined, error);
  }

  /** One timer, and not one for each message: tokens are many. */
  #watchPulse(): void {
    const { clock, silenceMaxMs } = this.#options;
    this.#cancelTimer = clock.setTimer(() => {
      const silentMs = clock.nowMs() - this.#heardAtMs;
      if (silentMs < silenceMaxMs) this.#watchPulse();
      else this.#lose(`it gave no sign of life for ${Math.round(silentMs)} ms`);
    }, this.#heardAtMs + silenceMaxMs - clock.nowMs());
  }

  #socketClosed(code: number | undefined): void {
    if (code === revokedCode) return this.#refuse("the token is not valid any more", 401);
    if (this.#phase === "asking") return;
    if (this.#phase !== "opening") return this.#lose(`it was closed, with code ${code ?? "none"}`);
    this.#phase = "asking";
    // A WebSocket does not say why it did not open; the same address by HTTP does, where it may be asked.
    this.#askWhy().then((status) => {
      if (status === 401) this.#refuse("the token is not valid (401)", status);
      else if (status === 403) this.#refuse("this token, or this page's origin, may not (403)", status);
      else this.#lose("it did not open");
    });
  }

  /** Status of the same address by HTTP; undefined where that cannot be known. Never rejects; the timer bounds it. */
  async #askWhy(): Promise<number | undefined> {
    const { fetch: ask, url, token } = this.#options;
    if (ask === null) return undefined;
    try {
      const answer = await ask(url.replace(/^ws/, "http"), {
        headers: { authorization: `Bearer ${token}` },
        redirect: "manual",
        credentials: "omit",
        cache: "no-store",
        signal: this.#asking.signal,
      });
      await answer.body?.cancel();
      return answer.status;
    } catch {
      return undefined; // Not reachable, or not to be asked from this page: then it is tried again.
    }
  }
}

function isRevocation(message: ServerMessage): boolean {
  return message.type === "ERROR" && message.id === null && message.payload.code === "UNAUTHENTICATED";
}
