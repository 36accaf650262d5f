import assert from "node:assert/strict";
import { settle } from "../../sandbox/testing_clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { insertJobs } from "../store/testing_jobs_file.ts";
import { JobEvents } from "./job_events.ts";
import { progressIntervalMs } from "./job_outbox.ts";
import { createTestingJobEvents, readAll, tell } from "./testing_job_events.ts";

/** With job 1 queued and started: events 1 and 2. */
function createStarted(changes: Parameters<typeof createTestingJobEvents>[0] = {}) {
  const testing = createTestingJobEvents(changes);
  const { full, events, commit } = testing;
  commit(() => {
    insertJobs(full, 1);
    events.stage(1, "JOB_QUEUED", "{}");
    events.stage(1, "JOB_STARTED", "{}");
  });
  return testing;
}

const { signal } = new AbortController();

/** Whether the promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let isDone = false;
  const done = () => isDone = true;
  promise.then(done, done);
  await settle();
  return isDone;
}

Deno.test("JobEvents shows an event when it is in the file, and not before", () => {
  using testing = createStarted();
  const { events, full, transact } = testing;
  using cursor = events.watch(1, 2);
  events.stage(1, "JOB_TOKEN", "1");
  assert.deepEqual(cursor.read(1_000), []);
  transact(() => {
    events.stage(1, "JOB_COMPLETED", "{}");
    events.write();
    assert.deepEqual(cursor.read(1_000), []);
  });
  // Committed: whoever reads the file sees it, and a cursor once that is known.
  assert.deepEqual(cursor.read(1_000), []);
  events.published();
  assert.deepEqual(cursor.read(1_000).map(tell), ["3 JOB_TOKEN 1", "4 JOB_COMPLETED {}"]);
  assert.equal(full.prepare("SELECT max(last_seq) AS seq FROM job_events").get()?.seq, 4);
  testing.turn();
  assert.equal(testing.counts.light, 0);
});

Deno.test("JobEvents writes tokens in the next turn, and none after an event of state that waits", () => {
  using testing = createStarted();
  const { events, turn, commit } = testing;
  using cursor = events.watch(1, 2);
  for (const json of ["1", "2"]) events.stage(1, "JOB_TOKEN", json);
  assert.equal(testing.deferred.length, 1);
  turn();
  assert.deepEqual(cursor.read(1_000).map(tell), ["3 JOB_TOKEN 1", "4 JOB_TOKEN 2"]);
  events.stage(1, "JOB_TOKEN", "3");
  events.stage(1, "JOB_STARTED", "{}");
  events.stage(1, "JOB_TOKEN", "4");
  turn();
  assert.deepEqual(cursor.read(1_000).map(tell), ["5 JOB_TOKEN 3"]);
  commit();
  assert.deepEqual(cursor.read(1_000).map(tell), ["6 JOB_STARTED {}", "7 JOB_TOKEN 4"]);
});

Deno.test("JobEvents writes one progress in its time, the last one", () => {
  using testing = createStarted();
  const { events, turn, clock } = testing;
  using cursor = events.watch(1, 2);
  const progress = (...all: number[]) => all.forEach((n) => events.stage(1, "JOB_PROGRESS", String(n)));
  progress(1, 2);
  turn();
  progress(3, 4);
  turn();
  assert.deepEqual(cursor.read(1_000).map(({ json }) => json), ["2"]);
  clock.advance(progressIntervalMs - 1);
  progress(5);
  turn();
  assert.deepEqual(cursor.read(1_000), []);
  clock.advance(1);
  assert.deepEqual(cursor.read(1_000).map(tell), ["4 JOB_PROGRESS 5"]);
  assert.equal(clock.isTimerSet, false);
  progress(6);
  events.close();
  assert.deepEqual(cursor.read(1_000).map(tell), ["5 JOB_PROGRESS 6"]);
  assert.equal(clock.isTimerSet, false);
});

Deno.test("JobEvents.skip() leaves a gap that readers pass, from memory and from the file", () => {
  using testing = createStarted();
  const { turn } = testing;
  const next = new JobEvents(testing.deps);
  next.skip(1, 10_000);
  next.stage(1, "JOB_TOKEN", "1");
  turn();
  for (const reader of [next, new JobEvents(testing.deps)]) {
    assert.deepEqual(readAll(reader.watch(1, 0)).map(({ id }) => id), ["1", "2", "10003"]);
    assert.deepEqual(readAll(reader.watch(1, 500)).map(({ id }) => id), ["10003"]);
  }
  assert.throws(() => next.skip(1, -1), RangeError);
});

Deno.test("JobEvents keeps to the limit of a job over a new start, and does not lose its end", () => {
  using testing = createStarted({ eventsBytesMax: 40 });
  const { events, turn, deps } = testing;
  const token = `"${"x".repeat(20)}"`;
  assert.equal(events.stage(1, "JOB_TOKEN", token), true);
  turn();
  const next = new JobEvents(deps);
  assert.equal(next.stage(1, "JOB_TOKEN", token), false);
  next.stage(1, "JOB_COMPLETED", token);
  testing.transact(() => next.write());
  next.published();
  assert.equal(readAll(next.watch(1, 0)).at(-1)?.type, "JOB_COMPLETED");
});

Deno.test("JobEvents writes the log of each job in order, up to its limit", () => {
  using testing = createStarted({ logBytesMax: 200 });
  const { events, turn, deps, full } = testing;
  insertJobs(full, 2);
  for (let n = 0; n < 5; n++) events.stageLog(1, 1, "info", `line ${n}`, n);
  events.stageLog(2, 1, "error", "", 9);
  turn();
  new JobEvents(deps).stageLog(1, 2, "info", "later", 10);
  turn();
  const lines = deps.logs.list(1, 0, 100);
  assert.deepEqual(lines.map(({ seq, level }) => [seq, level]), [[1, "info"], [2, "info"], [3, "warning"]]);
  assert.deepEqual(deps.logs.list(2, 0, 9), [{ seq: 1, atMs: 9, attempt: 1, level: "error", text: "" }]);
});

Deno.test("JobEvents.flushed() resolves when what was staged is visible, and rejects when it never will be", async () => {
  using testing = createStarted();
  const { events, turn } = testing;
  await events.flushed(1);
  events.stage(1, "JOB_TOKEN", "1");
  const flushed = events.flushed(1);
  assert.equal(await isSettled(flushed), false);
  turn();
  await flushed;
  events.stageLog(1, 1, "info", "x", 0);
  const logged = events.flushed(1);
  assert.equal(await isSettled(logged), false);
  turn();
  await logged;
  events.stage(1, "JOB_PROGRESS", "1");
  await events.flushed(1);
  testing.full.exec("DELETE FROM jobs");
  events.stage(1, "JOB_TOKEN", "2");
  const refused = assert.rejects(events.flushed(1), ProblemError);
  turn();
  await refused;
  assert.equal(testing.fatal.length, 1);
  await assert.rejects(events.flushed(1), ProblemError);
  events.stage(1, "JOB_TOKEN", "3");
  turn();
  assert.equal(testing.fatal.length, 1);
});

// A transaction that was undone must not be taken for written by the next light one.
Deno.test("JobEvents writes and shows nothing after a transaction that did not come to its end", () => {
  using testing = createStarted();
  const { events, transact, turn } = testing;
  using cursor = events.watch(1, 2);
  assert.throws(() =>
    transact(() => {
      events.stage(1, "JOB_COMPLETED", "{}");
      events.write();
      throw new Error("disk full");
    })
  );
  events.stage(1, "JOB_TOKEN", "1");
  turn();
  assert.deepEqual(cursor.read(1_000), []);
  assert.equal(testing.deps.table.lastSeq(1), 2);
});

Deno.test("EventCursor of a job ends when the job is over and all was read", async () => {
  using testing = createStarted();
  const { events, over, commit, turn } = testing;
  using cursor = events.watch(1, 0);
  assert.equal(cursor.read(1_000).length, 2);
  const changed = cursor.changed(signal);
  assert.equal(await isSettled(changed), false);
  events.stage(1, "JOB_TOKEN", "1");
  over.add(1);
  events.stage(1, "JOB_COMPLETED", "{}");
  events.ended(1);
  assert.equal(await isSettled(changed), false);
  turn();
  await changed;
  assert.deepEqual([cursor.read(1_000).map(({ id }) => id), cursor.isEnded], [["3"], false]);
  commit();
  assert.equal(cursor.isEnded, false);
  assert.deepEqual([cursor.read(1_000).map(({ id }) => id), cursor.isEnded], [["4"], true]);
  await cursor.changed(signal);
  using late = events.watch(1, 1_000);
  assert.deepEqual([late.read(1_000), late.isEnded], [[], true]);
});

Deno.test("EventCursor.changed() of a job wakes at its end, at an abort, and at its disposal", async () => {
  using testing = createStarted();
  const { events, over } = testing;
  using cursor = events.watch(1, 2);
  const aborted = new AbortController();
  const waits = [cursor.changed(aborted.signal), cursor.changed(signal)];
  aborted.abort();
  await waits[0];
  assert.equal(await isSettled(waits[1]!), false);
  over.add(1);
  events.ended(1);
  await waits[1];
  assert.equal(cursor.isEnded, true);
  over.delete(1);
  const last = cursor.changed(signal);
  cursor[Symbol.dispose]();
  cursor[Symbol.dispose]();
  await last;
  assert.deepEqual([cursor.isEnded, cursor.read(1_000)], [true, []]);
});

// SQLite may give the number of a deleted job to another one, of another caller.
Deno.test("EventCursor of a job that was deleted never reads what another job tells under its number", async () => {
  using testing = createStarted();
  const { events, full, commit } = testing;
  using cursor = events.watch(1, 0);
  using waiting = events.watch(1, 2);
  const changed = waiting.changed(signal);
  full.exec("DELETE FROM jobs");
  events.deleted(1);
  await changed;
  assert.deepEqual([cursor.isEnded, waiting.isEnded, events.bytes], [true, true, 0]);
  commit(() => {
    insertJobs(full, 1);
    events.stage(1, "JOB_QUEUED", '"secret"');
  });
  assert.deepEqual([cursor.read(1_000), waiting.read(1_000)], [[], []]);
  using other = events.watch(1, 0);
  waiting[Symbol.dispose]();
  assert.deepEqual(readAll(other).map(tell), ['1 JOB_QUEUED "secret"']);
});

// A plugin goes on after its job was cancelled, until it is killed; the job may be deleted by then.
Deno.test("JobEvents takes nothing from an attempt that is over, nor for a job that is gone", () => {
  using testing = createStarted();
  const { events, full, over, commit, turn, deps } = testing;
  const late = (reader: JobEvents) => {
    reader.stageLog(1, 1, "info", "late", 0);
    return [reader.stage(1, "JOB_TOKEN", "1"), reader.stage(1, "JOB_PROGRESS", "1")];
  };
  over.add(1);
  commit(() => events.stage(1, "JOB_CANCELLED", "{}"));
  for (const reader of [events, new JobEvents(deps)]) assert.deepEqual(late(reader), [false, false]);
  full.exec("DELETE FROM jobs");
  events.deleted(1);
  assert.deepEqual(late(events), [false, false]);
  turn();
  commit();
  assert.deepEqual([testing.fatal, testing.counts.light, deps.logs.last(1)], [[], 0, undefined]);
});

Deno.test("JobEvents.forget() drops a job that is over, written and not watched", () => {
  using testing = createStarted();
  const { events, over, commit } = testing;
  events.forget(1);
  assert.notEqual(events.bytes, 0);
  over.add(1);
  events.stage(1, "JOB_COMPLETED", "{}");
  events.forget(1);
  commit();
  const cursor = events.watch(1, 0);
  events.forget(1);
  assert.notEqual(events.bytes, 0);
  cursor[Symbol.dispose]();
  events.forget(1);
  assert.equal(events.bytes, 0);
  assert.equal(readAll(events.watch(1, 0)).length, 3);
});

// One change may tell of very many jobs, and nothing of that can be dropped before it is written.
Deno.test("JobEvents looks for what can be dropped once between two commits where there is nothing", () => {
  using testing = createTestingJobEvents();
  const jobs = Array.from({ length: 2_000 }, (_, at) => at + 1);
  insertJobs(testing.full, ...jobs);
  let looks = 0;
  const deps = Object.defineProperty({ ...testing.deps }, "tailBytesMax", {
    get() {
      looks++;
      return 10_000;
    },
  });
  const events = new JobEvents(deps);
  testing.transact(() => {
    for (const job of jobs) events.stage(job, "JOB_QUEUED", "{}");
    events.write();
  });
  assert(looks < 20 * jobs.length, `${looks} looks`);
  events.published();
  assert(events.bytes <= 10_000, "then there is");
});

Deno.test("JobEvents.stage() and stageLog() take nothing while the file is full but what tells of the state", () => {
  let isFull = true;
  using testing = createTestingJobEvents({ hasRoom: () => !isFull });
  const { events, commit, deps } = testing;
  insertJobs(testing.full, 1);
  commit(() => events.stage(1, "JOB_STARTED", "{}"));
  events.stageLog(1, 1, "info", "lost", 0);
  assert.deepEqual([events.stage(1, "JOB_TOKEN", "1"), events.stage(1, "JOB_PROGRESS", "1")], [false, false]);
  isFull = false;
  events.stageLog(1, 1, "info", "kept", 0);
  assert.equal(events.stage(1, "JOB_TOKEN", "2"), true);
  isFull = true;
  commit(() => events.stage(1, "JOB_COMPLETED", "{}"));
  assert.deepEqual(readAll(events.watch(1, 0)).map(tell), [
    "1 JOB_STARTED {}",
    "2 JOB_TOKEN 2",
    "3 JOB_COMPLETED {}",
  ]);
  assert.deepEqual(deps.logs.list(1, 0, 9).map(({ text }) => text), ["kept"]);
});

Deno.test("JobEvents counts tokens and progress of a job that was told of before, and no event of its state", () => {
  using testing = createTestingJobEvents({ eventsBytesMax: 100 });
  const { events, commit, deps } = testing;
  insertJobs(testing.full, 1);
  for (let attempts = 0; attempts < 50; attempts++) {
    commit(() => events.stage(1, "JOB_STARTED", `"${"x".repeat(500)}"`));
  }
  assert.equal(events.stage(1, "JOB_TOKEN", `"${"x".repeat(86)}"`), true);
  commit();
  const anew = new JobEvents(deps);
  assert.equal(anew.stage(1, "JOB_TOKEN", '"1234567"'), false);
  assert.equal(anew.stage(1, "JOB_TOKEN", "12345678"), true);
});
