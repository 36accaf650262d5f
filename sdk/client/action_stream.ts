/**
 * An action's stream: its tokens as they come, and its result.
 *
 * The call lives and dies with its connection and with its reader: what was not read cannot be sent again. So when
 * the connection is lost it fails, and a reader whose buffer is full ends it, after what is in the buffer, with a
 * BufferOverflowError; the call is cancelled. To read slowly, or over a lost connection, enqueue a job and read
 * that one's tokens.
 *
 * @module
 */
import type { ClientClock } from "./clock.ts";
import { AirlockError, BufferOverflowError, ProtocolError, RequestTimeoutError } from "./errors.ts";
import type { Exchange, Exchanges, RequestBody } from "./exchanges.ts";
import { Inbox, type InboxLimits } from "./inbox.ts";
import { lostBy, notSentWithin } from "./link.ts";
import type { Invoked, Progress, ServerMessage } from "./server_messages.ts";

export interface ActionStreamOptions {
  readonly body: RequestBody;
  readonly clock: ClientClock;
  /** Until it is sent; how long it runs is bounded by its action's own limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export class ActionStream implements Exchange {
  /** The result; rejects with what the tokens reject with. */
  readonly result: Promise<Invoked>;
  readonly #exchanges: Exchanges;
  readonly #options: ActionStreamOptions;
  readonly #inbox: Inbox<unknown>;
  #settle: { resolve(result: Invoked): void; reject(error: unknown): void } | undefined;
  #isOver = false;
  readonly #cancelTimer: () => void;

  constructor(exchanges: Exchanges, limits: InboxLimits, options: ActionStreamOptions) {
    this.#exchanges = exchanges;
    this.#options = options;
    this.#inbox = new Inbox(limits);
    this.result = new Promise((resolve, reject) => this.#settle = { resolve, reject });
    // Who reads the tokens is told by them: a result that nobody asked for is no unhandled rejection.
    this.result.catch(() => {});
    const { signal } = options;
    const timedOut = `Cannot send "INVOKE": ${notSentWithin(options.timeoutMs)}`;
    this.#cancelTimer = options.clock.setTimer(
      () => this.fail(new RequestTimeoutError(timedOut, "not_sent")),
      options.timeoutMs,
    );
    signal?.addEventListener("abort", this.#aborted);
    try {
      signal?.throwIfAborted();
      exchanges.open(this);
    } catch (error) {
      this.fail(error);
    }
  }

  async *tokens(): AsyncGenerator<unknown, void, void> {
    try {
      for (let next = await this.#inbox.take(); next !== undefined; next = await this.#inbox.take()) {
        yield next.item;
      }
    } finally {
      this.#abandonOnce(new DOMException("The stream's reader went", "AbortError"));
    }
  }

  begin(): void {
    this.#cancelTimer();
    try {
      this.#exchanges.send(this, this.#options.body);
    } catch (error) {
      this.fail(error);
    }
  }

  receive(message: ServerMessage, chars: number): void {
    switch (message.type) {
      case "TOKEN":
        return this.#token(message.payload, chars);
      case "PROGRESS":
        return this.#options.onProgress?.(message.payload);
      case "ERROR":
        return this.fail(new AirlockError(message.payload));
      case "COMPLETE":
        if (message.payload.kind !== "invoked") break;
        this.#over();
        this.#settle?.resolve(message.payload);
        return this.#inbox.close();
    }
    throw new ProtocolError(`Cannot take "${message.type}": it does not answer a stream's INVOKE`);
  }

  lost(cause: Error): void {
    this.fail(lostBy(cause, "INVOKE"));
  }

  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#over();
    this.#settle?.reject(error);
    this.#inbox.fail(error);
  }

  readonly #aborted = () => this.#abandonOnce(this.#options.signal?.reason);

  #token(token: unknown, chars: number): void {
    if (!this.#inbox.isFull) return this.#inbox.push(token, chars);
    this.#exchanges.cancel(this);
    this.fail(
      new BufferOverflowError(`Cannot read "a stream": ${this.#inbox.size} tokens were not read in time`),
    );
  }

  #abandonOnce(error: unknown): void {
    if (this.#isOver) return;
    this.#exchanges.cancel(this);
    this.fail(error);
    this.#inbox.abort(error);
  }

  #over(): void {
    this.#isOver = true;
    this.#cancelTimer();
    this.#exchanges.close(this);
    this.#options.signal?.removeEventListener("abort", this.#aborted);
  }
}
