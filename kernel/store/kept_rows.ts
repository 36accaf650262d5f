/**
 * Kept rows are the jobs that were used last, in memory as they are in the file.
 *
 * A job is read several times between its acceptance and its end, mostly by those who have just written it. This
 * process is the only writer, so a row that was written is known; a transaction that fails ends the process.
 *
 * Invariant: every statement that changes a row says so here, whichever connection it runs on.
 *
 * @module
 */
import type { JobRow } from "./job_row.ts";

const keptMax = 4_096;

export class KeptRows {
  /** In the order in which they were last written or read from the file. */
  readonly #rows = new Map<number, JobRow>();

  get(seq: number): JobRow | undefined {
    return this.#rows.get(seq);
  }

  /** The row is in the file as it is here. */
  put(row: JobRow): JobRow {
    this.#rows.delete(row.seq);
    this.#rows.set(row.seq, row);
    const [oldest] = this.#rows.keys();
    if (this.#rows.size > keptMax && oldest !== undefined) this.#rows.delete(oldest);
    return row;
  }

  change(seq: number, patch: (row: JobRow) => Partial<JobRow>): void {
    const row = this.#rows.get(seq);
    if (row !== undefined) this.#rows.set(seq, { ...row, ...patch(row) });
  }

  forget(seq: number): void {
    this.#rows.delete(seq);
  }
}
