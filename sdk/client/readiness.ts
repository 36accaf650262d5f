/**
 * Readiness: those who wait until the client is READY, each with a deadline.
 *
 * @module
 */
import type { ClientClock } from "./clock.ts";
import { RequestTimeoutError, TooManyRequestsError } from "./errors.ts";

const waitersMax = 1_024;

interface Waiter {
  resolve(): void;
  reject(cause: Error): void;
}

export class Readiness {
  readonly #clock: ClientClock;
  readonly #timeoutMs: number;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: ClientClock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects with what the client failed of, RequestTimeoutError or TooManyRequestsError. */
  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiters.size >= waitersMax) {
        throw new TooManyRequestsError(`Cannot wait for "READY": ${waitersMax} do so`);
      }
      const end = (settle: () => void) => {
        cancelTimer();
        this.#waiters.delete(waiter);
        settle();
      };
      const waiter = { resolve: () => end(resolve), reject: (cause: Error) => end(() => reject(cause)) };
      const cancelTimer = this.#clock.setTimer(() => {
        const message = `Cannot be ready: not within ${this.#timeoutMs} ms`;
        waiter.reject(new RequestTimeoutError(message, "not_sent"));
      }, this.#timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  ready(): void {
    for (const waiter of [...this.#waiters]) waiter.resolve();
  }

  failed(cause: Error): void {
    for (const waiter of [...this.#waiters]) waiter.reject(cause);
  }
}
