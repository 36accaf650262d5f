/**
 * The rate of messages that a cell may send: a bucket that holds what one second allows, and fills as time
 * passes. Pure but for its clock.
 *
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

export class MessageRate {
  #left: number;
  #filledAtMs: number;

  constructor(readonly perSecond: number, private readonly clock: Pick<Clock, "nowMs"> = systemClock) {
    this.#left = perSecond;
    this.#filledAtMs = clock.nowMs();
  }

  /** Takes `count` messages. False when that is more than there may be. */
  take(count: number): boolean {
    const nowMs = this.clock.nowMs();
    const filled = this.#left + (nowMs - this.#filledAtMs) / 1_000 * this.perSecond;
    this.#filledAtMs = nowMs;
    this.#left = Math.min(this.perSecond, filled) - count;
    return this.#left >= 0;
  }
}
