/**
 * The turns of cells that run behind the others, on the CPU: where there is not enough of it for all, they run one
 * after the other, and stand still (SIGSTOP) while it is not their turn.
 *
 * A low priority bounds what they get, but not what they do to who wakes up: that waits until the slice of the one
 * that runs is over, some milliseconds, and a call wakes many threads one after the other. What stands still is in
 * nobody's way. So of the cores they have together only what the others leave, which is counted as several times
 * what those want: whoever wants a core now and then finds one free most of the time only where it mostly is. But a
 * part of the machine is theirs in any case: they run slowly, and are not starved.
 *
 * Where all find enough, nobody is stopped. Pure.
 *
 * @module
 */

/** A cell that is behind. */
export interface TurnTaker {
  /** Cores that it wants. */
  readonly cores: number;
}

export interface CpuTurnsOptions {
  /** Of the machine. */
  readonly cores: number;
  /** Of the cores, what those that are behind have together at least: a share, of 1. */
  readonly partMin: number;
}

/** Cores that are kept free for each that others want, with that one. */
const freePerWanted = 3;

export class CpuTurns<T extends TurnTaker> {
  /** Cores that each had in its turns, in turns. Who had least is the next. */
  readonly #had = new Map<T, number>();
  /** Cores for one turn. */
  #credit = 0;

  constructor(private readonly options: CpuTurnsOptions) {}

  /**
   * Those of `behind` that run until the next time, which is a turn later. `wantedCores`: by all others. Who of them
   * stands still is left out.
   */
  take(behind: readonly T[], wantedCores: number): ReadonlySet<T> {
    const { cores, partMin } = this.options;
    const all = new Set(behind);
    for (const one of this.#had.keys()) if (!all.has(one)) this.#had.delete(one);
    const most = Math.max(0, ...this.#had.values());
    for (const one of behind) if (!this.#had.has(one)) this.#had.set(one, most);
    const wanted = behind.reduce((sum, one) => sum + one.cores, wantedCores);
    if (wanted <= cores) {
      this.#credit = 0;
      return all;
    }
    const left = Math.max(partMin * cores, cores - freePerWanted * wantedCores);
    this.#credit = Math.min(cores, this.#credit + left);
    const running = new Set<T>();
    for (const [one, had] of [...this.#had].sort(([, a], [, b]) => a - b)) {
      if (this.#credit <= 0) break;
      const uses = Math.min(cores, Math.max(1, one.cores));
      this.#credit -= uses;
      // Who ran is behind its equals.
      this.#had.delete(one);
      this.#had.set(one, had + uses);
      running.add(one);
    }
    return running;
  }
}
