/**
 * The cell protocol: everything that crosses between the kernel and a cell, and between a cell and its
 * Worker.
 *
 * On the socket an envelope is the head of a frame (see `sandbox/frame.ts`); JSON values travel behind it
 * as bytes. Both ends parse what they receive: the kernel with these schemas, the cell with the JSON Schemas
 * that are generated from them (`sandbox/cell_messages.ts`). Pure.
 *
 * @module
 */
import * as z from "zod/mini";
import { messageCharsMax } from "./cell_protocol_version.ts";

export { cellProtocolVersion, messageCharsMax } from "./cell_protocol_version.ts";

/**
 * What a token takes of its stream's window beside its text: about what the kernel holds for it. Without it a
 * window would be room for as many tokens as they have characters, and a stream of empty ones free.
 */
export const tokenOverheadChars = 512;

const callId = z.int().check(z.positive());
const text = z.string().check(z.maxLength(messageCharsMax));
const nat = z.int().check(z.nonnegative());

export const versionSchema = z.strictObject({ major: nat, minor: nat });

/** Codes by which a cell may fail a call; the kernel knows the others by itself. */
export const cellErrorCodes = [
  "ACTION_FAILED",
  "ACTION_NOT_FOUND",
  "INPUT_INVALID",
  "OUTPUT_INVALID",
  "LIMIT_OUTPUT",
] as const;

/** The job that a call is an attempt of; attempts count from 1. */
const callJobSchema = z.strictObject({ id: text, attempt: z.int().check(z.positive()) });
export type CallJob = Readonly<z.infer<typeof callJobSchema>>;

const faults = z.array(z.strictObject({ path: text, message: text })).check(z.maxLength(32));

/** Kernel → cell. `setup` and `call` carry a JSON body: a {@linkcode cellSetupSchema}, and the input. */
export const toCellSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("setup") }),
  z.strictObject({ type: z.literal("refused"), message: text }),
  z.strictObject({
    type: z.literal("call"),
    id: callId,
    action: text,
    request: text,
    stream: z.boolean(),
    job: z.optional(callJobSchema),
  }),
  z.strictObject({ type: z.literal("cancel"), id: callId }),
  z.strictObject({ type: z.literal("credit"), id: callId, chars: nat }),
  z.strictObject({ type: z.literal("ping"), nonce: nat }),
  // Answered like a call, by `result` with any body or by `error`; its id is of the same numbers.
  z.strictObject({ type: z.literal("health"), id: callId }),
  z.strictObject({ type: z.literal("stop") }),
]);
export type ToCell = z.infer<typeof toCellSchema>;

/** Cell → kernel. `result` and `token` carry a JSON body. */
export const fromCellSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("hello"), protocol: versionSchema, token: text }),
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({ type: z.literal("failed"), message: text }),
  z.strictObject({ type: z.literal("result"), id: callId }),
  z.strictObject({
    type: z.literal("error"),
    id: callId,
    code: z.enum(cellErrorCodes),
    message: text,
    errors: z.optional(faults),
  }),
  z.strictObject({ type: z.literal("token"), id: callId }),
  z.strictObject({
    type: z.literal("progress"),
    id: callId,
    fraction: z.number().check(z.minimum(0), z.maximum(1)),
    note: z.string().check(z.maxLength(1_024)),
  }),
  z.strictObject({
    type: z.literal("log"),
    level: z.enum(["debug", "info", "warn", "error"]),
    message: text,
    fields: z.optional(text),
    // The call that it was said in; of none that is under way, it is a line as any other.
    id: z.optional(callId),
  }),
  z.strictObject({ type: z.literal("pong"), nonce: nat }),
  z.strictObject({ type: z.literal("stopped") }),
]);
export type FromCell = z.infer<typeof fromCellSchema>;

/** What a cell must know of its plugin before it loads it. */
export const cellSetupSchema = z.strictObject({
  plugin: z.strictObject({ id: text, version: text }),
  entrypoint: z.string(),
  packageDir: z.string(),
  dataDir: z.string(),
  config: z.record(z.string(), z.json()),
  actions: z.record(
    z.string(),
    z.strictObject({
      input: z.optional(z.union([z.boolean(), z.record(z.string(), z.json())])),
      output: z.optional(z.union([z.boolean(), z.record(z.string(), z.json())])),
    }),
  ),
  outputBytesMax: nat,
  streamWindowChars: nat,
  tokenOverheadChars: nat,
});
export type CellSetup = z.infer<typeof cellSetupSchema>;

/** What the warden writes to a cell's stdin, behind the line with the token. */
export const cellBootSchema = z.strictObject({
  socket: z.string(),
  permissions: z.record(
    z.enum(["env", "ffi", "import", "net", "read", "run", "sys", "write"]),
    z.union([z.literal(false), z.array(z.string())]),
  ),
});
export type CellBoot = z.infer<typeof cellBootSchema>;

/** Cell → Worker. The cell's own word: the Worker takes it as it is. */
export type ToGuest =
  | { type: "setup"; setup: CellSetup }
  | {
    type: "call";
    id: number;
    action: string;
    request: string;
    stream: boolean;
    input: string;
    job?: CallJob | undefined;
  }
  | { type: "cancel"; id: number }
  | { type: "credit"; id: number; chars: number }
  | { type: "health"; id: number }
  | { type: "stop" };

const jsonText = z.string();

/** Worker → cell: the plugin's word, always in a list. JSON values are text, not yet parsed. */
export const fromGuestSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({ type: z.literal("failed"), message: z.string() }),
  z.strictObject({ type: z.literal("result"), id: callId, json: jsonText }),
  z.strictObject({
    type: z.literal("error"),
    id: callId,
    code: z.enum(["ACTION_FAILED", "ACTION_NOT_FOUND", "LIMIT_OUTPUT"]),
    message: z.string(),
  }),
  z.strictObject({ type: z.literal("token"), id: callId, json: jsonText }),
  z.strictObject({ type: z.literal("progress"), id: callId, fraction: z.number(), note: z.string() }),
  z.strictObject({
    type: z.literal("log"),
    level: z.enum(["debug", "info", "warn", "error"]),
    message: z.string(),
    fields: z.optional(jsonText),
    id: z.optional(callId),
  }),
  z.strictObject({ type: z.literal("stopped") }),
]);
export type FromGuest = z.infer<typeof fromGuestSchema>;

/** Everything that a cell receives, by name. */
export const cellMessagesSchema = z.strictObject({
  boot: cellBootSchema,
  toCell: toCellSchema,
  setup: cellSetupSchema,
  fromGuest: fromGuestSchema,
});
