import assert from "node:assert/strict";
import { logRowBytes } from "../store/job_logs_table.ts";
import { JobLogOutbox, JobOutbox, logFullText, progressIntervalMs } from "./job_outbox.ts";

const create = (bytesMax = 1_000, kept = { lastSeq: 0, bytes: 0 }) => new JobOutbox(kept, bytesMax);
const tell = (outbox: JobOutbox, scope: "state" | "light" = "state") =>
  outbox.take(scope).map(({ firstSeq, lastSeq, events }) =>
    `${firstSeq}-${lastSeq} ${events.map(({ type, json }) => type.slice(4) + json).join(" ")}`
  );

Deno.test("JobOutbox goes on with the numbers of the file, and begins a chunk after a gap", () => {
  const outbox = create(1_000, { lastSeq: 7, bytes: 0 });
  outbox.stage("JOB_TOKEN", "1");
  outbox.skip(100);
  assert.equal(outbox.hasSkipped, true);
  outbox.stage("JOB_TOKEN", "2");
  outbox.stage("JOB_COMPLETED", "{}");
  assert.equal(outbox.hasSkipped, false);
  assert.deepEqual(tell(outbox), ["8-8 TOKEN1", "109-110 TOKEN2 COMPLETED{}"]);
  assert.deepEqual([outbox.isEmpty, outbox.lastSeq], [true, 110]);
});

Deno.test("JobOutbox.take() with scope light stops before what tells of the state", () => {
  const outbox = create();
  outbox.stage("JOB_TOKEN", "1");
  outbox.stage("JOB_FAILED", "{}");
  outbox.stage("JOB_TOKEN", "2");
  assert.deepEqual(tell(outbox, "light"), ["1-1 TOKEN1"]);
  assert.deepEqual(tell(outbox, "light"), []);
  assert.deepEqual(tell(outbox), ["2-3 FAILED{} TOKEN2"]);
});

Deno.test("JobOutbox keeps the last progress, for its time or for the next event", () => {
  const outbox = create();
  for (const json of ["1", "2"]) outbox.stage("JOB_PROGRESS", json);
  assert.deepEqual([tell(outbox), outbox.isEmpty, outbox.progressDueInMs(0)], [[], false, 0]);
  outbox.releaseProgress(1_000);
  assert.deepEqual(tell(outbox), ["1-1 PROGRESS2"]);
  for (const json of ["3", "4"]) outbox.stage("JOB_PROGRESS", json);
  assert.equal(outbox.progressDueInMs(1_010), progressIntervalMs - 10);
  outbox.stage("JOB_TOKEN", "5");
  assert.deepEqual(tell(outbox), ["2-3 PROGRESS4 TOKEN5"]);
  assert.equal(outbox.progressDueInMs(1_010), undefined);
});

Deno.test("JobOutbox refuses tokens and progress above the limit, and never what tells of the state", () => {
  const outbox = create(20, { lastSeq: 1, bytes: 4 });
  // Counted as UTF-8: two of 3 bytes, quotes, letter and line feed.
  assert.equal(outbox.stage("JOB_TOKEN", '"€€"'), true);
  assert.equal(outbox.stage("JOB_TOKEN", "12345"), false);
  assert.equal(outbox.stage("JOB_PROGRESS", "12345"), false);
  assert.equal(outbox.stage("JOB_COMPLETED", `"${"x".repeat(100)}"`), true);
  assert.equal(outbox.stage("JOB_TOKEN", "12345"), false);
  const [chunk] = outbox.take("state");
  assert.deepEqual([chunk?.events.length, chunk?.lightBytes], [2, 10]);
});

// A job that is tried again often enough would lose its tokens.
Deno.test("JobOutbox counts no event of state", () => {
  const outbox = create(20);
  for (let attempts = 0; attempts < 100; attempts++) outbox.stage("JOB_FAILED", `"${"x".repeat(1_000)}"`);
  assert.equal(outbox.stage("JOB_TOKEN", "1"), true);
});

Deno.test("JobOutbox.take() makes chunks of bounded size, and a large event one of its own", () => {
  const outbox = create(1_000_000);
  for (const chars of [1_000, 40_000, 9_000, 7_000, 7_000]) outbox.stage("JOB_TOKEN", "1".repeat(chars));
  assert.deepEqual(outbox.take("light").map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq]), [
    ...[[1, 1], [2, 2], [3, 4], [5, 5]],
  ]);
});

const line = (text: string) => ({ attempt: 1, level: "debug" as const, text, atMs: 3 });

Deno.test("JobLogOutbox says once that the log is full, also after it was made again", () => {
  const log = new JobLogOutbox({ last: undefined, bytes: 0 }, 2 * logRowBytes + 10);
  // An empty line takes room too.
  assert.deepEqual(["", "12345678901", "", "x"].map((text) => log.stage(line(text))), [
    ...[true, true, false, false],
  ]);
  const rows = log.take();
  assert.deepEqual(rows.map(({ seq, level, text }) => [seq, level, text]), [
    ...[[1, "debug", ""], [2, "warning", logFullText]],
  ]);
  const again = new JobLogOutbox({ last: rows[1], bytes: 0 }, 10_000);
  assert.equal(again.stage(line("x")), false);
  assert.deepEqual([again.isEmpty, again.lastSeq], [true, 2]);
});

Deno.test("JobLogOutbox keeps no byte that SQLite would cut the text at or change", () => {
  const log = new JobLogOutbox({ last: undefined, bytes: 0 }, 1_000);
  log.stage(line("a\0b\ud800c\nd"));
  assert.equal(log.take()[0]?.text, "a\u2400b\ufffdc\nd");
});
