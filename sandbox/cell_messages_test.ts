import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { cellMessagesSchema } from "../schemas/cell_protocol.ts";
import schema from "../schemas/json/cell_messages.schema.json" with { type: "json" };
import { isMessage, parseMessage } from "./cell_messages.ts";

const names = ["boot", "toCell", "setup", "fromGuest"] as const;

const permissions = {
  ...{ env: false, ffi: false, import: false, net: ["example.com:443"] },
  ...{ read: ["/a"], run: false, sys: false, write: [] },
};
const setup = {
  plugin: { id: "hello", version: "1.0.0" },
  entrypoint: "mod.ts",
  packageDir: "/p",
  dataDir: "/d",
  config: { deep: [1, { a: null }] },
  actions: { greet: { input: { type: "object" }, output: true }, bare: {} },
  outputBytesMax: 1,
  streamWindowChars: 2,
  tokenOverheadChars: 3,
};

/** Values that fit; the property test breaks each in many ways. */
const fitting: Record<(typeof names)[number], Record<string, unknown>[]> = {
  boot: [{ socket: "/s", permissions }],
  setup: [setup],
  toCell: [
    { type: "setup" },
    { type: "refused", message: "m" },
    { type: "call", id: 1, action: "greet", request: "r", stream: false },
    { type: "call", id: 1, action: "greet", request: "r", stream: true, job: { id: "j", attempt: 1 } },
    { type: "cancel", id: 1 },
    { type: "credit", id: 1, chars: 0 },
    { type: "ping", nonce: 0 },
    { type: "health", id: 1 },
    { type: "stop" },
  ],
  fromGuest: [
    { type: "ready" },
    { type: "failed", message: "m" },
    { type: "result", id: 1, json: "{}" },
    { type: "error", id: 1, code: "ACTION_FAILED", message: "m" },
    { type: "token", id: 1, json: "1" },
    { type: "progress", id: 1, fraction: 0.5, note: "" },
    { type: "log", level: "info", message: "m" },
    { type: "log", level: "info", message: "m", fields: undefined },
    { type: "log", level: "info", message: "m", id: 1 },
    { type: "stopped" },
  ],
};

const keywords = new Set([
  ...["type", "const", "enum", "anyOf", "oneOf", "properties", "required", "propertyNames", "$ref"],
  ...["additionalProperties", "items", "maxLength", "minimum", "exclusiveMinimum", "maximum"],
]);

function* keywordsOf(shape: unknown): Generator<string> {
  if (typeof shape !== "object" || shape === null) return;
  for (const [keyword, value] of Object.entries(shape)) {
    yield keyword;
    if (keyword === "const" || keyword === "enum" || keyword === "required") continue;
    const isList = Array.isArray(value) || keyword === "properties";
    for (const inner of isList ? Object.values(value) : [value]) yield* keywordsOf(inner);
  }
}

Deno.test("cell_messages.schema.json has no keyword that fitsShape() does not know", () => {
  const used = new Set(Object.values(schema.properties).flatMap((shape) => [...keywordsOf(shape)]));
  deepEqual([...used].filter((keyword) => !keywords.has(keyword)), []);
});

for (const name of names) {
  Deno.test(`isMessage() takes each "${name}"`, () => {
    for (const value of fitting[name]) {
      equal(isMessage(name, value), true, JSON.stringify(value));
      equal(parseMessage(name, value), value);
    }
  });

  // The kernel parses with zod and the cell does not: they must take and refuse the same.
  Deno.test(`isMessage() says of any "${name}" what zod says`, () => {
    const zod = cellMessagesSchema.shape[name];
    const odd = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(undefined, NaN, Infinity, -1, 0, 1.5, 2 ** 53, "x".repeat(2_048), "x".repeat(2_049)),
    );
    fc.assert(fc.property(
      fc.constantFrom(...fitting[name]),
      fc.nat(),
      fc.oneof(fc.string(), fc.constantFrom("type", "id", "constructor")),
      odd,
      fc.boolean(),
      (value, pick, newKey, replacement, adds) => {
        const keys = Object.keys(value);
        const key = adds ? newKey : keys[pick % keys.length] ?? newKey;
        const { [key]: _, ...less } = value;
        for (const changed of [{ ...value, [key]: replacement }, less, replacement]) {
          equal(isMessage(name, changed), zod.safeParse(changed).success, JSON.stringify(changed));
        }
      },
    ));
  });
}

Deno.test("parseMessage() throws TypeError on what is outside the protocol", () => {
  throws(() => parseMessage("toCell", { type: "call" }), TypeError);
});
