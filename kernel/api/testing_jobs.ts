/**
 * Jobs and a feed in memory, for the tests of the API: they do nothing but remember what they were asked.
 *
 * Only `*_test.ts` files import this, through `testing_kernel.ts`.
 *
 * @module
 */
import type { JobView, ScheduleView } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Event } from "../bus/event_cursor.ts";
import type { FeedCursor } from "../bus/feed.ts";
import type { Jobs, ShownJob } from "../jobs/jobs.ts";

/** Ids of the jobs there are; who enqueued `own` is `token:invoker`, who enqueued `other` somebody else. */
export const jobIds = {
  own: "01JD0000000000000000000001",
  other: "01JD0000000000000000000002",
  ended: "01JD0000000000000000000003",
  accepted: "01JD0000000000000000000009",
} as const;

export const scheduleId = "01JD000000000000000000000S";

export interface TestingJobs extends Jobs {
  /** Each act and its arguments. */
  readonly asked: [name: keyof Jobs, ...rest: unknown[]][];
}

export interface TestingFeed {
  /** What each watcher asked for. */
  readonly asked: (string | undefined)[];
  watch(after?: string): FeedCursor;
}

export const jobEvents: readonly Event[] = [
  { id: "1", type: "JOB_QUEUED", json: "{}" },
  { id: "2", type: "JOB_STARTED", json: "{}" },
  { id: "3", type: "JOB_TOKEN", json: `"a"` },
  { id: "4", type: "JOB_COMPLETED", json: "{}" },
];

/** A cursor over `events`, all of them there already. */
export function createTestingCursor(events: readonly Event[]): FeedCursor {
  let at = 0;
  return {
    get id() {
      return events[at - 1]?.id ?? "0";
    },
    read: (bytesMax) => {
      const begun = at;
      for (let bytes = 0; at < events.length && (at === begun || bytes < bytesMax); at += 1) {
        bytes += events[at]?.json.length ?? 0;
      }
      return events.slice(begun, at);
    },
    get isEnded() {
      return at === events.length;
    },
    changed: () => Promise.resolve(),
    [Symbol.dispose]: () => {},
  };
}

export function createTestingFeed(): TestingFeed {
  const asked: (string | undefined)[] = [];
  return {
    asked,
    watch: (after) => {
      asked.push(after);
      return createTestingCursor([{ id: "7", type: "JOB_QUEUED", json: "{}" }]);
    },
  };
}

/** Jobs as told by `parts`, and canned ones where they tell nothing. */
export function createTestingJobs(checkpoint: string, parts: Partial<Jobs> = {}): TestingJobs {
  const asked: TestingJobs["asked"] = [];
  const recorded = <T>(value: T) => Promise.resolve({ value, checkpoint });
  const jobs: Jobs = {
    enqueue: (requests) => recorded(requests.map(({ plugin, action }) => shownJob({ plugin, action }))),
    enqueuePipeline: () => recorded(shownJob({ kind: "pipeline", plugin: null, action: null })),
    get: (id) => Promise.resolve().then(() => shownJob(findJob(id))),
    list: ({ limit }) => {
      const items = [jobsThere.ended, jobsThere.other, jobsThere.own].slice(0, limit);
      return { items, next: limit < 3 ? items.at(-1)?.id ?? null : null };
    },
    cancel: async (id) => await recorded(shownJob({ ...findJob(id), state: "cancelled" })),
    retry: async (id) => await recorded(shownJob(findJob(id))),
    redrive: () => recorded({ jobs: [jobIds.ended] }),
    watch: (id, after) => {
      findJob(id);
      return createTestingCursor(jobEvents.filter((event) => Number(event.id) > after));
    },
    logs: (id, { after = 0, limit }) => {
      findJob(id);
      return [1, 2, 3].filter((seq) => seq > after).slice(0, limit)
        .map((seq) => ({ seq, at: instant, attempt: 1, level: "info" as const, text: `line ${seq}` }));
    },
    createSchedule: ({ name, plugin, action, cron, timeZone }) =>
      recorded({ ...schedule, name, plugin, action, cron, timeZone }),
    listSchedules: () => ({ items: [schedule], next: null }),
    deleteSchedule: async (id) => {
      if (id === scheduleId) return await recorded(null);
      throw new ProblemError("SCHEDULE_NOT_FOUND", `Cannot find schedule "${id}": there is none`);
    },
    ...parts,
  };
  return remembering(jobs, asked);
}

/** `jobs`, each of whose acts is noted in `asked`. */
function remembering(jobs: Jobs, asked: TestingJobs["asked"]): TestingJobs {
  const note =
    <Args extends unknown[], Result>(name: keyof Jobs, act: (...args: Args) => Result) =>
    (...args: Args): Result => {
      asked.push([name, ...args]);
      return act(...args);
    };
  return {
    asked,
    enqueue: note("enqueue", jobs.enqueue),
    enqueuePipeline: note("enqueuePipeline", jobs.enqueuePipeline),
    get: note("get", jobs.get),
    list: note("list", jobs.list),
    cancel: note("cancel", jobs.cancel),
    retry: note("retry", jobs.retry),
    redrive: note("redrive", jobs.redrive),
    watch: note("watch", jobs.watch),
    logs: note("logs", jobs.logs),
    createSchedule: note("createSchedule", jobs.createSchedule),
    listSchedules: note("listSchedules", jobs.listSchedules),
    deleteSchedule: note("deleteSchedule", jobs.deleteSchedule),
  };
}

const instant = "2026-11-20T10:00:00.000Z";

export function jobNamed(parts: Partial<JobView> = {}): JobView {
  return {
    id: jobIds.accepted,
    kind: "action",
    plugin: "hello",
    action: "greet",
    state: "pending",
    waitingFor: "turn",
    attempt: 0,
    interruptions: 0,
    progress: 0,
    note: null,
    output: null,
    error: null,
    priority: 0,
    runAt: null,
    expiresAt: null,
    deadlineMs: null,
    dependsOn: [],
    parent: null,
    step: null,
    schedule: null,
    idempotencyKey: null,
    cancelRequested: false,
    inputSha256: "0".repeat(64),
    outputSha256: null,
    planSha256: null,
    createdAt: instant,
    startedAt: null,
    endedAt: null,
    ...parts,
  };
}

/** As an act answers it. */
export function shownJob({ output = null, ...parts }: Partial<JobView> = {}): ShownJob {
  return { view: jobNamed(parts), outputJson: output === null ? null : JSON.stringify(output) };
}

const jobsThere = {
  own: jobNamed({ id: jobIds.own }),
  other: jobNamed({ id: jobIds.other }),
  ended: jobNamed({ id: jobIds.ended, state: "completed", waitingFor: null, output: { n: 1 }, progress: 1 }),
};

function findJob(id: string): JobView {
  const job = Object.values(jobsThere).find((known) => known.id === id);
  if (job === undefined) throw new ProblemError("JOB_NOT_FOUND", `Cannot find job "${id}": there is none`);
  return job;
}

const schedule: ScheduleView = {
  id: scheduleId,
  name: "nightly",
  plugin: "hello",
  action: "greet",
  cron: "0 3 * * *",
  timeZone: "UTC",
  nextAt: instant,
  lastAt: null,
  lastJob: null,
  createdAt: instant,
};
