/**
 * Parsing of what a WebSocket client sends: a text becomes a message, or faults with their paths.
 *
 * Texts are JSON as `JSON.parse` has it: of two equal keys the last one stands. Nothing reads the text again, so that
 * nobody sees the other one. They have the bounds that bodies have, see `json_bounds.ts`.
 *
 * Pure.
 *
 * @module
 */
import { knownKeysAt } from "../../../schemas/explain_issue.ts";
import type { Fault } from "../../../schemas/problem.ts";
import { type ClientMessage, clientMessageSchema, requestIdSchema } from "../../../schemas/ws_protocol.ts";
import { extentFault, valueFault } from "../json_bounds.ts";
import { faultsOf } from "../json_faults.ts";

export type ParsedMessage =
  | { ok: true; message: ClientMessage }
  /** `id`: the message's, where it could be read. */
  | { ok: false; id: string | null; errors: Fault[] };

/** No more faults than this are told. */
export const messageFaultsMax = 20;

const encoder = new TextEncoder();

/** `bytesMax`: of the text in UTF-8. */
export function parseMessage(text: string, bytesMax: number): ParsedMessage {
  const tooLong = { path: "", message: `must have at most ${bytesMax} bytes` };
  if (text.length > bytesMax) return invalid(null, tooLong);
  const bytes = encoder.encode(text);
  const tooLarge = bytes.length > bytesMax ? tooLong : extentFault(bytes);
  if (tooLarge !== undefined) return invalid(null, tooLarge);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What the parser says quotes the text.
    return invalid(null, { path: "", message: "must be JSON" });
  }
  const wrong = valueFault(value) ?? typeFault(value);
  if (wrong !== undefined) return invalid(idOf(value), wrong);
  const schema = schemaOf(value) ?? clientMessageSchema;
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, message: result.data };
  const names = (path: readonly PropertyKey[]) => knownKeysAt(schema, path);
  const errors = faultsOf(result.error, { faultsMax: messageFaultsMax, names });
  return { ok: false, id: idOf(value), errors };
}

function invalid(id: string | null, fault: Fault): ParsedMessage {
  return { ok: false, id, errors: [fault] };
}

/** An unknown type is the one fault: what else is wrong depends on what was meant. */
function typeFault(value: unknown): Fault | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { path: "", message: "must be an object" };
  }
  if (schemaOf(value) !== undefined) return undefined;
  const types = clientMessageSchema.options.map(({ shape }) => JSON.stringify(shape.type.value));
  return { path: "/type", message: `must be one of ${types.join(", ")}` };
}

/** Of the message's own type: the keys of another one are no help. */
function schemaOf(value: unknown) {
  const type = memberOf(value, "type");
  return clientMessageSchema.options.find(({ shape }) => shape.type.value === type);
}

function idOf(value: unknown): string | null {
  return requestIdSchema.safeParse(memberOf(value, "id")).data ?? null;
}

function memberOf(value: unknown, key: string): unknown {
  return value !== null && typeof value === "object" && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;
}
