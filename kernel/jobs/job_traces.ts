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
  /** For each job that ended, after which attempts. */
  readonly #ended = new Map<unknown, Set<unknown>>();
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
        this.#ended.getOrInsertComputed(job, () => new Set()).add(attempt);
        return;
      case "job.ordered":
        // Redriven: it may end once more with the same number of attempts.
        if (verb === "retry") this.#ended.delete(job);
    }
  }

  /** Whether the newest attempt of the job may have reached its plugin. */
  hasBegun({ id, attempt }: Pick<JobRow, "id" | "attempt">): boolean {
    return !this.#isWhole || this.#begun.has(`${id}-${attempt}`);
  }

  isTold({ id, attempt }: Pick<JobRow, "id" | "attempt">, entry: Entry): boolean {
    return entry === "enqueued" ? this.#enqueued.has(id) : this.#ended.get(id)?.has(attempt) === true;
  }
}
