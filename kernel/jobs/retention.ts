/**
 * Retention: jobs that ended are deleted when they are old, or when there are too many.
 *
 * With a job go its input, its output, what it told and its idempotency key. The ledger keeps its entries.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { JobEvents } from "./job_events.ts";

export interface RetentionDeps {
  readonly table: Pick<JobsTable, "ended" | "countEnded" | "delete">;
  readonly events: Pick<JobEvents, "deleted">;
  readonly config: Pick<Config["jobs"], "retentionMs" | "keptMax">;
  nowMs(): number;
}

/** Deleted in one transaction. */
const deletedMax = 500;

/** Deletes some, inside a transaction. True: there may be more. */
export function deleteOldJobs({ table, events, config, nowMs }: RetentionDeps): boolean {
  const old = table.ended(nowMs() - config.retentionMs, deletedMax);
  const excess = Math.min(deletedMax, table.countEnded() - config.keptMax);
  const chosen = old.length > 0 || excess <= 0 ? old : table.ended(Number.MAX_SAFE_INTEGER, excess);
  for (const seq of chosen) {
    table.delete(seq);
    events.deleted(seq);
  }
  return chosen.length === deletedMax;
}
