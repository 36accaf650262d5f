/**
 * The traces of jobs in the ledger: what the last life of the kernel had written of them when it ended.
 *
 * It is given the records that are read when the ledger opens, as the life reader is. From them the start knows
 * which attempts had begun, and which entries are there although their rows do not say so. Pure of I/O.
 *
 * The newest `tracesMax` are kept, until {@linkcode JobTraces.forget}. What lies before them counts as not read:
 * - an attempt counts as begun unless everything since its job was enqueued, or since the last start, is known;
 * - an entry may be written twice if its row still owes it. Rows are marked with the next commit after their entry,
 *   so that takes a life that wrote so many entries and committed nothing.
 *
 * @module
 */
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import type { JobRow } from "../store/job_row.ts";
import type { Entry } from "./teller.ts";

type Taken = Pick<LedgerRecord, "seq" | "type" | "data">;

const tracesMax = 100_000;

export class JobTraces {
  /** Where each trace stands, the oldest first. */
  readonly #traces = new Map<string, number>();
  /** From this record on, every trace is known. */
  #knownFrom = Infinity;
  #startedAt = 0;
  /**
   * The start of the last life that came as far as to leave a trace: it had settled what ran before it. One that ended
   * earlier may have left an attempt of the life before it as it was.
   */
  #lifeFrom = 0;

  take({ seq, type, data }: Taken): void {
    this.#knownFrom = Math.min(this.#knownFrom, seq);
    const { job, attempt, request, verb } = data;
    switch (type) {
      case "kernel.started":
        this.#startedAt = seq;
        return;
      case "call.accepted":
        return this.#keep(`begun ${request}`, seq);
      case "job.enqueued":
        return this.#keep(`enqueued ${job}`, seq);
      case "job.completed":
      case "job.failed":
      case "job.cancelled":
        return this.#keep(`ended ${job} ${attempt}`, seq);
      case "job.ordered":
        if (verb === "retry") this.#keep(`redriven ${job}`, seq);
    }
  }

  /**
   * Whether the newest attempt of the job may have reached its plugin. The job's `job.enqueued` stands before the
   * calls of all its attempts, see `teller.ts`.
   */
  hasBegun({ id, leaseToken }: Pick<JobRow, "id" | "leaseToken">): boolean {
    if (this.#traces.has(`begun ${id}-${leaseToken}`)) return true;
    return this.#knownFrom > this.#lifeFrom && !this.#traces.has(`enqueued ${id}`);
  }

  /** `parent`: id of its pipeline. */
  isTold({ id, attempt }: Pick<JobRow, "id" | "attempt">, entry: Entry, parent?: string): boolean {
    if (entry === "enqueued") return this.#traces.has(`enqueued ${id}`);
    // Redriven, also with its pipeline, it may end once more with the same number of attempts.
    const redriven = (job: string | undefined) => this.#traces.get(`redriven ${job}`) ?? -1;
    return (this.#traces.get(`ended ${id} ${attempt}`) ?? -1) > Math.max(redriven(id), redriven(parent));
  }

  /** Once the start has used them. */
  forget(): void {
    this.#traces.clear();
    this.#knownFrom = Infinity;
  }

  #keep(trace: string, seq: number): void {
    this.#lifeFrom = this.#startedAt;
    this.#traces.delete(trace);
    this.#traces.set(trace, seq);
    if (this.#traces.size < 2 * tracesMax) return;
    // Half of them at once: to find the oldest of a map takes longer the more have gone before it.
    let excess = tracesMax;
    for (const [oldest, at] of this.#traces) {
      if (excess-- === 0) return;
      this.#traces.delete(oldest);
      this.#knownFrom = at + 1;
    }
  }
}
