/**
 * An allowance lets so many through in each second, and counts those that it does not. Pure.
 *
 * @module
 */

export class Allowance {
  #left = 0;
  #sinceMs = -Infinity;
  /** Since they were last told. */
  #refused = 0;

  constructor(private readonly perSecond: number) {}

  /** `nowMs` never goes back. */
  admits(nowMs: number): boolean {
    if (nowMs - this.#sinceMs >= 1_000) {
      this.#sinceMs = nowMs;
      this.#left = this.perSecond;
    }
    if (this.#left === 0) {
      this.#refused++;
      return false;
    }
    this.#left--;
    return true;
  }

  /** How many were refused; each is told once. */
  takeRefused(): number {
    const refused = this.#refused;
    this.#refused = 0;
    return refused;
  }
}
