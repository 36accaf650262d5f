/**
 * A file of jobs with rows to refer to. Only tests and benches import this.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { openDatabase } from "./database.ts";
import { jobsMigrations } from "./migrations.ts";

export function openJobsFile(file: string, durability: "full" | "normal"): DatabaseSync {
  return openDatabase({ file, migrations: jobsMigrations, durability, check: false, exclusive: false });
}

/** Rows of `jobs` with these numbers. */
export function insertJobs(db: DatabaseSync, ...jobs: number[]): void {
  const insert = db.prepare(`
    INSERT INTO jobs (seq, id, kind, state, wait, actor, request_sha256, priority, attempt, failures, interruptions,
      lease_token, idempotent, cancel_requested, progress, input_sha256, untold, created_at_ms)
    VALUES (?, ?, 'action', 'pending', 'turn', 'token:a', x'00', 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0)
  `);
  for (const job of jobs) insert.run(job, `job ${job}`);
}
