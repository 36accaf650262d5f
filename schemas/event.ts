/**
 * Events: what happens, as it is told to those who watch.
 *
 * A job has a numbered row of events of its own, kept with it, with all it says. The feed tells everybody what
 * happens, and never what is in it: no output, no token, no text of a plugin's. Pure.
 *
 * @module
 */
import { z } from "zod";
import { actionNameSchema } from "./action_name.ts";
import { pluginStateSchema, pluginStatusSchema, progressSchema } from "./api.ts";
import { jobIdSchema, jobSchema, jobStateSchema } from "./job.ts";
import { pluginIdSchema } from "./plugin_id.ts";
import { problemCodeSchema } from "./problem.ts";

export const jobEventTypes = [
  "JOB_QUEUED",
  "JOB_STARTED",
  "JOB_PROGRESS",
  "JOB_TOKEN",
  "JOB_COMPLETED",
  "JOB_FAILED",
  "JOB_CANCELLED",
] as const;
export const jobEventTypeSchema = z.enum(jobEventTypes);
export type JobEventType = z.infer<typeof jobEventTypeSchema>;

/**
 * The data of each event of a job. Numbers (`seq`) ascend, with gaps where Airlock was interrupted; `JOB_STARTED`
 * begins an attempt, and tokens before it belong to an earlier one. `JOB_FAILED` also tells of an attempt that
 * failed and will be made again: then the job's state is `pending`.
 */
export const jobEventData = {
  JOB_QUEUED: jobSchema,
  JOB_STARTED: jobSchema,
  JOB_PROGRESS: progressSchema,
  JOB_TOKEN: z.unknown(),
  JOB_COMPLETED: jobSchema,
  JOB_FAILED: jobSchema,
  JOB_CANCELLED: jobSchema,
} as const satisfies Record<JobEventType, z.ZodType>;

/** What the feed says of a job. */
export const jobFactSchema = z.strictObject({
  job: jobIdSchema,
  plugin: pluginIdSchema.nullable(),
  action: actionNameSchema.nullable(),
  state: jobStateSchema,
  attempt: z.int().nonnegative(),
  progress: z.number().min(0).max(1),
  code: problemCodeSchema.nullable().describe("Why it failed"),
  parent: jobIdSchema.nullable(),
});
export type JobFact = z.infer<typeof jobFactSchema>;

/** The data of each event of the feed. */
export const feedEventData = {
  JOB_QUEUED: jobFactSchema,
  JOB_STARTED: jobFactSchema,
  JOB_PROGRESS: jobFactSchema,
  JOB_COMPLETED: jobFactSchema,
  JOB_FAILED: jobFactSchema,
  JOB_CANCELLED: jobFactSchema,
  PLUGIN_CHANGED: z.strictObject({
    plugin: pluginIdSchema,
    state: pluginStateSchema,
    status: pluginStatusSchema,
    breaker: z.enum(["closed", "open", "half_open"]),
  }),
  /** A reader was too slow, or asked for what is no longer kept: so many events are missing; null: unknown. */
  EVENTS_DROPPED: z.strictObject({ count: z.int().positive().nullable() }),
} as const;
export type FeedEventType = keyof typeof feedEventData;
export const feedEventTypes = Object.keys(feedEventData) as [FeedEventType, ...FeedEventType[]];
export type FeedEventData<T extends FeedEventType> = z.infer<(typeof feedEventData)[T]>;
