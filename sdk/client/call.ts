/**
 * A call is one request with one answer.
 *
 * It waits for its turn, is sent, and settles once: answered, timed out, aborted, or lost with its connection. One that
 * is safe to repeat is not lost but sent again.
 *
 * @module
 */
import type { ClientClock } from "./clock.ts";
import { AirlockError, ProtocolError, RequestTimeoutError } from "./errors.ts";
import type { Exchange, Exchanges, RequestBody } from "./exchanges.ts";
import { lostBy, notSentWithin } from "./link.ts";
import type { ResultPayload, ServerMessage } from "./server_messages.ts";

export interface CallOptions<T> {
  readonly body: RequestBody;
  /** From now to the answer, the wait for READY and for its turn included. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether doing it twice is the same as once. */
  readonly isRepeatable: boolean;
  /** Its answer; undefined where it is not one to this request. */
  readonly read: (result: ResultPayload) => T | undefined;
}

/**
 * Rejects with {@linkcode AirlockError}, {@linkcode RequestTimeoutError}, ConnectionLostError, TooManyRequestsError,
 * MessageTooLargeError, the signal's reason, or what the client failed of.
 */
export function call<T>(exchanges: Exchanges, clock: ClientClock, options: CallOptions<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    signal?.throwIfAborted();
    const exchange = new Call(exchanges, options, (settle) => {
      cancelTimer();
      signal?.removeEventListener("abort", abort);
      settle(resolve, reject);
    });
    const abort = () => exchange.abandon(signal?.reason);
    const cancelTimer = clock.setTimer(() => {
      exchange.abandon(timedOut(options, exchange.wasSent));
    }, options.timeoutMs);
    signal?.addEventListener("abort", abort);
    try {
      exchanges.open(exchange);
    } catch (error) {
      exchange.fail(error);
    }
  });
}

function timedOut(
  { body: { type }, timeoutMs }: CallOptions<unknown>,
  wasSent: boolean,
): RequestTimeoutError {
  return wasSent
    ? new RequestTimeoutError(`Cannot finish "${type}": no answer within ${timeoutMs} ms`, "unknown")
    : new RequestTimeoutError(`Cannot send "${type}": ${notSentWithin(timeoutMs)}`, "not_sent");
}

type Settle<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => void;

class Call<T> implements Exchange {
  wasSent = false;

  constructor(
    readonly exchanges: Exchanges,
    readonly options: CallOptions<T>,
    readonly settled: (settle: Settle<T>) => void,
  ) {}

  begin(): void {
    try {
      this.exchanges.send(this, this.options.body);
      this.wasSent = true;
    } catch (error) {
      this.fail(error);
    }
  }

  receive(message: ServerMessage): void {
    if (message.type === "ERROR") {
      const error = new AirlockError(message.payload);
      // Airlock is on its way down, or not up yet: the next connection will do.
      if (error.code === "NOT_READY" && this.options.isRepeatable) return this.exchanges.postpone(this);
      return this.fail(error);
    }
    const value = message.type === "RESULT" ? this.options.read(message.payload) : undefined;
    if (value === undefined) {
      throw new ProtocolError(`Cannot take "${message.type}": it does not answer ${this.options.body.type}`);
    }
    this.#end((resolve) => resolve(value));
  }

  lost(cause: Error): void {
    if (this.options.isRepeatable) return this.exchanges.wait(this);
    this.fail(lostBy(cause, this.options.body.type));
  }

  fail(error: unknown): void {
    this.#end((_, reject) => reject(error));
  }

  /** Nobody waits any more: what it asked for need not be finished. */
  abandon(error: unknown): void {
    if (this.options.body.type === "INVOKE") this.exchanges.cancel(this);
    this.fail(error);
  }

  #end(settle: Settle<T>): void {
    this.exchanges.close(this);
    this.settled(settle);
  }
}
