import assert from "node:assert/strict";
import fc from "fast-check";
import { type LedgerRecord, ledgerRecordSchema } from "../../schemas/ledger_event.ts";
import { formatRecord, parseRecord, recordBytesMax, RecordError } from "./record.ts";

const record: LedgerRecord = {
  v: 1,
  seq: 41,
  time: "2026-11-20T10:00:00.000Z",
  type: "call.accepted",
  actor: "token:ci",
  plugin: "hello@1.2.0",
  data: { action: "greet", request: "r1" },
  prev: "ab".repeat(32),
};
const line = formatRecord(record);
const bytesOf = (text: string) => new TextEncoder().encode(text);

const text = fc.string({ unit: "binary", maxLength: 20 });
const anyRecord = fc.record({
  v: fc.constant(1 as const),
  seq: fc.nat(Number.MAX_SAFE_INTEGER),
  time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-12-31") }).map((date) =>
    date.toISOString()
  ),
  type: fc.constantFrom("call.accepted", "later.unknown"),
  actor: text,
  plugin: text,
  data: fc.dictionary(
    // Keys that look like array indexes have no order of their own in JavaScript, and `__proto__` is refused
    // (see below); no field is named so.
    fc.string({ unit: "grapheme", minLength: 1 }).filter((key) => !/^\d+$|^__proto__$/.test(key)),
    fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        text,
        fc.maxSafeInteger().map((n) => n + 0),
        fc.array(tie("value"), { maxLength: 4 }),
      ),
    })).value,
  ),
  prev: fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 64, maxLength: 64 }),
});

Deno.test("parseRecord() gives back what formatRecord() wrote, in the fixed order", () => {
  assert.equal(
    line,
    `{"v":1,"seq":41,"time":"2026-11-20T10:00:00.000Z","type":"call.accepted","actor":"token:ci",` +
      `"plugin":"hello@1.2.0","data":{"action":"greet","request":"r1"},"prev":"${record.prev}"}`,
  );
  fc.assert(fc.property(anyRecord, (any) => {
    const written = formatRecord(any as LedgerRecord);
    const parsed = parseRecord(bytesOf(written));
    assert.equal(parsed.line, written);
    assert.equal(JSON.stringify(parsed.record), JSON.stringify(any));
  }));
});

Deno.test("parseRecord() takes no bytes but those that formatRecord() writes", () => {
  fc.assert(
    fc.property(anyRecord, fc.nat(), fc.integer({ min: 1, max: 255 }), (any, position, mask) => {
      const bytes = bytesOf(formatRecord(any as LedgerRecord));
      bytes[position % bytes.length] ^= mask;
      let parsed: ReturnType<typeof parseRecord>;
      try {
        parsed = parseRecord(bytes);
      } catch (error) {
        assert.ok(error instanceof RecordError);
        return;
      }
      assert.deepEqual(bytesOf(formatRecord(parsed.record)), bytes);
    }),
    { numRuns: 500 },
  );
});

// Flat data is looked at by hand, the schema takes the rest: no line may pass here and not there, nor the other way.
Deno.test("parseRecord() takes a line exactly when the schema does and it is written in the one form", () => {
  const odd = fc.oneof(
    fc.constantFrom(
      true,
      null,
      1.5,
      -1,
      2 ** 53,
      "",
      "Call.accepted",
      "2026-02-30T10:00:00.000Z",
      "ab".repeat(31),
    ),
    fc.string({ maxLength: 300 }),
    fc.jsonValue({ maxDepth: 3 }),
  );
  const key = fc.constantFrom(
    "v",
    "seq",
    "time",
    "type",
    "actor",
    "plugin",
    "data",
    "prev",
    "other",
    "__proto__",
  );
  const data = fc.dictionary(fc.string({ maxLength: 12 }), odd, { maxKeys: 3 });
  const taken = { yes: 0, no: 0 };
  const check = (base: object, changes: readonly (readonly [string, unknown])[]) => {
    const fields = new Map<string, unknown>([...Object.entries(base), ...changes]);
    const members = Array.from(fields, ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
    const text = `{${members.join()}}`;
    const read = ledgerRecordSchema.safeParse(JSON.parse(text));
    const isRecord = read.success && text.isWellFormed() && formats(read.data, text);
    taken[isRecord ? "yes" : "no"] += 1;
    if (isRecord) assert.deepEqual(parseRecord(bytesOf(text)), { line: text, record: read.data });
    else assert.throws(() => parseRecord(bytesOf(text)), RecordError, text);
  };
  const change = fc.oneof(fc.tuple(key, odd), fc.tuple(fc.constant("data"), data));
  fc.assert(fc.property(anyRecord, fc.array(change, { maxLength: 2 }), check), { numRuns: 2_000 });
  assert.ok(taken.yes > 100 && taken.no > 100, JSON.stringify(taken));
});

function formats(record: LedgerRecord, line: string): boolean {
  try {
    return formatRecord(record) === line;
  } catch (error) {
    // A lone surrogate.
    if (error instanceof TypeError) return false;
    throw error;
  }
}

Deno.test("parseRecord() knows the calendar, the clock and the length of names as the schema does", () => {
  const changes: [from: string, to: string[]][] = [
    [
      "2026-11-20T10:00:00.000Z",
      ["02-28", "02-29", "02-30", "04-30", "04-31", "12-31", "12-32", "00-10", "13-10", "10-00"].flatMap((
        day,
      ) => ["2024", "2025", "1900", "2000", "0000", "9999"].map((year) => `${year}-${day}T10:00:00.000Z`))
        .concat(["2026-11-20T23:59:59.999Z", "2026-11-20T24:00:00.000Z", "2026-11-20T10:60:00.000Z"]),
    ],
    ["call.accepted", [31, 32, 60, 61, 62, 63].map((length) => `${"a".repeat(length)}.b`)],
    ["call.accepted", ["a.b", ".b", "a.", "a.b.c", "a1.b", "A.b"]],
    [
      `"seq":41`,
      ["0", "007", "-1", "1.0", "1e3", "9007199254740991", "9007199254740992"].map((n) => `"seq":${n}`),
    ],
  ];
  let taken = 0;
  for (const [from, to] of changes) {
    for (const value of to) {
      const text = line.replace(from, value);
      const parse = () => parseRecord(bytesOf(text));
      let read: ReturnType<typeof ledgerRecordSchema.safeParse> | undefined;
      try {
        read = ledgerRecordSchema.safeParse(JSON.parse(text));
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
      }
      if (read?.success && formats(read.data, text)) {
        assert.deepEqual(parse().record, read.data, value);
        taken += 1;
      } else assert.throws(parse, RecordError, value);
    }
  }
  assert.ok(taken >= 30, String(taken));
});

Deno.test("parseRecord() refuses every second way to write a record", () => {
  const refused: Record<string, Uint8Array> = {
    "a duplicate key": bytesOf(line.replace(`"v":1`, `"v":1,"v":1`)),
    "a duplicate key in data": bytesOf(line.replace(`"action"`, `"action":"x","action"`)),
    "another order of keys": bytesOf(line.replace(`"v":1,"seq":41`, `"seq":41,"v":1`)),
    "another key": bytesOf(line.replace(`"v":1`, `"v":1,"w":1`)),
    "a missing key": bytesOf(line.replace(`"v":1,`, "")),
    "white space": bytesOf(` ${line}`),
    "a carriage return": bytesOf(`${line}\r`),
    "a byte order mark": bytesOf(`\ufeff${line}`),
    "a spare escape": bytesOf(line.replace("greet", "gr\\u0065et")),
    "a lone surrogate": bytesOf(line.replace("greet", "\\ud800")),
    "a lone surrogate after a backslash": bytesOf(line.replace("greet", "\\\\\\udfff")),
    "a float": bytesOf(line.replace("41", "41.0")),
    "a float in data": bytesOf(line.replace(`"greet"`, "1.5")),
    "an unsafe integer": bytesOf(line.replace(`"greet"`, "9007199254740993")),
    "minus zero": bytesOf(line.replace(`"greet"`, "-0")),
    "a boolean": bytesOf(line.replace(`"greet"`, "true")),
    "null": bytesOf(line.replace(`"greet"`, "null")),
    "__proto__": bytesOf(line.replace(`"action"`, `"__proto__"`)),
    "broken UTF-8": new Uint8Array([...bytesOf(line).subarray(0, 90), 0xff, ...bytesOf(line).subarray(91)]),
    "depth": bytesOf(line.replace(`"greet"`, "[".repeat(30_000) + "]".repeat(30_000))),
    "length": bytesOf(line.replace("greet", "x".repeat(recordBytesMax))),
    "nothing": new Uint8Array(),
  };
  for (const [name, bytes] of Object.entries(refused)) {
    assert.throws(() => parseRecord(bytes), RecordError, name);
  }
});

Deno.test("parseRecord() takes text that only looks like a surrogate", () => {
  const written = formatRecord({ ...record, data: { action: "\\ud800 😀" } });
  assert.equal(parseRecord(bytesOf(written)).line, written);
});

Deno.test("formatRecord() refuses a lone surrogate in any string", () => {
  const bads: Partial<LedgerRecord>[] = [
    { actor: "\ud800" },
    { plugin: "x\udfff" },
    { data: { a: ["\ud83d"] } },
    { data: { "\ud83d": 1 } },
  ];
  for (const bad of bads) assert.throws(() => formatRecord({ ...record, ...bad }), /lone surrogate/);
});

Deno.test("formatRecord() writes up to the largest record, and none that is larger", () => {
  const fill = (count: number) => ({
    ...record,
    seq: Number.MAX_SAFE_INTEGER,
    data: { action: "é".repeat(count) },
  });
  const room = recordBytesMax - bytesOf(formatRecord(fill(0))).length;
  const largest = bytesOf(formatRecord(fill(Math.floor(room / 2))));
  assert.ok(largest.length > recordBytesMax - 2);
  assert.equal(parseRecord(largest).record.data.action, "é".repeat(Math.floor(room / 2)));
  assert.throws(() => formatRecord(fill(Math.floor(room / 2) + 1)), RangeError);
});
