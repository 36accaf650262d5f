/**
 * A link is what a client has to its server for as long as it lives: one connection after the other.
 *
 *     CONNECTING → READY → CONNECTING …      READY or CONNECTING → ERROR: refused, gave up or closed
 *     ERROR → CONNECTING                     by start(), unless it was closed
 *
 * Its state is written by `#to` alone, and told to the program last: what that does then finds the client settled in
 * its state. Each pause before another connection is longer than the one before, until one has been READY for a
 * while; connections that end because the server does not keep the protocol are counted apart, since they may be
 * READY for long.
 *
 * @module
 */
import { type Backoff, pauseBefore } from "./backoff.ts";
import { Connection, type ConnectionEnd, type ConnectionOptions } from "./connection.ts";
import { ClientClosedError, ConnectionLostError, GaveUpError } from "./errors.ts";
import type { Unreadable } from "./read_message.ts";
import type { Ready, ServerMessage } from "./server_messages.ts";

/** ERROR: it does not try any more. */
export type ClientState = "CONNECTING" | "READY" | "ERROR";

export interface LinkOptions extends ConnectionOptions, Backoff {
  /** Connections in a row that did not become READY, or not for `stableMs`, after which it gives up. */
  readonly attemptsMax: number;
  /** How long a connection is READY before it counts as a good one. */
  readonly stableMs: number;
  /** Connections in a row on which the server did not keep the protocol, after which it gives up. */
  readonly faultsMax: number;
}

export interface LinkHandlers {
  /** Of each connection. */
  ready(payload: Ready): void;
  message(message: ServerMessage, chars: number): void;
  unreadable(message: Unreadable): void;
  /** A connection that was READY ended. */
  lost(cause: Error): void;
  failed(cause: Error): void;
  /** After those above. */
  changed(state: ClientState, cause: Error | undefined): void;
  /** Where the feed is to be resumed. */
  feedAfter(): string | undefined;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #handlers: LinkHandlers;
  #state: ClientState = "CONNECTING";
  #cause: Error | undefined;
  #connection: Connection | undefined;
  #cancelPause: (() => void) | undefined;
  #readyAtMs = 0;
  #attempts = 0;
  #faults = 0;
  #isClosed = false;

  constructor(options: LinkOptions, handlers: LinkHandlers) {
    this.#options = options;
    this.#handlers = handlers;
  }

  get state(): ClientState {
    return this.#state;
  }

  get isStarted(): boolean {
    return this.#connection !== undefined || this.#cancelPause !== undefined;
  }

  /** Why it is in ERROR, or why the last connection ended. */
  get cause(): Error | undefined {
    return this.#cause;
  }

  /** Connects, unless it is about to or is connected. Throws {@linkcode ClientClosedError}. */
  start(): void {
    if (this.#isClosed) throw new ClientClosedError("Cannot connect: the client was closed");
    if (this.isStarted) return;
    this.#attempts = this.#faults = 0;
    this.#to("CONNECTING", undefined);
    this.#connect();
  }

  /** To be called when READY; else nothing is sent. */
  send(text: string): void {
    this.#connection?.send(text);
  }

  /** Resolves when the socket is closed, or after `withinMs`. */
  async close(withinMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelPause?.();
    this.#cancelPause = undefined;
    const connection = this.#connection;
    const cause = new ClientClosedError("The client was closed");
    this.#fail(cause);
    connection?.end({ kind: "lost", cause });
    if (connection === undefined) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.setTimer(resolve, withinMs);
      connection.closed.then(() => {
        cancel();
        resolve();
      });
    });
  }

  #connect(): void {
    try {
      this.#connection = new Connection(this.#options, {
        ready: (payload) => this.#ready(payload),
        message: (message, chars) => this.#handlers.message(message, chars),
        unreadable: (message) => this.#handlers.unreadable(message),
        ended: (end) => this.#ended(end),
      }, this.#handlers.feedAfter());
    } catch (cause) {
      // A constructor that throws does so for an address or a page that may not: the next time too.
      this.#fail(
        new GaveUpError(`Cannot connect to "${this.#options.url}": no WebSocket could be made`, cause),
      );
    }
  }

  #ready(payload: Ready): void {
    this.#readyAtMs = this.#options.clock.nowMs();
    this.#to("READY", undefined, () => this.#handlers.ready(payload));
  }

  #ended({ kind, cause }: ConnectionEnd): void {
    this.#connection = undefined;
    if (this.#isClosed) return;
    const wasReady = this.#state === "READY";
    if (kind === "refused") return this.#fail(cause);
    this.#faults = kind === "fault" ? this.#faults + 1 : wasReady ? 0 : this.#faults;
    const { attemptsMax, faultsMax, stableMs, clock } = this.#options;
    if (wasReady && clock.nowMs() - this.#readyAtMs >= stableMs) this.#attempts = 0;
    this.#attempts++;
    if (this.#attempts >= attemptsMax || this.#faults >= faultsMax) {
      const why = this.#faults >= faultsMax
        ? "it does not keep the protocol"
        : `${this.#attempts} attempts failed`;
      return this.#fail(new GaveUpError(`Cannot connect to "${this.#options.url}": ${why}`, cause));
    }
    this.#cancelPause = clock.setTimer(() => {
      this.#cancelPause = undefined;
      this.#connect();
    }, pauseBefore(Math.max(this.#attempts, this.#faults), this.#options, clock.random()));
    this.#to("CONNECTING", cause, () => {
      if (wasReady) this.#handlers.lost(cause);
    });
  }

  #fail(cause: Error): void {
    this.#to("ERROR", cause, () => this.#handlers.failed(cause));
  }

  #to(state: ClientState, cause: Error | undefined, carryOut?: () => void): void {
    const isChange = state !== this.#state;
    this.#state = state;
    this.#cause = cause;
    carryOut?.();
    if (isChange) this.#handlers.changed(state, cause);
  }
}

/** What those are told whose request was under way on the connection. */
export function lostBy(cause: Error, what: string): ConnectionLostError {
  const message = `Cannot finish "${what}": the connection was lost; whether it was carried out is unknown`;
  return new ConnectionLostError(message, "unknown", cause);
}

/** Why a request was not sent. */
export function notSentWithin(timeoutMs: number): string {
  return `not connected, or too many requests under way before it, for ${timeoutMs} ms`;
}
