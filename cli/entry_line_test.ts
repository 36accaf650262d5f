import { equal, ok } from "node:assert/strict";
import { formatEntryLine } from "./entry_line.ts";

const record = {
  v: 1,
  seq: 41,
  time: "2026-11-20T10:00:00.000Z",
  type: "call.completed",
  actor: "token:ci",
  plugin: "hello@1.2.0",
  data: { action: "greet", accepted: 40, outputCommitment: "ab".repeat(32), list: ["x"] },
  prev: "0".repeat(64),
};
const line = (more: Record<string, unknown> = {}) => ({
  index: 41,
  line: JSON.stringify({ ...record, ...more }),
});

Deno.test("formatEntryLine() shows who did what when, with hashes shortened", () => {
  equal(
    formatEntryLine(line()),
    "    41  2026-11-20T10:00:00.000Z  call.completed       token:ci  hello@1.2.0  " +
      'action=greet accepted=40 outputCommitment=abababababab… list=["x"]',
  );
});

Deno.test("formatEntryLine() keeps words apart that would be taken for others", () => {
  const text = formatEntryLine(line({ actor: "a  kernel", plugin: "", data: { a: "b c=d" } }));
  ok(text.endsWith('call.completed       "a  kernel"  -  a="b c=d"'), text);
});

Deno.test("formatEntryLine() shows a line that is no record as such, and shortens what is long", () => {
  equal(formatEntryLine({ index: 3, line: "{}" }), "3  NOT A RECORD: someone changed the log  {}");
  const text = formatEntryLine(line({ data: { calls: Array.from({ length: 2_000 }, (_, at) => at) } }));
  ok(text.endsWith("… (--json shows all)") && text.length < 800, text);
});
