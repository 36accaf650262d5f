/**
 * The kernel's jobs, opened: with their file, their clock, their ids.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { decodeTime, monotonicFactory } from "ulid";
import type { Config } from "../schemas/config.ts";
import { systemClock } from "../sandbox/clock.ts";
import { createJobs, type JobsDeps, type JobsParts } from "./jobs/create_jobs.ts";
import { type JobsStore, openJobsStore } from "./store/jobs_store.ts";
import type { Logger } from "./telemetry/log.ts";
import type { Tracker } from "./tracker.ts";

type Given = Pick<
  JobsDeps,
  "ledger" | "metrics" | "router" | "feed" | "traces" | "life" | "nameOf" | "isActive" | "nowMs"
>;

export interface OpenJobsDeps extends Given {
  readonly config: Config;
  readonly dataDir: string;
  readonly closers: AsyncDisposableStack;
  readonly tracker: Tracker;
  readonly logger: Logger;
  fatal(error: Error): void;
}

/** Resolves when what the last life of the kernel left is settled. Throws StoreError. */
export async function openJobs(
  { config, dataDir, closers, tracker, logger, ...deps }: OpenJobsDeps,
): Promise<JobsParts> {
  const store = closers.use(openJobsStore({ file: `${dataDir}/jobs.db` }));
  return await createJobs({
    ...deps,
    ...{ config: config.jobs, inputBytesMax: config.http.bodyBytesMax, store },
    newId: createIds(store, deps.nowMs),
    random: () => Math.random(),
    clock: systemClock,
    defer: (work) => void setImmediate(work),
    track: (work) => tracker.track(work),
    warn: (message) => logger.child("jobs").warning(message),
  });
}

/** Ids ascend, also when the machine's clock was set back. */
function createIds(store: JobsStore, nowMs: () => number): () => string {
  const newest = store.newestId();
  const firstMs = newest === undefined ? 0 : decodeTime(newest) + 1;
  const next = monotonicFactory();
  return () => next(Math.max(nowMs(), firstMs));
}
