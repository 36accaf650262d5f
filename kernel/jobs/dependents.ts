/**
 * Dependents: what the end of a job does to those that wait for it, and to those that wait for these.
 *
 * That may be every job there is. So ends are put on a list, and each transaction follows some of them, as far as its
 * budget goes. The list is in memory only: a new life looks once through all jobs that wait for others, and comes to
 * the same.
 *
 * @module
 */
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import { isLost } from "./transition.ts";
import type { WorkBudget } from "./work_budget.ts";

export interface DependentsDeps {
  readonly table: Pick<JobsTable, "get" | "nextDependent" | "unmet" | "blocked" | "lastBlocked">;
  readonly budget: WorkBudget;
  /** All that the job waits for has completed. */
  free(row: JobRow): void;
  /** What it depends on, a job of this id, did not complete; tells {@linkcode Dependents.ended} in turn. */
  fail(row: JobRow, lostId: string): void;
}

const blockedPage = 100;

export class Dependents {
  /** The newest is followed first: of a tree of jobs only one branch is on the list at a time. */
  readonly #ended: { readonly seq: number; after: number }[] = [];
  /** Jobs that the last life left waiting. */
  #blocked: { after: number; readonly last: number } | undefined;

  constructor(private readonly deps: DependentsDeps) {
    this.#blocked = { after: 0, last: deps.table.lastBlocked() };
  }

  /** There is more to follow. */
  get hasMore(): boolean {
    return this.#ended.length > 0 || this.#blocked !== undefined;
  }

  /** The job is over. */
  ended(seq: number): void {
    this.#ended.push({ seq, after: 0 });
  }

  /** Inside a transaction. Leaves `kept` of the budget. */
  follow(kept: number): void {
    const { budget, table } = this.deps;
    while (budget.left > kept && this.hasMore) {
      budget.spend();
      const end = this.#ended.at(-1);
      if (end === undefined) {
        this.#lookAtBlocked();
        continue;
      }
      const dependent = table.nextDependent(end.seq, end.after);
      if (dependent === undefined) this.#ended.pop();
      else {
        end.after = dependent;
        this.#settle(dependent);
      }
    }
  }

  #lookAtBlocked(): void {
    const { table, budget } = this.deps;
    if (this.#blocked === undefined) return;
    const seqs = table.blocked(this.#blocked.after, blockedPage);
    budget.spend(seqs.length);
    for (const seq of seqs) this.#settle(seq);
    const after = seqs.at(-1);
    if (after === undefined || after >= this.#blocked.last) this.#blocked = undefined;
    else this.#blocked.after = after;
  }

  #settle(seq: number): void {
    const row = this.deps.table.get(seq);
    if (row?.wait !== "jobs") return;
    const unmet = this.deps.table.unmet(seq);
    if (unmet === undefined) this.deps.free(row);
    else if (isLost(unmet.state)) this.deps.fail(row, unmet.id);
  }
}
