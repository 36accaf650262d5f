/**
 * Reading what a server sent: text of a frame → a message of the protocol, or a ProtocolError.
 *
 * Of a token's frame the type, the id and the length are checked and the token is taken as it is: there are many,
 * and a token is any JSON value. All else is parsed by the schemas that the server has too, the message that ends
 * the stream included. A plugin's data is what `JSON.parse` makes of it: a key `__proto__` in it is an ordinary
 * property of its own and changes no prototype. Pure.
 *
 * @module
 */
import { z } from "zod";
import { feedEventData, jobEventData } from "../../schemas/event.ts";
import { type ServerMessage, serverMessageSchema } from "../../schemas/ws_protocol.ts";
import { ProtocolError } from "./errors.ts";

const seq = z.int().nonnegative();
const jobEvent = <T extends keyof typeof jobEventData>(type: T) =>
  z.strictObject({ event: z.literal(type), seq, data: jobEventData[type] });

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

/** As `feedAfter` of INIT takes it. */
const feedId = z.string().min(1).max(64);
const feedEvent = <T extends keyof typeof feedEventData>(type: T) =>
  z.strictObject({ event: z.literal(type), seq: feedId, data: feedEventData[type] });

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

/** Throws {@linkcode ProtocolError}. */
export function readMessage(data: unknown, charsMax: number): ServerMessage {
  if (typeof data !== "string") throw new ProtocolError('Cannot read "a message": it is not text');
  if (data.length > charsMax) {
    throw new ProtocolError(
      `Cannot read "a message": ${data.length} characters, and at most ${charsMax} are taken`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw new ProtocolError('Cannot read "a message": it is not JSON', cause);
  }
  return readToken(value) ?? parse(serverMessageSchema, value, "a message");
}

/** Throws {@linkcode ProtocolError}. */
export function readJobEvent(payload: Extract<ServerMessage, { type: "EVENT" }>["payload"]): JobEvent {
  const { event, seq, data } = payload;
  // Checked before: `event` by its text, and `seq` where the frame was read.
  if (event === "JOB_TOKEN" && typeof seq === "number") return { event, seq, data };
  return parse(jobEventSchema, payload, "a job's event");
}

/** Throws {@linkcode ProtocolError}. */
export function readFeedEvent(payload: unknown): FeedEvent {
  return parse(feedEventSchema, payload, "an event of the feed");
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0] ?? { path: [], message: "it does not fit" };
  throw new ProtocolError(`Cannot read "${what}": /${path.join("/")} ${message}`.slice(0, 500), parsed.error);
}

/** A frame with a token; undefined where it is another, or does not fit. */
function readToken(value: unknown): ServerMessage | undefined {
  if (!isRecord(value) || Object.keys(value).length !== 3) return undefined;
  const { type, id, payload } = value;
  if (typeof id !== "string" || id.length === 0 || id.length > 64) return undefined;
  if (type === "TOKEN" && payload !== undefined) return { type, id, payload };
  if (type !== "EVENT" || !isRecord(payload) || Object.keys(payload).length !== 3) return undefined;
  const { event, seq, data } = payload;
  if (event !== "JOB_TOKEN" || data === undefined || !isSeq(seq)) return undefined;
  return { type, id, payload: { event, seq, data } };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSeq(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
