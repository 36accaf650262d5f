/**
 * Messages of the WebSocket protocol to be fuzzed with, and what each of them must be answered by.
 *
 * @module
 */
import fc from "fast-check";
import { z } from "zod";
import { roles } from "../../schemas/api.ts";
import { type ClientMessage, clientMessageSchema, requestIdSchema } from "../../schemas/ws_protocol.ts";
import { arbitraryOf, type JsonSchema } from "./json_schema_arbitrary.ts";
import { type Document, documentOf, oddity, writeDocument } from "./mutations.ts";

export type MessageCase =
  | { readonly kind: "document"; readonly document: Document }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "binary"; readonly bytes: Uint8Array };

/** What happens on one connection. */
export interface ConnectionCase {
  readonly role: (typeof roles)[number];
  /** Whether it begins as it should. */
  readonly init: "feed" | "quiet" | "none";
  readonly messages: readonly MessageCase[];
  /** It is given up after the last message, with what is under way. */
  readonly isCut: boolean;
}

/** Few, so that they meet. */
const requestIds = fc.constantFrom("r1", "r2", "r3", "r4", "init");

export function connectionCases(): fc.Arbitrary<ConnectionCase> {
  return fc.record({
    role: fc.constantFrom(...roles, "admin"),
    init: fc.constantFrom("feed", "quiet", "quiet", "quiet", "none"),
    messages: fc.array(messageCases(), { minLength: 1, maxLength: 20, size: "max" }),
    isCut: fc.nat(9).map((n) => n === 0),
  });
}

function messageCases(): fc.Arbitrary<MessageCase> {
  const json = z.toJSONSchema(clientMessageSchema, { io: "input" }) as JsonSchema;
  const valid = fc.tuple(arbitraryOf(json, json), requestIds)
    .map(([message, id]) => ({ ...Object.assign({}, message), id }));
  return fc.oneof(
    {
      arbitrary: valid.map((value) => ({
        kind: "document" as const,
        document: { value, mutations: [], text: [] },
      })),
      weight: 10,
    },
    { arbitrary: documentOf(valid).map((document) => ({ kind: "document" as const, document })), weight: 12 },
    documentOf(oddity).map((document) => ({ kind: "document" as const, document })),
    fc.string({ maxLength: 60, unit: "binary" }).map((text) => ({ kind: "text" as const, text })),
    fc.constantFrom(
      "",
      "null",
      "[]",
      '"',
      "{",
      "[".repeat(20_000),
      `"${"a".repeat(66_000)}"`,
      " ".repeat(200_001),
    )
      .map((text) => ({ kind: "text" as const, text })),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => ({ kind: "binary" as const, bytes })),
  );
}

/** As it is sent. A document whose bytes are no text is sent as bytes. */
export function writeMessage(
  message: MessageCase,
  fill: (text: string) => string,
): string | Uint8Array<ArrayBuffer> {
  if (message.kind === "text") return message.text.toWellFormed();
  if (message.kind === "binary") return message.bytes.slice();
  const bytes = writeDocument(message.document);
  try {
    return fill(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    // Not UTF-8.
    return bytes.slice();
  }
}

export type Reading =
  | { readonly kind: "fits"; readonly message: ClientMessage }
  /** `value`: undefined if it is not JSON. */
  | { readonly kind: "malformed"; readonly id: string | null; readonly value: unknown };

/** What the protocol makes of it. */
export function readMessage(sent: string | Uint8Array, bytesMax: number): Reading {
  const nothing: Reading = { kind: "malformed", id: null, value: undefined };
  if (typeof sent !== "string" || new TextEncoder().encode(sent).length > bytesMax) return nothing;
  let value: unknown;
  try {
    value = JSON.parse(sent);
  } catch {
    // It is not JSON.
    return nothing;
  }
  if (depthOf(value) > nestingMax) return nothing;
  const parsed = isFinite(value) ? clientMessageSchema.safeParse(value) : undefined;
  if (parsed?.success) return { kind: "fits", message: parsed.data };
  const id = typeof value === "object" && value !== null && Object.hasOwn(value, "id")
    ? requestIdSchema.safeParse(Reflect.get(value, "id")).data ?? null
    : null;
  return { kind: "malformed", id, value };
}

/** Levels of arrays and objects in each other that are read, of a body as of a message. */
const nestingMax = 256;

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Object.values(value).reduce<number>((deepest, child) => Math.max(deepest, depthOf(child)), 0);
}

/** Whether it has no number that became infinite when it was read. */
function isFinite(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  return typeof value !== "object" || value === null || Object.values(value).every(isFinite);
}

/** Whether a fault's JSON Pointer leads to a place in `value`, or to a member that is missing there. */
export function leadsInto(pointer: string, value: unknown): boolean {
  if (pointer === "") return true;
  const names = pointer.slice(1).split("/").map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  let current = value;
  for (const name of names.slice(0, -1)) {
    if (typeof current !== "object" || current === null) return false;
    // A long key is told shortened.
    const key = Object.keys(current).find((one) =>
      one === name || (name.endsWith("…") && one.startsWith(name.slice(0, -1)))
    );
    if (key === undefined) return false;
    current = Reflect.get(current, key);
  }
  return typeof current === "object" && current !== null;
}
