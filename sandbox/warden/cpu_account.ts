/**
 * The CPU account of one cell: what its calls are charged, and what it draws from its share.
 *
 * The kernel says now and then which calls are under way; between two such reports the last one holds, so a
 * kernel that is busy, stopped or lying cannot stop the account. A cell's CPU time is one figure: it is
 * charged to the calls under way in equal parts, whichever of them it was for. So one clock does for all: it
 * advances by each call's part, and what a call was charged is how far the clock went since it was first named.
 *
 * The share is a bucket of CPU time, filled at the granted share and drained by use. Pure: no clock of its own.
 *
 * @module
 */

/** Charges calls. A call beyond those that a report may name is charged from when it is first named. */
export class CallCharges {
  #clockMs = 0;
  #count = 0;
  #marks = new Map<number, number>();

  /** `cpuMsMax`: of one call. */
  constructor(private readonly cpuMsMax: number) {}

  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Calls under way are `count`, the oldest of them `ids`; a parsed report bounds their number. */
  report(count: number, ids: readonly number[]): void {
    this.#count = count === 0 ? 0 : Math.max(count, ids.length);
    const named = count === 0 ? [] : ids;
    this.#marks = new Map(named.map((id) => [id, this.#marks.get(id) ?? this.#clockMs]));
  }

  /** Charges what the cell used since the last time. Ids of the calls that are over their limit now. */
  charge(usedMs: number): number[] {
    if (this.#count === 0) return [];
    this.#clockMs += usedMs / this.#count;
    const over = [...this.#marks].filter(([, mark]) => this.#clockMs - mark > this.cpuMsMax);
    return over.map(([id]) => id);
  }

  /** What the call that was charged most was charged. */
  get mostMs(): number {
    return this.#marks.size === 0 ? 0 : this.#clockMs - Math.min(...this.#marks.values());
  }
}

/** `over-share`: it should run behind healthy cells. `exhausted`: it must end. */
export type ShareState = "healthy" | "over-share" | "exhausted";

export interface ShareOptions {
  /** 100 is one core. */
  readonly percent: number;
  readonly windowMs: number;
}

/** A runtime that starts, compiles a plugin and collects garbage uses more than the smallest shares hold. */
const capacityMsMin = 200;
/** Once, on top of a full bucket: what the start of a cell takes on a slow machine. */
const startMs = 1_000;

export class CpuShare {
  readonly #capacityMs: number;
  readonly #perMs: number;
  #levelMs: number;
  #state: ShareState = "healthy";

  constructor({ percent, windowMs }: ShareOptions) {
    this.#perMs = percent / 100;
    this.#capacityMs = Math.max(capacityMsMin, this.#perMs * windowMs);
    this.#levelMs = this.#capacityMs + startMs;
  }

  get state(): ShareState {
    return this.#state;
  }

  /** `usedMs` of CPU time in `elapsedMs`. Healthy again only well above where it ceased to be. */
  take(usedMs: number, elapsedMs: number): ShareState {
    const filled = this.#levelMs + Math.max(0, elapsedMs) * this.#perMs;
    this.#levelMs = Math.min(filled, Math.max(this.#capacityMs, this.#levelMs)) - usedMs;
    if (this.#levelMs < 0) this.#state = "exhausted";
    else if (this.#levelMs < this.#capacityMs / 2) this.#state = "over-share";
    else if (this.#levelMs > this.#capacityMs * 0.75) this.#state = "healthy";
    return this.#state;
  }
}
