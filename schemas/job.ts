/**
 * Jobs: durable calls of an action, as callers ask for them and as they are shown.
 *
 * A job is on disk before it is accepted, and ends exactly once: `completed`, `failed` or `cancelled`. Pure.
 *
 * @module
 */
import { z } from "zod";
import { actionNameSchema } from "./action_name.ts";
import { pluginIdSchema } from "./plugin_id.ts";
import { problemCodeSchema } from "./problem.ts";

export const jobStates = ["pending", "running", "completed", "failed", "cancelled"] as const;
export const jobStateSchema = z.enum(jobStates);
export type JobState = z.infer<typeof jobStateSchema>;

/** A ULID, see https://github.com/ulid/spec: ids ascend in the order in which jobs were accepted. */
export const jobIdSchema = z.string().regex(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/, "must be the id of a job");

/** Any JSON value. Not `z.json()`: that is recursive, and an OpenAPI document cannot hold it in place. */
const jsonValue = z.unknown();
const instant = z.iso.datetime();
const yearMs = 31_536_000_000;
const printable = (charsMax: number) =>
  z.string().min(1).max(charsMax).regex(/^[^\p{C}]+$/u, "must be printable");

export const jobRetrySchema = z.strictObject({
  attempts: z.int().min(1).max(100).default(1).describe("How often it is tried, the first time included"),
  backoffMs: z.int().min(0).max(3_600_000).default(200)
    .describe("Pause before the second attempt; it doubles for each further one, and is varied by chance"),
  codes: z.array(problemCodeSchema).max(64).optional().describe(
    "The problems after which it is tried again. Left out: those after which that is safe, as " +
      "`ACTION_FAILED`; and, for an idempotent action, those that cut it short, as `PLUGIN_CRASHED`",
  ),
});
export type JobRetry = z.infer<typeof jobRetrySchema>;

const runAtMaxMs = Date.UTC(9999, 11, 31, 23, 59, 59);
/** With an offset an instant may lie outside the years that it is written and shown with. */
const runAt = z.iso.datetime({ offset: true }).refine((text) => {
  const ms = Date.parse(text);
  return ms >= 0 && ms <= runAtMaxMs;
}, "must lie from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z");

/** What every kind of job may ask. */
const jobOptions = {
  idempotencyKey: printable(128).nullable().default(null)
    .describe("The same key by the same caller gives the same job, for as long as that is kept"),
  priority: z.int().min(-1_000).max(1_000).default(0).describe("Higher ones go first"),
  runAt: runAt.nullable().default(null).describe("Not before this instant"),
  delayMs: z.int().min(0).max(yearMs).nullable().default(null).describe("Not before so long from now"),
  ttlMs: z.int().min(1).max(yearMs).nullable().default(null)
    .describe("Fails with `JOB_EXPIRED` when it has not begun by then, counted from now"),
  dependsOn: z.array(jobIdSchema).max(64).default([])
    .describe("Jobs that must complete before it; when one fails, it fails with `DEPENDENCY_FAILED`"),
};

/** One call, to be made by a job. */
const jobCall = {
  plugin: pluginIdSchema,
  action: actionNameSchema,
  input: jsonValue.default({}),
  deadlineMs: z.int().min(10).max(86_400_000).nullable().default(null)
    .describe("For one attempt; the smallest of this, the action's, the plugin's and Airlock's wins"),
  retry: jobRetrySchema.nullable().default(null).describe("The action's own, if left out"),
  concurrency: z.strictObject({
    key: printable(128),
    max: z.int().min(1).max(1_024).default(1),
  }).nullable().default(null).describe(
    "At most `max` jobs of this action with this key, by the same caller, run at once",
  ),
};

/** The body of `POST /v1/jobs`. */
export const jobRequestSchema = z.strictObject({ ...jobCall, ...jobOptions });
export type JobRequest = z.infer<typeof jobRequestSchema>;

export const jobBatchMax = 1_000;
/** The same for many at once: all are accepted, or none. */
export const jobBatchSchema = z.strictObject({ jobs: z.array(jobRequestSchema).min(1).max(jobBatchMax) });

export const jobErrorSchema = z.strictObject({ code: problemCodeSchema, message: z.string() });
export type JobError = z.infer<typeof jobErrorSchema>;

/** Why a pending job is not running. `turn`: it is its turn as soon as there is room. */
export const jobWaitSchema = z.enum(["time", "jobs", "key", "turn"]);
export type JobWait = z.infer<typeof jobWaitSchema>;

export const jobSchema = z.strictObject({
  id: jobIdSchema,
  kind: z.enum(["action", "pipeline"]),
  plugin: pluginIdSchema.nullable().describe("null for a pipeline"),
  action: actionNameSchema.nullable(),
  state: jobStateSchema,
  waitingFor: jobWaitSchema.nullable(),
  attempt: z.int().nonnegative().describe("Attempts begun"),
  interruptions: z.int().nonnegative()
    .describe("Attempts that ended with their cell or with Airlock and were made again at no cost"),
  progress: z.number().min(0).max(1),
  note: z.string().nullable().describe("What the plugin said with its progress"),
  output: jsonValue.describe("null until it is completed, and for who may not read it"),
  error: jobErrorSchema.nullable().describe("Of the last attempt that failed"),
  priority: z.int(),
  runAt: instant.nullable(),
  expiresAt: instant.nullable(),
  deadlineMs: z.int().nullable(),
  dependsOn: z.array(jobIdSchema),
  parent: jobIdSchema.nullable().describe("The pipeline that it is a part of"),
  step: z.string().nullable().describe(
    "Its place there: the step's id, and for a map the item, as `each[3]`",
  ),
  schedule: z.string().nullable().describe("The schedule that it came from"),
  idempotencyKey: z.string().nullable(),
  cancelRequested: z.boolean(),
  inputSha256: z.string().describe("Of the input's JSON without white space"),
  outputSha256: z.string().nullable(),
  planSha256: z.string().nullable().describe("Of a pipeline: plan and input, in canonical JSON"),
  createdAt: instant,
  startedAt: instant.nullable().describe("When its last attempt began"),
  endedAt: instant.nullable(),
});
export type JobView = z.infer<typeof jobSchema>;

export const jobLogLineSchema = z.strictObject({
  seq: z.int().positive(),
  at: instant,
  attempt: z.int().positive(),
  level: z.enum(["debug", "info", "warning", "error"]),
  text: z.string(),
});
export type JobLogLine = z.infer<typeof jobLogLineSchema>;

/** The body of `POST /v1/jobs/redrive`: which failed jobs are tried again. */
export const redriveSchema = z.strictObject({
  plugin: pluginIdSchema.optional(),
  action: actionNameSchema.optional(),
  code: problemCodeSchema.optional().describe("Only those that failed of this"),
  limit: z.int().min(1).max(1_000).default(100),
});
export type Redrive = z.infer<typeof redriveSchema>;

/** The body of `POST /v1/schedules`: a job for each time that a cron expression names. */
export const scheduleRequestSchema = z.strictObject({
  ...jobCall,
  name: printable(128),
  cron: z.string().min(1).max(128).describe("Five fields: minute, hour, day, month, day of week"),
  timeZone: z.string().min(1).max(64).default("UTC").describe("An IANA name, as Europe/Berlin"),
  priority: jobOptions.priority,
  ttlMs: jobOptions.ttlMs,
});
export type ScheduleRequest = z.infer<typeof scheduleRequestSchema>;

export const scheduleSchema = z.strictObject({
  id: jobIdSchema,
  name: z.string().nullable().describe("null but for who made it and for the role `operator`"),
  plugin: pluginIdSchema,
  action: actionNameSchema,
  cron: z.string(),
  timeZone: z.string(),
  nextAt: instant.nullable(),
  lastAt: instant.nullable(),
  lastJob: jobIdSchema.nullable(),
  createdAt: instant,
});
export type ScheduleView = z.infer<typeof scheduleSchema>;
