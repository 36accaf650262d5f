/**
 * Server messages, as this client reads them: those of any server of version 1.x.
 *
 * Made of the shapes that the server has too, and wider in three ways, so that a newer server is understood: a member
 * that is not known is left out, a word of a set that may grow is any text, and what the client makes no use of is
 * not looked at. Of what it uses it is as strict as the server. Pure.
 *
 * @module
 */
import { z } from "zod";
import {
  invokeResultSchema,
  ledgerPositionSchema,
  type PluginState,
  type PluginStatus,
  progressSchema,
} from "../../schemas/api.ts";
import {
  feedEventData as feedData,
  type FeedEventType,
  type JobEventType,
  jobFactSchema,
} from "../../schemas/event.ts";
import {
  type JobError,
  jobErrorSchema,
  jobSchema,
  type JobView as Job,
  type JobWait,
} from "../../schemas/job.ts";
import { faultSchema } from "../../schemas/problem.ts";
import { requestIdSchema, type ServerMessageType, type WsErrorCode } from "../../schemas/ws_protocol.ts";

/** A word of a set that grows: a newer server may say another. */
export type Open<T extends string> = T | (string & Record<never, never>);

/** Any text, typed by the words that are known. */
export const open = <T extends string>() =>
  z.custom<Open<T>>((value) => typeof value === "string", { error: "must be text" });
const nat = z.int().nonnegative();
/** `unknown` would take one that is not there, too. */
const present = z.custom<unknown>((value) => value !== undefined, { error: "is missing" });

export const faultsSchema = z.array(z.object(faultSchema.shape)).optional();
const progress = z.object(progressSchema.shape);
export type Progress = z.infer<typeof progress>;

export const receivedJobSchema = z.object({
  ...jobSchema.shape,
  kind: open<Job["kind"]>(),
  waitingFor: open<JobWait>().nullable(),
  error: z.object({ ...jobErrorSchema.shape, code: open<JobError["code"]>() }).nullable(),
});
/** A job as Airlock shows it. */
export type JobView = z.infer<typeof receivedJobSchema>;

const jobEventData = {
  JOB_QUEUED: receivedJobSchema,
  JOB_STARTED: receivedJobSchema,
  JOB_PROGRESS: progress,
  JOB_TOKEN: present,
  JOB_COMPLETED: receivedJobSchema,
  JOB_FAILED: receivedJobSchema,
  JOB_CANCELLED: receivedJobSchema,
} as const satisfies Record<JobEventType, z.ZodType>;

const jobEvent = <T extends JobEventType>(type: T) =>
  z.object({ event: z.literal(type), seq: nat, data: jobEventData[type] });

export const jobEventSchema = z.discriminatedUnion("event", [
  jobEvent("JOB_QUEUED"),
  jobEvent("JOB_STARTED"),
  jobEvent("JOB_PROGRESS"),
  jobEvent("JOB_TOKEN"),
  jobEvent("JOB_COMPLETED"),
  jobEvent("JOB_FAILED"),
  jobEvent("JOB_CANCELLED"),
]);
/** An event of one job. `seq` ascends, with gaps. */
export type JobEvent = z.infer<typeof jobEventSchema>;

const fact = z.object({ ...jobFactSchema.shape, code: open<JobError["code"]>().nullable() });
const feedEventData = {
  JOB_QUEUED: fact,
  JOB_STARTED: fact,
  JOB_PROGRESS: fact,
  JOB_COMPLETED: fact,
  JOB_FAILED: fact,
  JOB_CANCELLED: fact,
  PLUGIN_CHANGED: z.object({
    ...feedData.PLUGIN_CHANGED.shape,
    state: open<PluginState>(),
    status: open<PluginStatus>(),
    breaker: open<"closed" | "open" | "half_open">(),
  }),
  EVENTS_DROPPED: z.object(feedData.EVENTS_DROPPED.shape),
} as const satisfies Record<FeedEventType, z.ZodType>;

/** As `feedAfter` of INIT takes it. */
const feedIdSchema = z.string().min(1).max(64);
const feedEvent = <T extends FeedEventType>(type: T) =>
  z.object({ event: z.literal(type), seq: feedIdSchema, data: feedEventData[type] });

export const feedEventSchema = z.discriminatedUnion("event", [
  feedEvent("JOB_QUEUED"),
  feedEvent("JOB_STARTED"),
  feedEvent("JOB_PROGRESS"),
  feedEvent("JOB_COMPLETED"),
  feedEvent("JOB_FAILED"),
  feedEvent("JOB_CANCELLED"),
  feedEvent("PLUGIN_CHANGED"),
  feedEvent("EVENTS_DROPPED"),
]);
/** An event of the feed. `seq` is its id, a text. */
export type FeedEvent = z.infer<typeof feedEventSchema>;
export const feedHeadSchema = z.object({ event: z.string(), seq: feedIdSchema });

const message = <T extends ServerMessageType, I extends z.ZodType, P extends z.ZodType>(
  type: T,
  id: I,
  payload: P,
) => z.object({ type: z.literal(type), id, payload });

const checkpoint = z.string();
const invoked = z.object({
  kind: z.literal("invoked"),
  ...invokeResultSchema.shape,
  output: present,
  ledger: z.object(ledgerPositionSchema.shape),
  checkpoint,
});
export type Invoked = z.infer<typeof invoked>;

export const serverMessageSchema = z.discriminatedUnion("type", [
  message(
    "READY",
    requestIdSchema,
    z.object({
      version: z.string().regex(/^1\./, "must be a version 1.x"),
      messageBytesMax: nat,
      requestsMax: nat,
      feed: feedIdSchema.nullable(),
    }),
  ),
  message("PONG", requestIdSchema.nullable(), z.unknown()),
  message(
    "RESULT",
    requestIdSchema,
    z.discriminatedUnion("kind", [
      invoked,
      z.object({ kind: z.literal("job"), job: receivedJobSchema, checkpoint }),
      z.object({ kind: z.literal("done") }),
    ]),
  ),
  message("TOKEN", requestIdSchema, present),
  message("PROGRESS", requestIdSchema, progress),
  message(
    "COMPLETE",
    requestIdSchema,
    z.discriminatedUnion("kind", [invoked, z.object({ kind: z.literal("subscribed"), seq: nat })]),
  ),
  message(
    "ERROR",
    requestIdSchema.nullable(),
    z.object({
      code: open<WsErrorCode>(),
      message: z.string(),
      errors: faultsSchema,
      checkpoint: checkpoint.optional(),
      retryAfterMs: z.number().optional(),
    }),
  ),
  message(
    "EVENT",
    requestIdSchema.nullable(),
    z.object({ event: z.string(), seq: z.union([nat, z.string()]), data: z.unknown() }),
  ),
]);
export type ServerMessage = z.infer<typeof serverMessageSchema>;
type Of<T extends ServerMessageType> = Extract<ServerMessage, { type: T }>["payload"];
export type Ready = Of<"READY">;
export type ResultPayload = Of<"RESULT">;
export type ErrorPayload = Of<"ERROR">;
export type EventPayload = Of<"EVENT">;
