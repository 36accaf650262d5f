/**
 * Reading what a server sent: text of a frame → a message of the protocol, or a ProtocolError.
 *
 * Of a token's frame the type, the id and the length are checked and the token is taken as it is: there are many,
 * and a token is any JSON value. All else is parsed by the schemas of `server_messages.ts`, the message that ends
 * the stream included. A message or an event of a type that is not known is a newer server's, and ignored. A
 * plugin's data is what `JSON.parse` makes of it: a key `__proto__` in it is an ordinary property of its own and
 * changes no prototype. What cannot be read and names a request is that request's misfortune alone: a job that a newer
 * server shows otherwise must not take the connection from all the others. Pure.
 *
 * @module
 */
import { z } from "zod";
import { requestIdSchema } from "../../schemas/ws_protocol.ts";
import { ProtocolError } from "./errors.ts";
import {
  type EventPayload,
  type FeedEvent,
  feedEventSchema,
  feedHeadSchema,
  type JobEvent,
  jobEventSchema,
  type ServerMessage,
  serverMessageSchema,
} from "./server_messages.ts";

/** A message about a request of a type that is known, but it does not fit that type. */
export interface Unreadable {
  readonly type: "UNREADABLE";
  readonly id: string;
  readonly sent: ServerMessage["type"];
  readonly cause: ProtocolError;
}

/** undefined: of a type that is not known. Throws {@linkcode ProtocolError}. */
export function readMessage(data: unknown, charsMax: number): ServerMessage | Unreadable | undefined {
  if (typeof data !== "string") throw new ProtocolError('Cannot read "a message": it is not text');
  if (data.length > charsMax) {
    throw new ProtocolError(
      `Cannot read "a message": ${data.length} characters, and at most ${charsMax} are taken`,
    );
  }
  const value = parseJson(data, "a message");
  const token = readToken(value);
  if (token !== undefined) return token;
  if (isRecord(value) && isOther(value.type, messageTypes)) return undefined;
  try {
    return parse(serverMessageSchema, value, "a message");
  } catch (cause) {
    const named = cause instanceof ProtocolError ? namedSchema.safeParse(value) : undefined;
    if (!(cause instanceof ProtocolError) || !named?.success) throw cause;
    return { type: "UNREADABLE", id: named.data.id, sent: named.data.type, cause };
  }
}

/** undefined: of a type that is not known. Throws {@linkcode ProtocolError}. */
export function readJobEvent(payload: EventPayload): JobEvent | undefined {
  const { event, seq, data } = payload;
  // Checked before: `event` by its text, and `seq` where the frame was read.
  if (event === "JOB_TOKEN" && typeof seq === "number" && data !== undefined) return { event, seq, data };
  return isOther(event, jobEventTypes) ? undefined : parse(jobEventSchema, payload, "a job's event");
}

/** `event` is undefined where it is of a type that is not known. Throws {@linkcode ProtocolError}. */
export function readFeedEvent(
  payload: EventPayload,
): { readonly seq: string; readonly event: FeedEvent | undefined } {
  const what = "an event of the feed";
  const { event, seq } = parse(feedHeadSchema, payload, what);
  return { seq, event: isOther(event, feedEventTypes) ? undefined : parse(feedEventSchema, payload, what) };
}

/** Throws {@linkcode ProtocolError}. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError(`Cannot read "${what}": it is not JSON`, cause);
  }
}

/** Throws {@linkcode ProtocolError}. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0] ?? { path: [], message: "it does not fit" };
  throw new ProtocolError(`Cannot read "${what}": /${path.join("/")} ${message}`.slice(0, 500), parsed.error);
}

const messageTypes = new Set<unknown>(serverMessageSchema.options.map(({ shape }) => shape.type.value));
const namedSchema = z.object({
  type: z.enum(serverMessageSchema.options.map(({ shape }) => shape.type.value)),
  id: requestIdSchema,
});
const jobEventTypes = new Set<unknown>(jobEventSchema.options.map(({ shape }) => shape.event.value));
const feedEventTypes = new Set<unknown>(feedEventSchema.options.map(({ shape }) => shape.event.value));

/** Whether it is a name, and none of those that are known. */
function isOther(name: unknown, known: ReadonlySet<unknown>): boolean {
  return typeof name === "string" && !known.has(name);
}

/** A frame with a token; undefined where it is another, or does not fit. */
function readToken(value: unknown): ServerMessage | undefined {
  if (!isRecord(value)) return undefined;
  const { type, id, payload } = value;
  if (typeof id !== "string" || id.length === 0 || id.length > 64) return undefined;
  if (type === "TOKEN" && payload !== undefined) return { type, id, payload };
  if (type !== "EVENT" || !isRecord(payload)) return undefined;
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
