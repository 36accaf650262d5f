/**
 * Retry dues: a pause between two attempts lasts as long as it was meant to when the machine's clock is set back.
 *
 * When a job is due is stored as a time by that clock, for it must outlast the kernel, and a delay that a caller asked
 * for means that clock. A pause does not. The difference between that clock and one that only runs forward falls when
 * it is set back, and what waits for another attempt is brought forward by as much, some in each transaction. What a
 * life of the kernel finds at its start may have been stored by any clock: no pause is longer than the longest.
 *
 * @module
 */
import type { JobsTable } from "../store/jobs_table.ts";
import type { WorkBudget } from "./work_budget.ts";

export interface RetryDuesDeps {
  readonly table: Pick<JobsTable, "waitForTime" | "setDue">;
  readonly budget: WorkBudget;
  readonly backoffMaxMs: number;
  nowMs(): number;
  /** A clock that only runs forward. */
  monotonicMs(): number;
}

/** A clock that is kept in time by small steps is not one that was set. */
const toleranceMs = 100;
/** Since the last look at what was due, while something waits for the time. */
const sinceMsMax = 120_000;
const page = 250;

export class RetryDues {
  /** Of the two clocks. */
  #differenceMs: number;
  /** What is being brought forward: how far, and up to which job it was. */
  #move: { readonly byMs: number; after: { dueAtMs: number; seq: number } } | undefined;

  constructor(private readonly deps: RetryDuesDeps) {
    const nowMs = deps.nowMs();
    this.#differenceMs = nowMs - deps.monotonicMs();
    this.#move = { byMs: 0, after: { dueAtMs: nowMs + deps.backoffMaxMs, seq: 0 } };
  }

  /** Inside a transaction. True: there is more for the next one. */
  follow(): boolean {
    const { table, budget, backoffMaxMs } = this.deps;
    const nowMs = this.deps.nowMs();
    this.#measure(nowMs);
    if (this.#move === undefined) return false;
    const rows = table.waitForTime(this.#move.after, page);
    budget.spend(rows.length);
    for (const { seq, dueAtMs, isRetry } of rows) {
      this.#move.after = { dueAtMs, seq };
      // Ascending: one that comes earlier by this is not met again.
      if (isRetry) table.setDue(seq, Math.min(dueAtMs - this.#move.byMs, nowMs + backoffMaxMs));
    }
    if (rows.length < page) this.#move = undefined;
    return this.#move !== undefined;
  }

  #measure(nowMs: number): void {
    const differenceMs = nowMs - this.deps.monotonicMs();
    const byMs = this.#differenceMs - differenceMs;
    if (byMs < 0) this.#differenceMs = differenceMs;
    if (byMs <= toleranceMs) return;
    this.#differenceMs = differenceMs;
    // By the clock as it was all are due after this. What was stored since is due by the new one, and mostly before.
    const afterMs = nowMs + Math.max(0, byMs - sinceMsMax);
    this.#move = { byMs, after: { dueAtMs: afterMs, seq: 0 } };
  }
}
