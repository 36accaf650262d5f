/**
 * The job logs table holds the lines that the attempts of a job wrote to `ctx.log`.
 *
 * A write is part of whichever transaction is open on the connection, and otherwise one of its own.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { jobLogLineSchema } from "../../schemas/job.ts";

const levelSchema = jobLogLineSchema.shape.level;
export type JobLogLevel = z.infer<typeof levelSchema>;

export interface JobLogRow {
  /** Numbers ascend from 1 in each job. */
  readonly seq: number;
  readonly atMs: number;
  readonly attempt: number;
  readonly level: JobLogLevel;
  /** Without NUL: SQLite reads a text to the first one. */
  readonly text: string;
}

export interface JobLogsTable {
  /** `job` is its `seq`. Throws where it is not there. */
  append(job: number, lines: readonly JobLogRow[]): void;
  /** Lines with a number above `after`, ascending. */
  list(job: number, after: number, limit: number): JobLogRow[];
  /** The line that was written last. */
  last(job: number): JobLogRow | undefined;
  /** Of all its text in UTF-8, and {@linkcode logRowBytes} for each line: an empty one is not free. */
  bytes(job: number): number;
}

/** What a line takes beside its text, about. */
export const logRowBytes = 64;

const rowSchema = z.object({
  seq: z.int(),
  at_ms: z.int(),
  attempt: z.int(),
  level: levelSchema,
  text: z.string(),
});
const bytesSchema = z.object({ bytes: z.int() });

function parseRow(raw: unknown): JobLogRow {
  const { at_ms, ...row } = rowSchema.parse(raw);
  return { ...row, atMs: at_ms };
}

export function createJobLogsTable(db: DatabaseSync): JobLogsTable {
  const insert = db.prepare(
    "INSERT INTO job_logs (job, seq, at_ms, attempt, level, text) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const columns = "seq, at_ms, attempt, level, text";
  const select = db.prepare(
    `SELECT ${columns} FROM job_logs WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?`,
  );
  const selectLast = db.prepare(`SELECT ${columns} FROM job_logs WHERE job = ? ORDER BY seq DESC LIMIT 1`);
  const selectBytes = db.prepare(
    `SELECT coalesce(sum(octet_length(text) + ${logRowBytes}), 0) AS bytes FROM job_logs WHERE job = ?`,
  );
  return {
    append(job, lines) {
      for (const { seq, atMs, attempt, level, text } of lines) {
        insert.run(job, seq, atMs, attempt, level, text);
      }
    },
    list: (job, after, limit) => select.all(job, after, limit).map(parseRow),
    last(job) {
      const raw = selectLast.get(job);
      return raw && parseRow(raw);
    },
    bytes: (job) => bytesSchema.parse(selectBytes.get(job)).bytes,
  };
}
