/**
 * Mutations: what makes a fitting document one that does not fit, of its value and of its text.
 *
 * A value that JSON has and JavaScript has not, as `1e999`, stands as a string {@linkcode raw} until it is written.
 *
 * Pure.
 *
 * @module
 */
import fc from "fast-check";

export interface ValueMutation {
  /** Which of the value's places, counted through from its root. */
  readonly at: number;
  readonly op: "replace" | "remove" | "add" | "nest";
  readonly value: unknown;
  readonly key: string;
  readonly levels: number;
}

export interface TextMutation {
  readonly at: number;
  readonly op: "cut" | "insert" | "repeat";
  readonly bytes: Uint8Array;
}

/** A document before it is written. */
export interface Document {
  readonly value: unknown;
  readonly mutations: readonly ValueMutation[];
  readonly text: readonly TextMutation[];
}

const raw = (text: string) => `\u0001raw:${text}\u0001`;

const keys = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "",
  "id",
  "jobs",
  "input",
  "\ud800",
  "/~",
];

const oddities: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    1.5,
    2 ** 31,
    2 ** 53,
    "",
    " ",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "\u2028",
    "é💥",
  ],
  ...[
    "1e999",
    "-1e999",
    "-0",
    "9007199254740993",
    "1e-999",
    "1E400",
    "0.1e1",
    "123456789012345678901234567890",
  ]
    .map(raw),
  ...["__proto__", "constructor", "../../etc/passwd", "null", "NaN", "+275760-09-13T00:00:00.001Z"],
  ...[
    "0000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "61 * * * *",
    "Nowhere/City",
    "@jobs:0@",
    "moody",
    "steady",
  ],
  ...["a".repeat(300), "\\".repeat(5_000), "💥".repeat(10_000), [], {}, [[]], [null], { $from: "a" }],
  ...[{ $input: "/~2" }, { $item: "" }, { $index: true }, { $literal: 1 }, { $ref: "#" }],
  JSON.parse('{"__proto__":{"role":"admin"},"constructor":{"prototype":{"x":1}}}'),
  Array.from({ length: 2_000 }, (_, index) => index),
  Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`k${index}`, index])),
];

export const oddity: fc.Arbitrary<unknown> = fc.constantFrom(...oddities);

const valueMutation: fc.Arbitrary<ValueMutation> = fc.record({
  at: fc.nat(40),
  op: fc.constantFrom("replace", "remove", "add", "nest"),
  value: oddity,
  key: fc.oneof(fc.constantFrom(...keys), fc.string({ maxLength: 100 })),
  levels: fc.constantFrom(2, 40, 257, 1_000),
});

const textMutation: fc.Arbitrary<TextMutation> = fc.record({
  at: fc.nat(200),
  op: fc.constantFrom("cut", "insert", "repeat"),
  bytes: fc.oneof(
    fc.constantFrom(",", "}", "[", '"', "\ufeff", "//", "\\u", "\0", '{"a":1,', " ", "\n", "1", "nul")
      .map((text) => new TextEncoder().encode(text)),
    fc.constantFrom([0xed, 0xa0, 0x80], [0xff], [0xc0, 0x80]).map((bytes) => Uint8Array.from(bytes)),
    fc.uint8Array({ maxLength: 8 }),
  ),
});

/** More than half of them as `values` has them. */
export function documentOf(values: fc.Arbitrary<unknown>): fc.Arbitrary<Document> {
  const some = <T>(one: fc.Arbitrary<T>, weight: number) =>
    fc.oneof({ arbitrary: fc.constant<T[]>([]), weight }, fc.array(one, { minLength: 1, maxLength: 3 }));
  return fc.record({ value: values, mutations: some(valueMutation, 2), text: some(textMutation, 6) });
}

/** As it is sent, but for the marks of pools. */
export function writeDocument({ value, mutations, text }: Document): Uint8Array {
  const mutated = mutations.reduce(mutate, structuredClone(value));
  const written = (JSON.stringify(mutated) ?? "").replaceAll(/"\\u0001raw:([^"\\]*)\\u0001"/g, "$1");
  return text.reduce(mutateText, new TextEncoder().encode(written));
}

function mutateText(bytes: Uint8Array, { at, op, bytes: inserted }: TextMutation): Uint8Array {
  const place = bytes.length === 0 ? 0 : at % (bytes.length + 1);
  if (op === "cut") return bytes.slice(0, place);
  const between = op === "insert" ? inserted : bytes.slice(place, place + 40);
  return Uint8Array.from([...bytes.subarray(0, place), ...between, ...bytes.subarray(place)]);
}

interface Place {
  readonly holder: object;
  readonly key: string;
}

function mutate(value: unknown, { at, op, value: other, key, levels }: ValueMutation): unknown {
  const root = { root: value };
  const places: Place[] = [];
  collect(root, places);
  const place = places[at % places.length];
  if (place === undefined) return value;
  // It stands for many mutations, and is itself mutated by the next one.
  const fresh = structuredClone(other);
  const current: unknown = Reflect.get(place.holder, place.key);
  if (op === "remove") Reflect.deleteProperty(place.holder, place.key);
  else if (op === "replace") set(place.holder, place.key, fresh);
  else if (op === "nest") set(place.holder, place.key, nest(current, levels));
  else if (typeof current === "object" && current !== null) set(current, key, fresh);
  else set(place.holder, Array.isArray(place.holder) ? place.key : key, fresh);
  return root.root;
}

/** Every place of a value, but not below what is very wide. */
function collect(holder: object, places: Place[]): void {
  for (const key of Object.keys(holder).slice(0, 50)) {
    places.push({ holder, key });
    const child: unknown = Reflect.get(holder, key);
    if (typeof child === "object" && child !== null && places.length < 200) collect(child, places);
  }
}

/** An own member, whatever its name; the length of a list is no member of its JSON. */
function set(holder: object, key: string, value: unknown): void {
  if (Array.isArray(holder) && key === "length") return;
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true });
}

function nest(value: unknown, levels: number): unknown {
  let nested = value;
  for (let level = 0; level < levels; level += 1) nested = level % 2 === 0 ? [nested] : { a: nested };
  return nested;
}
