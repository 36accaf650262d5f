import assert from "node:assert/strict";
import { createLogger, lineCharsMax, type LogLevel } from "./log.ts";

function createCaptured(level: LogLevel = "debug") {
  const lines: string[] = [];
  const log = createLogger({ level, write: (line) => lines.push(line), nowMs: () => 0 });
  return { log, lines, records: () => lines.map((line) => JSON.parse(line)) };
}

Deno.test("createLogger() writes one JSON object a line", () => {
  const { log, records, lines } = createCaptured();
  log.child("router").warning("slow call", { plugin: "hello", durationMs: 12 });
  assert.ok(lines[0]?.endsWith("}\n"));
  assert.deepEqual(records(), [{
    "@timestamp": "1970-01-01T00:00:00.000Z",
    level: "WARN",
    message: "slow call",
    logger: "airlock.router",
    properties: { plugin: "hello", durationMs: 12 },
  }]);
});

Deno.test("createLogger() leaves out what is quieter than its level", () => {
  const { log, records } = createCaptured("warning");
  log.debug("a");
  log.info("b");
  log.warning("c");
  log.error("d");
  assert.deepEqual(records().map(({ message }) => message), ["c", "d"]);
});

Deno.test("createLogger() escapes what would end the line or drive a terminal", () => {
  const { log, lines, records } = createCaptured();
  const text = "a\n\x1b[2J\x07\x7f\u009b\r";
  log.info(text, { text });
  // deno-lint-ignore no-control-regex -- control characters are what it looks for
  assert.doesNotMatch(lines[0]?.slice(0, -1) ?? "", /[\x00-\x1f\x7f-\x9f]/);
  assert.deepEqual(records()[0].properties, { text });
});

Deno.test("createLogger() cuts text and whole records that are too long", () => {
  const { log, lines, records } = createCaptured();
  log.info("m".repeat(10_000), { text: "😀".repeat(10_000), nested: { small: true } });
  log.info("kept", { nested: { text: "x".repeat(1_000_000) } });
  for (const line of lines) assert.ok(line.length <= lineCharsMax);
  assert.match(records()[0].message, /^m{4096}… \(10000 characters\)$/);
  assert.equal(records()[0].properties.nested.small, true);
  assert.equal(records()[1].message, "kept");
  assert.match(records()[1].properties.omitted, /characters$/);
});

Deno.test("createLogger() logs errors, cycles and properties that cannot be read", () => {
  const { log, records } = createCaptured();
  const cycle: Record<string, unknown> = { name: "cycle" };
  cycle.self = cycle;
  log.error("failed", { error: new TypeError("bad", { cause: new Error("worse") }), cycle });
  log.error("odd", {
    odd: {
      toJSON() {
        throw new Error("no");
      },
    },
  });
  const [failed, odd] = records();
  assert.equal(failed.properties.error.message, "bad");
  assert.equal(odd.message, "odd");
});
