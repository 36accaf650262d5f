import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { isJson } from "./is_json.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What it must agree with. */
function canParse(bytes: Uint8Array): boolean {
  try {
    JSON.parse(decoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

const check = (bytes: Uint8Array, shown = decodeLoosely(bytes)) =>
  equal(isJson(bytes), canParse(bytes), shown);
const decodeLoosely = (bytes: Uint8Array) => JSON.stringify(new TextDecoder().decode(bytes));
const checkText = (text: string) => check(new TextEncoder().encode(text));

// The parts that texts go wrong with, next to each other.
const parts = [
  ...[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    '"a"',
    "\\",
    "\\u",
    "\\u00",
    "\\u00e9",
    "\\n",
    "\\x",
    "\\/",
    "'",
    "//",
  ],
  ...[
    "0",
    "1",
    "9",
    "-",
    "+",
    ".",
    "e",
    "E",
    "e5",
    "1.5",
    "-0",
    "01",
    "1.",
    ".5",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
  ],
  ...[
    "true",
    "false",
    "null",
    "tru",
    "nul",
    "undefined",
    " ",
    "\n",
    "\t",
    "\r",
    "\v",
    "\f",
    "\0",
    "\x1f",
    "\x7f",
  ],
  ...["\u00a0", "\u2028", "\ufeff", "é", "\u{1f600}"],
];

Deno.test("isJson() agrees with JSON.parse on any row of parts", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 12 }), (row) => checkText(row.join(""))),
    { numRuns: 20_000 },
  );
});

Deno.test("isJson() agrees with JSON.parse on every row of three parts", () => {
  for (const first of parts) {
    for (const second of parts) for (const third of parts) checkText(first + second + third);
  }
});

Deno.test("isJson() agrees with JSON.parse on JSON, and on JSON with a byte changed, added or cut", () => {
  const place = fc.nat();
  const edits = fc.record({
    place,
    byte: fc.nat({ max: 255 }),
    kind: fc.constantFrom("none", "set", "add", "cut"),
  });
  const texts = fc.tuple(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"));
  fc.assert(
    fc.property(texts, edits, ([value, indent], { place, byte, kind }) => {
      const bytes = [...new TextEncoder().encode(JSON.stringify(value, undefined, indent))];
      if (kind === "none") ok(isJson(new Uint8Array(bytes)));
      else {bytes.splice(
          place % (bytes.length + 1),
          kind === "add" ? 0 : 1,
          ...(kind === "cut" ? [] : [byte]),
        );}
      check(new Uint8Array(bytes));
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("isJson() agrees with JSON.parse on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => check(bytes)), { numRuns: 5_000 });
});

Deno.test("isJson() keeps the kinds of any number of levels apart", () => {
  for (const levels of [1, 7, 8, 9, 127, 128, 129, 5_000]) {
    const opened = Array.from({ length: levels }, (_, level) => level % 3 === 0 ? '{"a":' : "[");
    const closed = opened.map((open) => open === "[" ? "]" : "}").reverse();
    checkText(`${opened.join("")}1${closed.join("")}`);
    equal(isJson(new TextEncoder().encode(`${opened.join("")}1${closed.join("")}`)), true);
    // The innermost and the outermost are closed by each other's bracket.
    for (const index of [0, levels - 1]) {
      const wrong = closed.with(index, closed[index] === "]" ? "}" : "]");
      equal(isJson(new TextEncoder().encode(`${opened.join("")}1${wrong.join("")}`)), false);
    }
    equal(isJson(new TextEncoder().encode(`${opened.join("")}1${closed.slice(1).join("")}`)), false);
  }
});

// Both take JSON.parse a second and more, and hundreds of megabytes.
Deno.test("isJson() reads 16 MB of brackets in little time", () => {
  for (const text of ["[".repeat(8_000_000) + "]".repeat(8_000_000), `[${"{},".repeat(5_300_000)}1]`]) {
    const bytes = new TextEncoder().encode(text);
    const startedMs = performance.now();
    equal(isJson(bytes), true);
    ok(performance.now() - startedMs < 2_000);
  }
});
