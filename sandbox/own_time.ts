/**
 * Own time: the small part of the event loop's time that each cell's frames may take outside of the slow lane.
 *
 * A cell that says little must not wait behind those that flood. But what each has adds up, so it is a part of one
 * budget: those that say more than a little have {@linkcode partOfAll} of the loop together, in equal parts, and none
 * more than {@linkcode partMax}. Those that say so little are not counted: a hundred cells that do nothing but answer
 * to pings would leave nothing to the one that works.
 *
 * Pure of I/O.
 *
 * @module
 */

const partOfAll = 0.2;
const partMax = 0.05;
/** A part that was not used is kept for so long, and no longer. */
const keptMs = 10;
/** Who took more in this time or in the same before it is counted. */
const windowMs = 1_000;
const littleMs = 0.2;

export class OwnTimes {
  #windowAtMs = -Infinity;
  /** Cells that took more than a little in this window, and in the one before. */
  #takers = 0;
  #takersBefore = 0;

  /** `nowMs` never goes back. */
  constructor(readonly nowMs: () => number) {}

  /** For one more cell. */
  open(): OwnTime {
    return new OwnTime(this);
  }

  /** When the window that is open now began. */
  windowAtMs(): number {
    const nowMs = this.nowMs();
    const ageMs = nowMs - this.#windowAtMs;
    if (ageMs >= windowMs) {
      this.#takersBefore = ageMs < 2 * windowMs ? this.#takers : 0;
      this.#takers = 0;
      this.#windowAtMs = nowMs;
    }
    return this.#windowAtMs;
  }

  /** Of the loop, what each cell may have. */
  part(): number {
    this.windowAtMs();
    return Math.min(partMax, partOfAll / Math.max(this.#takers, this.#takersBefore));
  }

  /** One more took more than a little in this window. */
  count(): void {
    this.#takers++;
  }
}

/** One cell's. */
export class OwnTime {
  #leftMs = partMax * keptMs;
  #atMs: number;
  #windowAtMs = -Infinity;
  /** In that window. */
  #takenMs = 0;

  constructor(private readonly times: OwnTimes) {
    this.#atMs = times.nowMs();
  }

  /** To be asked before each piece. */
  isSpent(): boolean {
    const nowMs = this.times.nowMs();
    const part = this.times.part();
    this.#leftMs = Math.min(part * keptMs, this.#leftMs + (nowMs - this.#atMs) * part);
    this.#atMs = nowMs;
    return this.#leftMs <= 0;
  }

  /** Does what takes of it. */
  run<T>(piece: () => T): T {
    const windowAtMs = this.times.windowAtMs();
    if (windowAtMs !== this.#windowAtMs) this.#takenMs = 0;
    this.#windowAtMs = windowAtMs;
    const startedMs = this.times.nowMs();
    try {
      return piece();
    } finally {
      const tookMs = this.times.nowMs() - startedMs;
      this.#leftMs -= tookMs;
      if (this.#takenMs <= littleMs && this.#takenMs + tookMs > littleMs) this.times.count();
      this.#takenMs += tookMs;
    }
  }
}
