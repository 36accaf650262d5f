/**
 * The cell protocol: everything that crosses between the kernel and a cell, and between a cell and its
 * Worker.
 *
 * On the socket an envelope is the head of a frame (see `sandbox/frame.ts`); JSON values travel behind it
 * as bytes. Both ends parse what they receive with these schemas. `zod/mini`, because this file is
 * bundled into the cell, where start-up time counts. Pure.
 *
 * @module
 */
import * as z from "zod/mini";

/** Cells of another major version are refused. */
export const cellProtocolVersion = { major: 1, minor: 0 } as const;

/** What a cell may say of itself in one message, in characters. */
export const messageCharsMax = 2_048;

/**
 * What a token takes of its stream's window beside its text: about what the kernel holds for it. Without it a
 * window would be room for as many tokens as they have characters, and a stream of empty ones free.
 */
export const tokenOverheadChars = 512;

const callId = z.int().check(z.positive());
const text = z.string().check(z.maxLength(messageCharsMax));
const nat = z.int().check(z.nonnegative());
/** Already JSON: it comes out of JSON.parse. */
const json = z.custom<z.core.util.JSONType>();

/** Fits no message: its `type` is not one of the protocol. */
const unknownType = z.never();

const logLevels = ["debug", "info", "warn", "error"] as const;

/** Codes by which a cell may fail a call; the kernel knows the others by itself. */
export const cellErrorCodes = [
  "ACTION_FAILED",
  "ACTION_NOT_FOUND",
  "INPUT_INVALID",
  "OUTPUT_INVALID",
  "LIMIT_OUTPUT",
] as const;

/** Kernel → cell. `setup` and `call` carry a JSON body: a {@linkcode cellSetupSchema}, and the input. */
export const toCellSchema = messages({
  setup: () => ({}),
  refused: () => ({ message: text }),
  call: () => ({ id: callId, action: text, request: text, stream: z.boolean() }),
  cancel: () => ({ id: callId }),
  credit: () => ({ id: callId, chars: nat }),
  ping: () => ({ nonce: nat }),
  stop: () => ({}),
});
export type ToCell = ReturnType<typeof toCellSchema.parse>;

/** Cell → kernel. `result` and `token` carry a JSON body. */
export const fromCellSchema = messages({
  hello: () => ({ protocol: z.strictObject({ major: nat, minor: nat }), token: text }),
  ready: () => ({}),
  failed: () => ({ message: text }),
  result: () => ({ id: callId }),
  error: () => ({
    id: callId,
    code: z.enum(cellErrorCodes),
    message: text,
    errors: z.optional(z.array(z.strictObject({ path: text, message: text })).check(z.maxLength(32))),
  }),
  token: () => ({ id: callId }),
  progress: () => ({
    id: callId,
    fraction: z.number().check(z.minimum(0), z.maximum(1)),
    note: z.string().check(z.maxLength(1_024)),
  }),
  log: () => ({ level: z.enum(logLevels), message: text, fields: z.optional(text) }),
  pong: () => ({ nonce: nat }),
  stopped: () => ({}),
});
export type FromCell = ReturnType<typeof fromCellSchema.parse>;

/** What a cell must know of its plugin before it loads it. */
export const cellSetupSchema = z.strictObject({
  plugin: z.strictObject({ id: text, version: text }),
  entrypoint: z.string(),
  packageDir: z.string(),
  dataDir: z.string(),
  config: z.record(z.string(), json),
  actions: z.record(
    z.string(),
    z.strictObject({
      input: z.optional(z.union([z.boolean(), z.record(z.string(), json)])),
      output: z.optional(z.union([z.boolean(), z.record(z.string(), json)])),
    }),
  ),
  outputBytesMax: nat,
  streamWindowChars: nat,
  tokenOverheadChars: nat,
});
export type CellSetup = z.infer<typeof cellSetupSchema>;

/** What the warden writes to a cell's stdin, behind the line with the token. */
export interface CellBoot {
  readonly socket: string;
  /** Every key of a Worker's permissions; `false` grants nothing. */
  readonly permissions: Record<
    "env" | "ffi" | "import" | "net" | "read" | "run" | "sys" | "write",
    false | string[]
  >;
}

/** Cell → Worker. The cell's own word: the Worker takes it as it is. */
export type ToGuest =
  | { type: "setup"; setup: CellSetup }
  | { type: "call"; id: number; action: string; request: string; stream: boolean; input: string }
  | { type: "cancel"; id: number }
  | { type: "credit"; id: number; chars: number }
  | { type: "stop" };

/** Worker → cell: the plugin's word, always in a list. JSON values are text, not yet parsed. */
export const fromGuestSchema = messages({
  ready: () => ({}),
  failed: () => ({ message: z.string() }),
  result: () => ({ id: callId, json: z.string() }),
  error: () => ({
    id: callId,
    code: z.enum(["ACTION_FAILED", "ACTION_NOT_FOUND", "LIMIT_OUTPUT"]),
    message: z.string(),
  }),
  token: () => ({ id: callId, json: z.string() }),
  progress: () => ({ id: callId, fraction: z.number(), note: z.string() }),
  log: () => ({ level: z.enum(logLevels), message: z.string(), fields: z.optional(z.string()) }),
  stopped: () => ({}),
});
export type FromGuest = ReturnType<typeof fromGuestSchema.parse>;

type Shape = Record<string, z.ZodMiniType>;
type MessageOf<S extends Record<string, () => Shape>> = {
  [Type in keyof S]: z.infer<
    z.ZodMiniObject<{ type: z.ZodMiniLiteral<Type & string> } & ReturnType<S[Type]>, z.core.$strict>
  >;
}[keyof S];

/**
 * Strict messages told apart by `type`.
 *
 * The schema of a type is made when the first such message comes. Making all of them took 8 to 10 ms of a
 * cell's start, a quarter of it; most cells see three of them.
 */
function messages<S extends Record<string, () => Shape>>(shapes: S) {
  const schemas = new Map<string, z.ZodMiniType<MessageOf<S>>>();
  function schemaOf(value: unknown): z.ZodMiniType<MessageOf<S>> {
    const type = typeof value === "object" && value !== null && "type" in value ? value.type : undefined;
    const name = typeof type === "string" && Object.hasOwn(shapes, type) ? type : undefined;
    if (name === undefined) return unknownType;
    let schema = schemas.get(name);
    if (schema === undefined) {
      const shape: Shape = { type: z.literal(name), ...shapes[name]?.() };
      schema = z.strictObject(shape) as unknown as z.ZodMiniType<MessageOf<S>>;
      schemas.set(name, schema);
    }
    return schema;
  }
  return {
    /** Throws z.core.$ZodError. */
    parse: (value: unknown): MessageOf<S> => z.parse(schemaOf(value), value),
    safeParse: (value: unknown) => z.safeParse(schemaOf(value), value),
  };
}
