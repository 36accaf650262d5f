/**
 * Parsing of what a WebSocket client sends: a text becomes a message, or faults with their paths.
 *
 * Texts are JSON as `JSON.parse` has it: of two equal keys the last one stands. Nothing reads the text again, so that
 * nobody sees the other one.
 *
 * Pure.
 *
 * @module
 */
import type { z } from "zod";
import { explainIssue, knownKeysAt } from "../../../schemas/explain_issue.ts";
import { nearestName } from "../../../schemas/nearest_name.ts";
import { jsonPointer } from "../../../schemas/parse_document.ts";
import type { Fault } from "../../../schemas/problem.ts";
import { type ClientMessage, clientMessageSchema, requestIdSchema } from "../../../schemas/ws_protocol.ts";

export type ParsedMessage =
  | { ok: true; message: ClientMessage }
  /** `id`: the message's, where it could be read. */
  | { ok: false; id: string | null; errors: Fault[] };

/** No more faults than this are told. */
export const messageFaultsMax = 20;
/** A longer key is not repeated: its fault is told of what it stands in. */
const keyCharsMax = 64;

export function parseMessage(text: string): ParsedMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What the parser says quotes the text.
    return { ok: false, id: null, errors: [{ path: "", message: "must be JSON" }] };
  }
  const result = clientMessageSchema.safeParse(value);
  if (result.success) return { ok: true, message: result.data };
  const schema = schemaOf(value);
  const errors = result.error.issues.values()
    .flatMap((issue) => faultsOf(issue, [], schema))
    .take(messageFaultsMax);
  return { ok: false, id: idOf(value), errors: [...errors] };
}

/** Of the message's own type: the keys of another one are no help. */
function schemaOf(value: unknown): z.core.$ZodType {
  const type = memberOf(value, "type");
  return clientMessageSchema.options.find(({ shape }) => shape.type.value === type) ?? clientMessageSchema;
}

function idOf(value: unknown): string | null {
  return requestIdSchema.safeParse(memberOf(value, "id")).data ?? null;
}

function memberOf(value: unknown, key: string): unknown {
  return value !== null && typeof value === "object" && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;
}

function* faultsOf(
  issue: z.core.$ZodIssue,
  above: readonly PropertyKey[],
  schema: z.core.$ZodType,
): Generator<Fault> {
  const path = [...above, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const known = knownKeysAt(schema, path);
    for (const key of issue.keys) yield unknownKey(path, key, known);
    return;
  }
  if (issue.code === "invalid_union") {
    // Of two branches the one that was most likely meant: the one with less that is wrong.
    const [branch] = [...issue.errors].sort((a, b) => a.length - b.length);
    if (branch !== undefined) {
      for (const inner of branch) yield* faultsOf(inner, path, schema);
      return;
    }
    if (path.length === 1 && path[0] === "type") {
      const types = clientMessageSchema.options.map(({ shape }) => JSON.stringify(shape.type.value));
      yield { path: "/type", message: `must be one of ${types.join(", ")}` };
      return;
    }
  }
  yield { path: jsonPointer(path), message: explainIssue(issue) };
}

function unknownKey(path: readonly PropertyKey[], key: string, known: string[]): Fault {
  if (key.length > keyCharsMax) return { path: jsonPointer(path), message: "must not have an unknown key" };
  const nearest = nearestName(key, known);
  const hint = nearest === undefined ? "" : `: did you mean ${JSON.stringify(nearest)}?`;
  return { path: jsonPointer([...path, key]), message: `must not be there${hint}` };
}
