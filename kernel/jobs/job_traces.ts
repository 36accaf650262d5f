/**
 * The traces of jobs in the ledger: what the last life of the kernel had written of them when it ended.
 *
 * It is given the records that are read when the ledger opens, as the life reader is. From them the start knows
 * which attempts had begun, and which entries are there although their rows do not say so. Pure of I/O.
 *
 * @module
 */
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import type { JobRow } from "../store/job_row.ts";
import type { Entry } from "./teller.ts";

type Taken = Pick<LedgerRecord, "seq" | "type" | "data">;

export class JobTraces {
  /** Requests of calls that were accepted since the last start; those of jobs are `<job>-<attempt>`. */
  readonly #begun = new Set<string>();
  readonly #enqueued = new Set<unknown>();
  /** For each job that ended, after which attempts, and where that stands. */
  readonly #ended = new Map<unknown, Map<unknown, number>>();
  /** Where it stands that a job was last redriven. */
  readonly #redriven = new Map<unknown, number>();
  /** The records reach back to the last start. */
  #isWhole = false;
  #isFirst = true;

  take({ seq, type, data }: Taken): void {
    if (this.#isFirst) this.#isWhole = seq === 0;
    this.#isFirst = false;
    const { job, attempt, request, verb } = data;
    switch (type) {
      case "kernel.started":
        this.#isWhole = true;
        this.#begun.clear();
        return;
      case "call.accepted":
        if (typeof request === "string") this.#begun.add(request);
        return;
      case "job.enqueued":
        this.#enqueued.add(job);
        return;
      case "job.completed":
      case "job.failed":
      case "job.cancelled":
        this.#ended.getOrInsertComputed(job, () => new Map()).set(attempt, seq);
        return;
      case "job.ordered":
        if (verb === "retry") this.#redriven.set(job, seq);
    }
  }

  /** Whether the newest attempt of the job may have reached its plugin. */
  hasBegun({ id, attempt }: Pick<JobRow, "id" | "attempt">): boolean {
    return !this.#isWhole || this.#begun.has(`${id}-${attempt}`);
  }

  /** `parent`: id of its pipeline. */
  isTold({ id, attempt }: Pick<JobRow, "id" | "attempt">, entry: Entry, parent?: string): boolean {
    if (entry === "enqueued") return this.#enqueued.has(id);
    // Redriven, also with its pipeline, it may end once more with the same number of attempts.
    const since = Math.max(this.#redriven.get(id) ?? -1, this.#redriven.get(parent) ?? -1);
    return (this.#ended.get(id)?.get(attempt) ?? -1) > since;
  }
}
