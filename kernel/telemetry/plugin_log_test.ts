import assert from "node:assert/strict";
import fc from "fast-check";
import { createPluginLog, lineBytesMax, type PluginLog } from "./plugin_log.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const texts = (log: PluginLog) => log.lines().map(({ text }) => text);

function createLog(options: { linesMax?: number; bytesPerSecond?: number } = {}) {
  const clock = { nowMs: 1_000 };
  const log = createPluginLog({
    linesMax: 100,
    bytesPerSecond: 1_000_000,
    nowMs: () => clock.nowMs,
    ...options,
  });
  return { log, clock };
}

Deno.test("PluginLog makes a line of each newline, wherever the chunks were cut", () => {
  const { log, clock } = createLog();
  log.write("stdout", encode("one\r\ntw"));
  clock.nowMs = 2_000;
  log.write("stderr", encode("warn\n"));
  log.write("stdout", encode("o\n\nthree"));
  log.entry({ level: "error", text: "boom\nat x" });
  log.end();
  log.end();
  assert.deepEqual(log.lines().map(({ seq, source, level, text }) => [seq, source, level, text]), [
    [0, "stdout", "info", "one"],
    [1, "stderr", "warning", "warn"],
    [2, "stdout", "info", "two"],
    [3, "stdout", "info", ""],
    [4, "log", "error", "boom"],
    [5, "log", "error", "at x"],
    [6, "stdout", "info", "three"],
  ]);
  assert.deepEqual(log.lines({ after: 1, limit: 2 }).map(({ seq }) => seq), [2, 3]);
  assert.equal(log.lines()[0]?.atMs, 1_000);
  assert.equal(log.lines()[1]?.atMs, 2_000);
});

Deno.test("PluginLog cannot drive a terminal", () => {
  const { log } = createLog();
  log.write("stdout", encode("\x1b[1;31mred\x1b[0m \x1b]0;title\x07\b\x7f\u009b2J \u202eabc\ttab\n"));
  log.write("stdout", new Uint8Array([0x61, 0xff, 0xc3, 0x0a]));
  assert.deepEqual(texts(log), ["red ␛]0;title␇␈␡\ufffd2J \ufffdabc\ttab", "a\ufffd\ufffd"]);
});

Deno.test("PluginLog stands a count where it dropped bytes, and takes more as time passes", () => {
  const { log, clock } = createLog({ bytesPerSecond: 10 });
  log.write("stdout", encode("12345678\nabcdef\n"));
  log.write("stderr", encode("more\n"));
  assert.deepEqual(texts(log), ["12345678", "a", "… dropped 11 bytes"]);
  assert.equal(log.lines()[2]?.droppedBytes, 11);
  assert.deepEqual(log.lines().map(({ code }) => code), [null, null, "LIMIT_LOG"]);
  clock.nowMs += 500;
  log.write("stdout", encode("next\n"));
  clock.nowMs -= 10_000;
  log.write("stdout", encode("x"));
  assert.deepEqual(texts(log).slice(3), ["next", "… dropped 1 bytes"]);
});

Deno.test("PluginLog with a rate of 0 takes nothing and says so", () => {
  const { log, clock } = createLog({ bytesPerSecond: 0 });
  log.write("stdout", encode("hello\n"));
  clock.nowMs += 60_000;
  log.entry({ level: "info", text: "hello" });
  assert.deepEqual(texts(log), ["… dropped 12 bytes"]);
});

Deno.test("PluginLog keeps the last lines and their numbers", () => {
  const { log } = createLog({ linesMax: 3 });
  for (let i = 0; i < 10; i++) log.write("stdout", encode(`line ${i}\n`));
  assert.deepEqual(log.lines().map(({ seq, text }) => [seq, text]), [
    [7, "line 7"],
    [8, "line 8"],
    [9, "line 9"],
  ]);
});

const operation = fc.oneof(
  fc.record({
    source: fc.constantFrom("stdout" as const, "stderr" as const),
    bytes: fc.uint8Array({ maxLength: 10_000, size: "max" }),
  }),
  fc.record({ level: fc.constantFrom("debug" as const, "error" as const), text: fc.string() }),
  fc.record({ elapsedMs: fc.nat({ max: 3_000 }) }),
);

Deno.test("PluginLog never keeps more than its bound, whatever it is fed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.nat({ max: 20_000 }),
      fc.array(operation, { maxLength: 40 }),
      (linesMax, bytesPerSecond, operations) => {
        const { log, clock } = createLog({ linesMax, bytesPerSecond });
        for (const step of operations) {
          if ("bytes" in step) log.write(step.source, step.bytes);
          else if ("text" in step) log.entry(step);
          else clock.nowMs += step.elapsedMs;
        }
        log.end();
        const lines = log.lines();
        assert.ok(lines.length <= linesMax);
        for (const [i, line] of lines.entries()) {
          assert.ok(line.text.length <= lineBytesMax);
          assert.equal(line.seq, (lines[0]?.seq ?? 0) + i);
          // deno-lint-ignore no-control-regex -- control characters are what it looks for
          assert.doesNotMatch(line.text, /[\x00-\x08\x0a-\x1f\x7f-\x9f]/);
        }
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("PluginLog accounts for every byte: kept, or counted as dropped", () => {
  const printable = fc.stringMatching(/^[a-z\n]{0,6000}$/, { size: "max" });
  fc.assert(
    fc.property(
      fc.nat({ max: 10_000 }),
      fc.array(fc.tuple(fc.constantFrom("stdout" as const, "stderr" as const), printable, fc.nat(700))),
      (bytesPerSecond, writes) => {
        const { log, clock } = createLog({ linesMax: 1_000_000, bytesPerSecond });
        for (const [source, text, elapsedMs] of writes) {
          log.write(source, encode(text));
          clock.nowMs += elapsedMs;
        }
        log.end();
        const lines = log.lines();
        const kept = lines.filter(({ droppedBytes }) => droppedBytes === 0);
        const keptBytes = kept.reduce((sum, { text }) => sum + text.length, 0);
        const droppedBytes = lines.reduce((sum, line) => sum + line.droppedBytes, 0);
        const fedBytes = writes.reduce((sum, [, text]) => sum + text.length, 0);
        // Each line kept stands for at most one newline.
        assert.ok(keptBytes + droppedBytes <= fedBytes);
        assert.ok(fedBytes <= keptBytes + droppedBytes + kept.length);
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("PluginLog cuts long lines between characters and loses none", () => {
  const unit = fc.constantFrom("a", "é", "€", "😀");
  fc.assert(
    fc.property(
      fc.array(unit, { minLength: 2_000, maxLength: 6_000, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1 }),
      (units, cuts) => {
        const { log } = createLog();
        const bytes = encode(units.join(""));
        let start = 0;
        for (const cut of cuts) {
          log.write("stdout", bytes.subarray(start, start + cut));
          start += cut;
        }
        log.write("stdout", bytes.subarray(start));
        log.end();
        assert.equal(texts(log).join(""), units.join(""));
      },
    ),
    { numRuns: 100 },
  );
});
