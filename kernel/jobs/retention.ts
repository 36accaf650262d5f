/**
 * Retention: jobs that ended are deleted when they are old, or when there are too many.
 *
 * With a job go its input, its output, what it told and its idempotency key. The ledger keeps its entries. Jobs of a
 * pipeline go with it, after it: while it is there it may be redriven. Until the ends of jobs were followed to those
 * that depend on them, none is deleted.
 *
 * One transaction deletes about so many rows, and bytes; the events of a larger job go in slices, the oldest first,
 * before it.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { EndedJob, EndedJobs } from "../store/ended_jobs.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { JobEvents } from "./job_events.ts";
import type { Queue } from "./queue.ts";

export interface RetentionDeps {
  readonly table: Pick<JobsTable, "delete">;
  readonly ended: EndedJobs;
  readonly queue: Pick<Queue, "endedChange" | "hasEnds" | "budget">;
  readonly events: Pick<JobEvents, "deleted">;
  readonly config: Pick<Config["jobs"], "retentionMs" | "keptMax">;
  nowMs(): number;
}

/** Looked at in one transaction, and about as many deleted. */
const rowsMax = 500;
const bytesMax = 8_388_608;
const start = { endedAtMs: Number.MIN_SAFE_INTEGER, seq: 0 };

export class Retention {
  /** Jobs that ended and are no part of a pipeline, without those that ended or were redriven in this life. */
  #counted: number;
  /** Where this round has come to. */
  #after: Pick<EndedJob, "endedAtMs" | "seq"> = start;
  #parts = { pipeline: 0, after: 0 };
  #rows = 0;
  #bytes = 0;

  constructor(private readonly deps: RetentionDeps) {
    this.#counted = deps.ended.count() - deps.queue.endedChange;
  }

  /** Jobs that ended and are no part of a pipeline. */
  get count(): number {
    return this.#counted + this.deps.queue.endedChange;
  }

  /** Deletes some, inside a transaction. True: there may be more. */
  deleteSome(): boolean {
    if (this.deps.queue.hasEnds) return false;
    [this.#rows, this.#bytes] = [0, 0];
    const hasMore = this.#deleteParts() || this.#deleteTopmost();
    this.deps.queue.budget.spend(this.#rows);
    if (hasMore) return true;
    this.#after = start;
    this.#parts = { pipeline: 0, after: 0 };
    return false;
  }

  get #isFull(): boolean {
    return this.#rows >= rowsMax || this.#bytes >= bytesMax;
  }

  /** Parts of pipelines that are gone. */
  #deleteParts(): boolean {
    const { ended } = this.deps;
    for (;;) {
      const pipeline = this.#parts.after > 0 ? this.#parts.pipeline : ended.deleted(this.#parts.pipeline);
      if (pipeline === undefined) return false;
      this.#parts.pipeline = pipeline;
      const parts = ended.parts(pipeline, this.#parts.after, rowsMax);
      for (const { seq, isEnded } of parts) {
        if (this.#isFull) return true;
        this.#rows++;
        // One that has not ended yet is found in a later round.
        if (isEnded && !this.#delete(seq)) return true;
        this.#parts.after = seq;
      }
      if (parts.length < rowsMax) {
        this.#parts.after = 0;
        if (ended.parts(pipeline, 0, 1).length === 0) ended.clearDeleted(pipeline);
      }
      if (this.#isFull) return true;
    }
  }

  #deleteTopmost(): boolean {
    const { ended, config, nowMs } = this.deps;
    const oldMs = nowMs() - config.retentionMs;
    const beforeMs = this.count > config.keptMax ? Number.MAX_SAFE_INTEGER : oldMs;
    const rows = ended.list(this.#after, beforeMs, rowsMax);
    for (const row of rows) {
      if (row.endedAtMs > oldMs && this.count <= config.keptMax) return false;
      if (this.#isFull) return true;
      this.#rows++;
      if (!row.isOwed) {
        if (!this.#delete(row.seq)) return true;
        this.#counted--;
        if (row.kind === "pipeline") ended.markDeleted(row.seq);
      }
      this.#after = row;
    }
    // The parts of those that went come next.
    return rows.length === rowsMax || ended.deleted(this.#parts.pipeline) !== undefined;
  }

  /** False: it does not fit this transaction; of one that fits none some events went. */
  #delete(seq: number): boolean {
    const { table, ended, events } = this.deps;
    const bytes = ended.bytes(seq);
    if (bytes > bytesMax - this.#bytes) {
      if (this.#bytes > 0) return false;
      this.#bytes = ended.trimEvents(seq, bytesMax);
      // What cannot be divided goes alone.
      if (this.#bytes > 0) return false;
    }
    this.#bytes += bytes;
    table.delete(seq);
    events.deleted(seq);
    return true;
  }
}
