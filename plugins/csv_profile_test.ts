/**
 * Tests of the plugin `csv-profile`, called directly, without a cell.
 *
 * @module
 */
import assert from "node:assert/strict";
import { actions, type Profile, type ProfileInput } from "./csv-profile/mod.ts";
import { CsvRows, rowLengthMax } from "./csv-profile/rows.ts";
import { instantMs } from "./csv-profile/value.ts";
import { createTestContext } from "./test_context.ts";

function profile(input: ProfileInput): Promise<Profile> {
  return actions.profile(input, createTestContext());
}

function column(report: Profile, name: string) {
  const found = report.columns.find((candidate) => candidate.name === name);
  assert.ok(found, `there is no column ${name}`);
  return found;
}

function rowsOf(text: string, chunkLength = text.length): string[][] {
  const rows: string[][] = [];
  const reader = new CsvRows(",", (fields) => rows.push([...fields]));
  for (let at = 0; at < text.length; at += chunkLength) reader.push(text.slice(at, at + chunkLength));
  reader.end();
  return rows;
}

const awkward = 'a,b\r\n"x, y","line 1\r\nline ""2"""\n\n,\r"",\r\nlast,"é😀"\n1,';
const awkwardRows = [["a", "b"], ["x, y", 'line 1\r\nline "2"'], ["", ""], ["", ""], ["last", "é😀"], [
  "1",
  "",
]];

Deno.test("CsvRows reads quotes, embedded line ends, and all three line ends", () => {
  assert.deepEqual(rowsOf(awkward), awkwardRows);
});

Deno.test("CsvRows gives the same rows wherever the text is cut", () => {
  for (let length = 1; length < awkward.length; length++) {
    assert.deepEqual(rowsOf(awkward, length), awkwardRows, `chunks of ${length}`);
  }
});

Deno.test("CsvRows keeps the text of a stray or unclosed quote, and counts it", () => {
  const rows: string[][] = [];
  const reader = new CsvRows(",", (fields) => rows.push([...fields]));
  reader.push('a"b,"c"d,e\n"open,\nstill');
  reader.end();
  assert.deepEqual(rows, [['a"b', "cd", "e"], ["open,\nstill"]]);
  assert.equal(reader.malformedFields, 2);
});

Deno.test("CsvRows refuses a row without end", () => {
  const reader = new CsvRows(",", () => {});
  assert.throws(() => {
    reader.push('a\n"');
    for (let length = 0; length <= rowLengthMax; length += 65_536) reader.push("x".repeat(65_536));
  }, /^Error: Cannot profile "row 2": it is longer than 1048576 characters; a quote may not be closed$/);
});

Deno.test("instantMs() agrees with Date on real days and refuses others", () => {
  for (
    const text of [
      "1970-01-01",
      "2000-02-29",
      "1900-03-01",
      "0001-01-01",
      "9999-12-31",
      "2026-11-20T10:00:00.25Z",
    ]
  ) {
    assert.equal(instantMs(text), Date.parse(text), text);
  }
  assert.equal(instantMs("2024-05-01 12:30"), Date.parse("2024-05-01T12:30:00Z"));
  assert.equal(instantMs("2024-05-01T12:30:01+02:00"), Date.parse("2024-05-01T12:30:01+02:00"));
  assert.equal(instantMs("2024-05-01T12:30-0130"), Date.parse("2024-05-01T12:30:00-01:30"));
  for (
    const text of [
      "2023-02-29",
      "1900-02-29",
      "2024-13-01",
      "2024-00-01",
      "2024-01-00",
      "2024-1-01",
      "2024-01-01T",
    ]
      .concat("2024-01-01T24:00", "2024-01-01T10:60", "2024-01-01T10:00x", "2024-01-01T10:00:00+25:00", "")
  ) {
    assert.equal(instantMs(text), NaN, text);
  }
});

Deno.test("profile() infers the narrowest type of each column", async () => {
  const report = await profile({
    text: [
      "integer,number,boolean,date,datetime,string,empty,code,big",
      "1,1,true,2024-02-29,2024-01-01,x,,007,12345678901234567890",
      "-2,2.5e3,FALSE,2023-12-31,2024-01-01T10:00:00+01:00,2, ,012,1",
    ].join("\n"),
  });
  const types = Object.fromEntries(report.columns.map(({ name, type }) => [name, type]));
  assert.deepEqual(types, {
    integer: "integer",
    number: "number",
    boolean: "boolean",
    date: "date",
    datetime: "datetime",
    string: "string",
    empty: "empty",
    code: "string",
    big: "number",
  });
  assert.deepEqual(column(report, "string").kinds, { integer: 1, string: 1 });
  assert.deepEqual([column(report, "date").min, column(report, "date").max], ["2023-12-31", "2024-02-29"]);
});

Deno.test("profile() gives statistics that do not cancel out", async () => {
  const report = await profile({ text: "n\n1000000000004\n1000000000007\n1000000000013\n1000000000016\n\n" });
  const { type, count, missing, distinct, distinctExact, min, max, mean, standardDeviation, median } = column(
    report,
    "n",
  );
  assert.deepEqual({ type, count, missing, distinct, distinctExact }, {
    type: "integer",
    count: 4,
    missing: 0,
    distinct: 4,
    distinctExact: true,
  });
  assert.deepEqual([min, max, mean, median], [1000000000004, 1000000000016, 1000000000010, 1000000000010]);
  assert.ok(Math.abs((standardDeviation ?? 0) - Math.sqrt(30)) < 1e-9);
  assert.equal(report.blankLines, 1);
});

Deno.test("profile() says null where a double overflows or one value has no deviation", async () => {
  const report = await profile({ text: "a,b\n1e308,7\n-1e308,\n" });
  assert.equal(column(report, "a").standardDeviation, null);
  assert.equal(column(report, "b").standardDeviation, null);
  assert.equal(column(report, "b").median, 7);
});

Deno.test("profile() counts lengths and top values of strings", async () => {
  const report = await profile({ text: "s\nbb\na\nbb\nc\nd\ne\nf\n" });
  const { minLength, maxLength, distinct, top } = column(report, "s");
  assert.deepEqual({ minLength, maxLength, distinct }, { minLength: 1, maxLength: 2, distinct: 6 });
  assert.deepEqual(top?.map(({ value }) => value), ["bb", "a", "c", "d", "e"]);
  assert.equal(top?.[0]?.count, 2);
});

Deno.test("profile() says when distinct is a lower bound", async () => {
  const lines = Array.from({ length: 10_001 }, (_, index) => `${index},v${index}`);
  const report = await profile({ text: `n,s\n${lines.join("\n")}\n` });
  for (const name of ["n", "s"]) {
    const { distinct, distinctExact } = column(report, name);
    assert.deepEqual({ distinct, distinctExact }, { distinct: 10_000, distinctExact: false }, name);
  }
  assert.equal(column(report, "n").median, 5_000);
});

Deno.test("profile() reports ragged rows and reads what they have", async () => {
  const report = await profile({ text: "a,b\n1\n1,2\n1,2,3\n", header: true });
  assert.deepEqual(report.ragged, {
    short: 1,
    long: 1,
    first: [{ row: 1, fields: 1 }, { row: 3, fields: 3 }],
  });
  assert.equal(column(report, "b").missing, 1);
  assert.equal(report.rows, 3);
});

Deno.test("profile() detects each delimiter, also where another stands in quotes", async () => {
  for (const delimiter of [",", ";", "\t", "|"] as const) {
    const text = [["name", "note"], ["x", '"1,2;3\t4|5"'], ["y", "1.5"]]
      .map((fields) => fields.join(delimiter)).join("\n");
    const report = await profile({ text });
    assert.equal(report.delimiter, delimiter);
    assert.equal(report.columns.length, 2);
  }
});

Deno.test("profile() tells a header from data, unless it is told", async () => {
  assert.equal((await profile({ text: "a,b\n1,2\n" })).header, true);
  assert.equal((await profile({ text: "1,2\n3,4\n" })).header, false);
  assert.equal((await profile({ text: "x,x\ny,z\n" })).header, false);
  const told = await profile({ text: "a,b\n1,2\n", header: false });
  assert.deepEqual([told.rows, told.columns[0]?.name, told.columns[0]?.type], [2, "column 1", "string"]);
});

Deno.test("profile() takes empty text, one header, and a byte order mark", async () => {
  assert.deepEqual((await profile({ text: "" })).columns, []);
  assert.equal((await profile({ text: "a,b" })).rows, 0);
  assert.equal((await profile({ text: "\uFEFFa,b\n1,2" })).columns[0]?.name, "a");
});

Deno.test("profile() reads a file as it reads text", async () => {
  const path = await Deno.makeTempFile({ suffix: ".csv" });
  try {
    // Longer than a chunk, with characters of two and four bytes across the cuts.
    const text = `\uFEFFname,n\n${
      Array.from({ length: 20_000 }, (_, n) => `"é😀 ${n % 7}",${n}`).join("\r\n")
    }`;
    await Deno.writeTextFile(path, text);
    const ctx = createTestContext();
    assert.deepEqual(await actions.profile({ path }, ctx), await profile({ text }));
    assert.equal(ctx.progressed.at(-1)?.fraction, 1);
    assert.ok(ctx.progressed.length > 1);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("profile() refuses what is not a file", async () => {
  await assert.rejects(profile({ path: "/nonexistent/x.csv" }), {
    message: 'Cannot profile "/nonexistent/x.csv": there is no such file',
  });
  await assert.rejects(profile({ path: "/" }), { message: 'Cannot profile "/": it is not a file' });
});

Deno.test({
  name: "profile() of a file that is not granted says what to grant",
  permissions: { read: false },
  async fn() {
    await assert.rejects(
      profile({ path: "/etc/hostname" }),
      /Cannot profile "\/etc\/hostname": NotCapable, .* "read" in the grants of "csv-profile"/,
    );
  },
});

Deno.test("profile() refuses a row of too many fields", async () => {
  await assert.rejects(profile({ text: ",".repeat(1_000) }), {
    message: 'Cannot profile "row 1": it has 1001 fields, more than 1000',
  });
});

Deno.test("profile() stops soon after its caller has gone", async () => {
  const controller = new AbortController();
  const ctx = createTestContext({ signal: controller.signal });
  const running = actions.profile({ text: "a,b\n1,2\n".repeat(250_000) }, ctx);
  controller.abort(new Error("gone"));
  await assert.rejects(running, { message: "gone" });
  assert.ok(ctx.progressed.length <= 1);
});
