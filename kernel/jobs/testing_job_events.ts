/**
 * A file of jobs, opened twice as the kernel does, and job events over it. Only tests and benches import this.
 *
 * @module
 */
import { TestingClock } from "../../sandbox/testing_clock.ts";
import type { Event, EventCursor } from "../bus/event_cursor.ts";
import { createTransact } from "../store/database.ts";
import { createJobEventsTable } from "../store/job_events_table.ts";
import { createJobLogsTable } from "../store/job_logs_table.ts";
import { openJobsFile } from "../store/testing_jobs_file.ts";
import { JobEvents, type JobEventsDeps } from "./job_events.ts";

export function createTestingJobEvents(changes: Partial<JobEventsDeps> = {}) {
  const folder = Deno.makeTempDirSync();
  const full = openJobsFile(`${folder}/jobs.db`, "full");
  const lightDb = openJobsFile(`${folder}/jobs.db`, "normal");
  const clock = new TestingClock();
  const over = new Set<number>();
  const deferred: (() => void)[] = [];
  const fatal: Error[] = [];
  const transact = createTransact(full);
  const light = createTransact(lightDb);
  const counts = { light: 0 };
  const deps: JobEventsDeps = {
    table: createJobEventsTable(full),
    logs: createJobLogsTable(full),
    lightTable: createJobEventsTable(lightDb),
    lightLogs: createJobLogsTable(lightDb),
    light: (work) => {
      counts.light++;
      return light(work);
    },
    eventsBytesMax: 1_000_000,
    logBytesMax: 10_000,
    tailBytesMax: 1_000_000,
    clock,
    hasRoom: () => true,
    isOver: (job) => over.has(job),
    defer: (work) => deferred.push(work),
    fatal: (error) => fatal.push(error),
    ...changes,
  };
  const events = new JobEvents(deps);
  return {
    ...{ folder, full, lightDb, clock, over, deferred, fatal, transact, counts, deps, events },
    /** The next turn of the event loop. */
    turn: () => deferred.splice(0).forEach((work) => work()),
    /** What changes a job's state. */
    commit(work: () => void = () => {}): void {
      transact(() => {
        work();
        events.write();
      });
      events.published();
    },
    [Symbol.dispose]() {
      full.close();
      lightDb.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** All that the cursor can read now. */
export function readAll(cursor: EventCursor, bytesMax = 1_000_000): Event[] {
  const events: Event[] = [];
  for (;;) {
    const page = cursor.read(bytesMax);
    if (page.length === 0) return events;
    events.push(...page);
  }
}

export const tell = ({ id, type, json }: Event) => `${id} ${type} ${json}`;
