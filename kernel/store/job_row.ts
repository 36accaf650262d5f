/**
 * A job's row: what is on disk of one job, without its input and output.
 *
 * @module
 */
import { z } from "zod";
import { jobRetrySchema, jobStateSchema, jobWaitSchema } from "../../schemas/job.ts";
import { problemCodeSchema } from "../../schemas/problem.ts";

const flag = z.literal([0, 1]).transform((bit) => bit === 1);
const text = z.string().nullable();
const whole = z.int();
const retryPolicy = text.transform((json) => json === null ? null : jobRetrySchema.parse(JSON.parse(json)));

/** In the order of the table's columns. */
const columns = {
  seq: whole,
  id: z.string(),
  kind: z.enum(["action", "pipeline"]),
  plugin: text,
  action: text,
  state: jobStateSchema,
  wait: jobWaitSchema.nullable(),
  actor: z.string(),
  /** `seq` of the pipeline that it is a part of. */
  parent: whole.nullable(),
  step: text,
  schedule: text,
  idempotency_key: text,
  request_sha256: z.instanceof(Uint8Array),
  priority: whole,
  due_at_ms: whole.nullable(),
  expires_at_ms: whole.nullable(),
  deadline_ms: whole.nullable(),
  retry: retryPolicy,
  concurrency_key: text,
  concurrency_max: whole.nullable(),
  attempt: whole,
  failures: whole,
  interruptions: whole,
  lease_token: whole,
  lease_life: text,
  idempotent: flag,
  policy: retryPolicy,
  cancel_requested: flag,
  progress: z.number(),
  note: text,
  error_code: problemCodeSchema.nullable(),
  error_message: text,
  input_sha256: z.string(),
  output_sha256: text,
  plan_sha256: text,
  untold: whole,
  created_at_ms: whole,
  started_at_ms: whole.nullable(),
  ended_at_ms: whole.nullable(),
} as const;

const rowSchema = z.object(columns).transform((row) => ({
  seq: row.seq,
  id: row.id,
  kind: row.kind,
  plugin: row.plugin,
  action: row.action,
  state: row.state,
  /** Why a pending job is not running; null in every other state. */
  wait: row.wait,
  actor: row.actor,
  parent: row.parent,
  step: row.step,
  schedule: row.schedule,
  idempotencyKey: row.idempotency_key,
  requestSha256: row.request_sha256,
  priority: row.priority,
  dueAtMs: row.due_at_ms,
  expiresAtMs: row.expires_at_ms,
  deadlineMs: row.deadline_ms,
  retry: row.retry,
  concurrencyKey: row.concurrency_key,
  concurrencyMax: row.concurrency_max,
  attempt: row.attempt,
  /** Attempts that failed since it was accepted or redriven. */
  failures: row.failures,
  interruptions: row.interruptions,
  leaseToken: row.lease_token,
  /** The life of the kernel whose lease it is; null unless it runs. */
  leaseLife: row.lease_life,
  /** Of the attempt under way: its action says so. */
  isIdempotent: row.idempotent,
  /** Of the attempt under way: the job's own, or its action's; null unless an action runs. */
  policy: row.policy,
  cancelRequested: row.cancel_requested,
  progress: row.progress,
  note: row.note,
  errorCode: row.error_code,
  errorMessage: row.error_message,
  inputSha256: row.input_sha256,
  outputSha256: row.output_sha256,
  planSha256: row.plan_sha256,
  /** Entries that the ledger may not have yet: see {@linkcode untoldEnqueued}. */
  untold: row.untold,
  createdAtMs: row.created_at_ms,
  startedAtMs: row.started_at_ms,
  endedAtMs: row.ended_at_ms,
}));
export type JobRow = z.infer<typeof rowSchema>;
export type NewJobRow = Omit<JobRow, "seq">;

/** Bits of `untold`. */
export const untoldEnqueued = 1;
export const untoldEnded = 2;

export function parseJobRow(raw: unknown): JobRow {
  return rowSchema.parse(raw);
}

export const columnNames = Object.keys(columns) as (keyof typeof columns)[];

type Value = string | number | null | Uint8Array;

/** The values of a row's columns but `seq`, in their order. */
export function rowValues(row: NewJobRow): Value[] {
  const json = (policy: JobRow["policy"]) => policy === null ? null : JSON.stringify(policy);
  return [
    ...[row.id, row.kind, row.plugin, row.action, row.state, row.wait, row.actor, row.parent, row.step],
    ...[row.schedule, row.idempotencyKey, row.requestSha256, row.priority, row.dueAtMs, row.expiresAtMs],
    ...[row.deadlineMs, json(row.retry)],
    ...[row.concurrencyKey, row.concurrencyMax, row.attempt, row.failures, row.interruptions],
    ...[
      row.leaseToken,
      row.leaseLife,
      Number(row.isIdempotent),
      json(row.policy),
      Number(row.cancelRequested),
    ],
    ...[row.progress, row.note, row.errorCode, row.errorMessage, row.inputSha256, row.outputSha256],
    ...[row.planSha256, row.untold, row.createdAtMs, row.startedAtMs, row.endedAtMs],
  ];
}
