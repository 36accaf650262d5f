/**
 * The demand of a cell for the CPU: what its threads had of it, and what they waited for.
 *
 * What a cell was given says little of it while others want the CPU too: one that computes without end is starved
 * by them, and reads as modest. What it would have taken does not change with its neighbours. So a cell with a
 * thread that hardly ever rests, or with threads that together want more than a core and a half, is greedy: it runs
 * behind the others for as long as it is. That takes nothing from it on a machine that has CPU time to spare.
 *
 * Pure.
 *
 * @module
 */
import type { ThreadDemand } from "./proc.ts";

/** Shares of a core, over about {@linkcode windowMs}. A thread that is greedy is so until it clearly rests. */
const greedyFrom = { thread: 0.85, cell: 1.5 } as const;
const modestBelow = { thread: 0.6, cell: 1 } as const;
const windowMs = 400;

export class CpuDemand {
  #threads: ReadonlyMap<number, ThreadDemand & { readonly share: number }> = new Map();
  #isGreedy = false;

  get isGreedy(): boolean {
    return this.#isGreedy;
  }

  /** `elapsedMs`: since the last time. */
  take(threads: ReadonlyMap<number, ThreadDemand>, elapsedMs: number): boolean {
    const weight = 1 - Math.exp(-elapsedMs / windowMs);
    const taken = new Map<number, ThreadDemand & { readonly share: number }>();
    let [most, sum] = [0, 0];
    for (const [thread, { ranMs, waitedMs }] of threads) {
      const before = this.#threads.get(thread);
      const wantedMs = before === undefined ? 0 : ranMs + waitedMs - before.ranMs - before.waitedMs;
      const share = (before?.share ?? 0) * (1 - weight) + Math.min(1, wantedMs / elapsedMs) * weight;
      taken.set(thread, { ranMs, waitedMs, share });
      most = Math.max(most, share);
      sum += share;
    }
    this.#threads = taken;
    const bounds = this.#isGreedy ? modestBelow : greedyFrom;
    return this.#isGreedy = most > bounds.thread || sum > bounds.cell;
  }
}
