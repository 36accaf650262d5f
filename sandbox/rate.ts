/**
 * The rate of what a cell may send, be it messages or bytes of log: a bucket that holds what one second allows,
 * and fills as time passes. Pure but for its clock.
 *
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

export class Rate {
  #left: number;
  #filledAtMs: number;

  constructor(readonly perSecond: number, private readonly clock: Pick<Clock, "nowMs"> = systemClock) {
    this.#left = perSecond;
    this.#filledAtMs = clock.nowMs();
  }

  /** Takes `count`; false, and nothing is taken, when that is more than there may be. */
  take(count: number): boolean {
    this.#fill();
    if (this.#left < count) return false;
    this.#left -= count;
    return true;
  }

  /** Whether there is anything. */
  get isSpent(): boolean {
    this.#fill();
    return this.#left <= 0;
  }

  /** Takes `count` of which it was not known before how many they are: what is too much is owed. */
  spend(count: number): void {
    this.#left -= count;
  }

  #fill(): void {
    const nowMs = this.clock.nowMs();
    const filled = this.#left + (nowMs - this.#filledAtMs) / 1_000 * this.perSecond;
    this.#filledAtMs = nowMs;
    this.#left = Math.min(this.perSecond, filled);
  }
}
