/**
 * Recovery: what becomes of the jobs that ran when the last life of the kernel ended.
 *
 * Their leases are void. An attempt that had not begun is given back; another one goes on as the job's policy says:
 * that of an idempotent action is made again, and one of another action fails, since nobody knows how much of its
 * work it did. The normal start runs this, and so does the one after a crash.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import { jobRetrySchema } from "../../schemas/job.ts";
import type { Transact } from "../store/database.ts";
import { type JobRow, untoldEnded, untoldEnqueued } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { JobEvents } from "./job_events.ts";
import type { JobTraces } from "./job_traces.ts";
import type { Lanes } from "./lanes.ts";
import type { Queue } from "./queue.ts";
import { decideRetry } from "./retry_policy.ts";
import type { Teller } from "./teller.ts";

export interface RecoverDeps {
  readonly table: JobsTable;
  readonly transact: Transact;
  readonly queue: Queue;
  readonly lanes: Lanes;
  readonly events: Pick<JobEvents, "skip" | "write" | "published">;
  readonly traces: JobTraces;
  readonly config: Config["jobs"];
  random(): number;
}

const rowsMax = 500;
/**
 * Numbers of events that are left out: a power cut may have lost as many that were shown. A job's events are
 * bounded by `jobs.eventsBytesMax`, so there are never more.
 */
const eventsSkipped = 100_000_000;
const interrupted = "JOB_INTERRUPTED";

/** Gives the numbers of the pipelines that go on. */
export function recoverJobs(deps: RecoverDeps): number[] {
  const { table, transact, events } = deps;
  const pipelines: number[] = [];
  for (let after = 0;;) {
    const rows = table.running(after, rowsMax);
    const last = rows.at(-1);
    if (last === undefined) return pipelines;
    after = last.seq;
    transact(() => {
      for (const row of rows) {
        events.skip(row.seq, eventsSkipped);
        if (row.kind === "pipeline") {
          pipelines.push(row.seq);
          continue;
        }
        // What runs has a place in its lane; the queue takes it back.
        deps.lanes.began(row, row.concurrencyKey);
        recoverOne(row, deps);
      }
      events.write();
    });
    events.published();
  }
}

function recoverOne(row: JobRow, { queue, traces, config, random }: RecoverDeps): void {
  const hasBegun = traces.hasBegun(row);
  if (row.cancelRequested) return void queue.cancel(row);
  const { isIdempotent, failures, interruptions } = row;
  const { interruptionsMax, backoffMaxMs } = config;
  const decision = decideRetry(
    { code: interrupted, hasBegun, isIdempotent, failures, interruptions },
    // As it was when it was claimed: its plugin may be another by now.
    { policy: row.policy ?? jobRetrySchema.parse({}), interruptionsMax, backoffMaxMs, random },
  );
  const message = `Cannot run job "${row.id}": Airlock ended under it`;
  switch (decision.next) {
    case "release":
      return void queue.giveBack(row);
    case "again":
      return void queue.again(row, { code: interrupted, message }, decision);
    case "fail":
      return void queue.fail(row, interrupted, message);
  }
}

/** Writes the entries that the last life of the kernel owed. Resolves when they are durable, and the traces gone. */
export async function tellOwed(
  { table, teller, traces }: { table: JobsTable; teller: Teller; traces: JobTraces },
): Promise<void> {
  for (let after = 0;;) {
    const rows = table.untold(after, rowsMax);
    const last = rows.at(-1);
    if (last === undefined) return traces.forget();
    after = last.seq;
    const telling: (Promise<unknown> | undefined)[] = [];
    for (const row of rows) {
      const parent = row.parent === null ? undefined : table.get(row.parent)?.id;
      for (const [bit, entry] of [[untoldEnqueued, "enqueued"], [untoldEnded, "ended"]] as const) {
        if ((row.untold & bit) === 0) continue;
        if (traces.isTold(row, entry, parent)) {
          teller.marked(row.seq, entry);
          continue;
        }
        teller.tell(row, entry);
        telling.push(teller.pending(row.seq, entry));
      }
    }
    await Promise.all(telling);
    teller.flush();
  }
}
