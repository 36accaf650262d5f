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
    const nowMs = this.clock.nowMs();
    const filled = this.#left + (nowMs - this.#filledAtMs) / 1_000 * this.perSecond;
    this.#filledAtMs = nowMs;
    this.#left = Math.min(this.perSecond, filled);
    if (this.#left < count) return false;
    this.#left -= count;
    return true;
  }
}
