/**
 * The typed protocol at `/v1/ws`, version 1.0: JSON text messages `{ "type", "id", "payload" }`.
 *
 * The client begins with INIT and is answered READY; before that everything else is answered by an ERROR
 * `NOT_READY`. `id` is the client's name for a request, and every answer to it carries that id; what comes unasked
 * (PONG every five seconds, EVENT of the feed) has the id null. No PONG comes by itself while other messages wait for
 * the client to take them, and none overtakes a message on its way: a client that takes silence for the end has to
 * allow for its largest message.
 *
 *     INIT      → READY | ERROR                     PING    → PONG
 *     INVOKE    → RESULT | ERROR; with `stream`: TOKEN*, PROGRESS*, then COMPLETE | ERROR
 *     ENQUEUE   → RESULT (the job) | ERROR
 *     SUBSCRIBE → RESULT, EVENT*, then COMPLETE when the job has ended | ERROR
 *     CANCEL    → RESULT | ERROR, for a request under way (its INVOKE or SUBSCRIBE ends by ERROR `CANCELLED`) or a job
 *
 * A message that does not fit is answered by an ERROR `INVALID_MESSAGE` with the path of each fault, and with its
 * id where that could be read; the connection lives on. A payload that has nothing to say may be left out.
 *
 * The `input` of an INVOKE or ENQUEUE is a part of its message, and the plugin gets it as Airlock writes it again:
 * without white space, of two members of one name the last, and numbers as a double holds them, so that whole ones
 * above 2^53 lose digits. `inputSha256` covers that text. `POST …/invoke` passes the bytes on as they came.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import { actionNameSchema } from "./action_name.ts";
import { invokeResultSchema, progressSchema } from "./api.ts";
import { feedEventTypes, jobEventTypes } from "./event.ts";
import { jobIdSchema, jobRequestSchema, jobSchema } from "./job.ts";
import { pluginIdSchema } from "./plugin_id.ts";
import { faultSchema, problemCodes } from "./problem.ts";

export const wsProtocolVersion = "1.0";
/** The subprotocol to offer; beside it a browser offers `bearer.<its token>`. */
export const wsSubprotocol = "airlock.v1";
export const wsTokenPrefix = "bearer.";

/** A client's name for its request. */
export const requestIdSchema = z.string().min(1).max(64).regex(/^[\x21-\x7e]+$/, "must be printable ASCII");

const nat = z.int().nonnegative();
const none = z.strictObject({}).default({});
/** Every 1.x speaks with every other. */
const versionOne = /^1\./;

export const clientMessageSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("INIT"),
    id: requestIdSchema,
    payload: z.strictObject({
      version: z.string().max(16).default(wsProtocolVersion)
        .describe("Another major version is refused with INIT_FAILED"),
      client: z.string().max(128).optional().describe("Name and version, for the log"),
      feed: z.boolean().default(true).describe("Whether the events of the feed are sent"),
      feedAfter: z.string().max(64).optional()
        .describe("Resume the feed after the event with this id, or from the place that a READY named"),
    }).prefault({}),
  }),
  z.strictObject({ type: z.literal("PING"), id: requestIdSchema, payload: none }),
  z.strictObject({
    type: z.literal("INVOKE"),
    id: requestIdSchema,
    payload: z.strictObject({
      plugin: pluginIdSchema,
      action: actionNameSchema,
      input: z.unknown().default({}),
      stream: z.boolean().default(false),
    }),
  }),
  z.strictObject({ type: z.literal("ENQUEUE"), id: requestIdSchema, payload: jobRequestSchema }),
  z.strictObject({
    type: z.literal("SUBSCRIBE"),
    id: requestIdSchema,
    payload: z.strictObject({ job: jobIdSchema, after: nat.default(0).describe("The last `seq` that came") }),
  }),
  z.strictObject({
    type: z.literal("CANCEL"),
    id: requestIdSchema,
    payload: z.union([
      z.strictObject({ request: requestIdSchema }),
      z.strictObject({ job: jobIdSchema }),
    ]),
  }),
]);
export type ClientMessage = z.infer<typeof clientMessageSchema>;
export type ClientMessageType = ClientMessage["type"];

/** Beside the codes of problems: what only this protocol has. `PROCESSING_ERROR`: Airlock failed. */
export const wsErrorCodes = [...problemCodes, "INVALID_MESSAGE", "INIT_FAILED", "PROCESSING_ERROR"] as const;
export type WsErrorCode = (typeof wsErrorCodes)[number];

const checkpoint = z.string().describe("base64 of the signed checkpoint that covers the act");
const invoked = invokeResultSchema.extend({ checkpoint });
const event = z.strictObject({
  event: z.enum([...jobEventTypes, ...feedEventTypes.filter((type) => !type.startsWith("JOB_"))] as [
    string,
    ...string[],
  ]),
  seq: z.union([nat, z.string()]).describe("A job's events: a number. The feed's: its id, a text"),
  data: z.unknown(),
});

export const serverMessageSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("READY"),
    id: requestIdSchema,
    payload: z.strictObject({
      version: z.string().max(16).regex(versionOne, "must be a version 1.x"),
      airlock: z.string(),
      uptimeMs: z.number(),
      messageBytesMax: nat.describe("In UTF-8; larger messages are refused"),
      requestsMax: nat.describe("Requests under way at once on one connection; a CANCEL of one is none"),
      feed: z.string().nullable()
        .describe("Where the feed begins, for `feedAfter` until an event came; null: it is not sent"),
    }),
  }),
  z.strictObject({
    type: z.literal("PONG"),
    id: requestIdSchema.nullable(),
    payload: z.strictObject({ uptimeMs: z.number() }),
  }),
  z.strictObject({
    type: z.literal("RESULT"),
    id: requestIdSchema,
    payload: z.union([
      z.strictObject({ kind: z.literal("invoked"), ...invoked.shape }),
      z.strictObject({ kind: z.literal("job"), job: jobSchema, checkpoint }),
      z.strictObject({ kind: z.literal("done") }),
    ]),
  }),
  z.strictObject({ type: z.literal("TOKEN"), id: requestIdSchema, payload: z.unknown() }),
  z.strictObject({ type: z.literal("PROGRESS"), id: requestIdSchema, payload: progressSchema }),
  z.strictObject({
    type: z.literal("COMPLETE"),
    id: requestIdSchema,
    payload: z.union([
      z.strictObject({ kind: z.literal("invoked"), ...invoked.shape }),
      z.strictObject({ kind: z.literal("subscribed"), seq: nat }),
    ]),
  }),
  z.strictObject({
    type: z.literal("ERROR"),
    id: requestIdSchema.nullable(),
    payload: z.strictObject({
      code: z.enum(wsErrorCodes),
      message: z.string(),
      errors: z.array(faultSchema).optional(),
      checkpoint: checkpoint.optional(),
      retryAfterMs: z.number().optional(),
    }),
  }),
  z.strictObject({ type: z.literal("EVENT"), id: requestIdSchema.nullable(), payload: event }),
]);
export type ServerMessage = z.infer<typeof serverMessageSchema>;
export type ServerMessageType = ServerMessage["type"];
