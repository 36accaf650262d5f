/**
 * The jobs store is `DATA/jobs.db`: jobs with their inputs and outputs, what they told, and schedules.
 *
 * The file is open twice, in one thread. A commit of `transact` is on disk when it returns. One of `light` does not
 * wait for the disk: it survives the end of this process, and is on disk with the next commit of the other.
 *
 * @module
 */
import { z } from "zod";
import { createTransact, openDatabase, type Transact } from "./database.ts";
import { createEndedJobs, type EndedJobs } from "./ended_jobs.ts";
import { createJobEventsTable, type JobEventsTable } from "./job_events_table.ts";
import { createJobLogsTable, type JobLogsTable } from "./job_logs_table.ts";
import { createJobsList, type JobsFilter, type JobsPage } from "./jobs_list.ts";
import { createJobsTable, type JobsTable } from "./jobs_table.ts";
import { KeptRows } from "./kept_rows.ts";
import { jobsMigrations } from "./migrations.ts";
import { createSchedulesTable, type SchedulesTable } from "./schedules_table.ts";

export interface JobsStore extends Disposable {
  readonly jobs: JobsTable;
  readonly ended: EndedJobs;
  readonly schedules: SchedulesTable;
  readonly events: JobEventsTable;
  readonly logs: JobLogsTable;
  readonly transact: Transact;
  readonly light: {
    readonly transact: Transact;
    readonly jobs: JobsTable;
    readonly events: JobEventsTable;
    readonly logs: JobLogsTable;
  };
  list(filter: JobsFilter): JobsPage;
  newestId(): string | undefined;
  /** What the file holds; less than its size, which does not shrink. Read once for each transaction. */
  bytes(): number;
}

const newestSchema = z.object({ id: z.string().nullable() });
const pagesSchema = z.object({ pages: z.int() });

/** Throws {@linkcode StoreError} where the file cannot be used. */
export function openJobsStore({ file }: { file: string }): JobsStore {
  const options = { file, migrations: jobsMigrations, check: false, exclusive: false } as const;
  const full = openDatabase({ ...options, durability: "full" });
  const light = openDatabase({ ...options, durability: "normal" });
  const countPages = full.prepare(
    `SELECT (page_count - freelist_count) * page_size AS pages
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`,
  );
  let held: number | undefined;
  /** What the file held before it, and while it was written, is not what it holds. */
  const measured = (transact: Transact): Transact => (work) => {
    held = undefined;
    try {
      return transact(work);
    } finally {
      held = undefined;
    }
  };
  const rows = new KeptRows();
  const selectNewest = full.prepare("SELECT max(id) AS id FROM jobs");
  return {
    jobs: createJobsTable(full, rows),
    ended: createEndedJobs(full),
    schedules: createSchedulesTable(full),
    events: createJobEventsTable(full),
    logs: createJobLogsTable(full),
    transact: measured(createTransact(full)),
    light: {
      transact: measured(createTransact(light)),
      jobs: createJobsTable(light, rows),
      events: createJobEventsTable(light),
      logs: createJobLogsTable(light),
    },
    list: createJobsList(full),
    newestId: () => newestSchema.parse(selectNewest.get()).id ?? undefined,
    bytes: () => held ??= pagesSchema.parse(countPages.get()).pages,
    [Symbol.dispose]: () => {
      light.close();
      full.close();
    },
  };
}
