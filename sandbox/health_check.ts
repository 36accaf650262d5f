/**
 * A health check asks a plugin's own `health` function how it is.
 *
 * Invariant: one question is under way at most. Whoever asks while one is not answered waits for the same
 * answer, so that a plugin whose function hangs is not sent more and more of them.
 *
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

const faultCharsMax = 512;

export class HealthCheck {
  /** Of the question under way. */
  #id: number | undefined;
  readonly #waiting = new Set<(fault: string | undefined) => void>();

  /** `ask` sends a question and returns its id. */
  constructor(private readonly ask: () => number, private readonly clock: Clock = systemClock) {}

  /** What is wrong; `undefined` when nothing is, or when that cannot be said now. */
  run(timeoutMs: number): Promise<string | undefined> {
    this.#id ??= this.ask();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const settle = (fault: string | undefined) => {
      this.#waiting.delete(settle);
      cancelTimer();
      resolve(fault);
    };
    let cancelTimer = this.clock.setTimer(() => {
      // An answer may have come while the kernel was busy: one more turn of the loop, and it is read.
      cancelTimer = this.clock.setTimer(() => settle(`it did not answer within ${timeoutMs} ms`), 0);
    }, timeoutMs);
    this.#waiting.add(settle);
    return promise;
  }

  /** Takes the answer to question `id`. False when this is not the one under way. */
  answer(id: number, fault: string | undefined): boolean {
    if (id !== this.#id) return false;
    this.#id = undefined;
    this.release(fault?.slice(0, faultCharsMax).toWellFormed());
    return true;
  }

  /** Lets go of whoever waits: its cell was suspended, or has ended. */
  release(fault?: string): void {
    for (const settle of [...this.#waiting]) settle(fault);
  }
}
