import assert from "node:assert/strict";
import { type EndedJobs } from "../store/ended_jobs.ts";
import type { JobsStore } from "../store/jobs_store.ts";
import { Retention } from "./retention.ts";
import { createTestingQueue } from "./testing_queue.ts";
import { JobsWorld, operator } from "./testing_jobs_world.ts";

const step = (id: string, input: unknown = {}) => ({ id, plugin: "p", action: "a", input });
const megabyte = 1_048_576;

Deno.test("Retention deletes by age and by number, parts of a pipeline after it, and frees what went with them", async () => {
  using world = await JobsWorld.open({ config: { retentionMs: 600_000, keptMax: 3 } });
  const { id: pipeline } = await world.enqueuePipeline({ steps: [step("s"), step("t")] });
  const part =
    world.service.list({ parent: pipeline, limit: 9 }, operator).items.find(({ step }) => step === "s")!.id;
  world.callOf(part).complete();
  await world.turn();
  world.terms.set("p", { wallMs: 10_000_000 });
  const old = await world.enqueue({ plugin: "q", idempotencyKey: "k" });
  const oldSeq = world.row(old.id).seq;
  world.callOf(old.id).complete();
  await world.turn();
  await world.pass(700_000);
  await world.pass(60_000);
  await assert.rejects(world.get(old.id), { code: "JOB_NOT_FOUND" });
  assert.equal((await world.get(part)).state, "completed", "its pipeline is there");
  assert.equal(world.store.events.lastSeq(oldSeq), 0);
  assert.notEqual((await world.enqueue({ plugin: "q", idempotencyKey: "k" })).id, old.id);
  const many = await world.enqueueAll(Array(6).fill({ plugin: "r" }));
  while (world.live.some(({ call }) => call.plugin === "r")) {
    world.live.find(({ call }) => call.plugin === "r")!.complete();
    await world.turn();
  }
  await world.pass(60_000);
  const kept = world.service.list({ state: "completed", limit: 99 }, operator).items.map(({ id }) => id);
  assert.deepEqual(kept, [many[5]!.id, many[4]!.id, many[3]!.id, part]);
});

/** Retention over a file in which each job of `kinds` has ended, a second after the one before it. */
function createRetention({ keptMax = 0, retentionMs = 1 } = {}) {
  const testing = createTestingQueue();
  const { store, queue, clock } = testing;
  const counts = { list: 0, count: 0 };
  const ended: EndedJobs = {
    ...store.ended,
    list: (...terms) => {
      const rows = store.ended.list(...terms);
      counts.list += rows.length;
      return rows;
    },
    count: () => {
      counts.count++;
      return store.ended.count();
    },
  };
  const deleted: number[] = [];
  const retention = new Retention({
    ...{ table: store.jobs, ended, queue, nowMs: () => clock.wallMs, config: { keptMax, retentionMs } },
    events: { deleted: (seq) => void deleted.push(seq) },
  });
  const end = () => {
    clock.wallMs += 1_000;
    return testing.commit(() => queue.cancel(testing.insert())).value.seq;
  };
  /** One transaction. */
  const deleteSome = () => {
    let bytes = store.bytes();
    const hasMore = testing.commit(() => retention.deleteSome()).value;
    bytes -= store.bytes();
    return { hasMore, bytes };
  };
  return { ...testing, retention, counts, deleted, end, deleteSome };
}

function addEvents({ events, transact }: JobsStore, job: number, bytes: number, chunks: number): void {
  transact(() => {
    for (let at = 1; at <= chunks; at++) {
      const text = `T"${"x".repeat(bytes / chunks)}"\n`;
      events.append({ job, firstSeq: at, lastSeq: at, text, lightBytes: text.length });
    }
  });
}

Deno.test("Retention deletes about 8 MiB in a transaction, and a large job's events in slices before it", () => {
  using testing = createRetention();
  const { store, end, deleted, deleteSome, clock } = testing;
  const jobs = [end(), end(), end(), end()];
  for (const [at, size] of [3, 20, 3, 3].entries()) addEvents(store, jobs[at]!, size * megabyte, size * 4);
  store.transact(() => {
    for (const seq of jobs) store.jobs.clearUntold(seq, 3);
  });
  clock.wallMs += 1_000_000;
  const lastSeq = store.events.lastSeq(jobs[1]!);
  let rounds = 0;
  for (let hasMore = true; hasMore; rounds++) {
    const told = deleteSome();
    hasMore = told.hasMore;
    assert(told.bytes < 10 * megabyte, `${told.bytes} bytes in one transaction`);
    if (!deleted.includes(jobs[1]!)) {
      assert.equal(store.events.lastSeq(jobs[1]!), lastSeq, "its newest stays");
    }
  }
  assert.deepEqual(deleted, jobs);
  assert(rounds >= 5 && rounds < 12, `${rounds} transactions`);
  assert.equal(store.bytes() < megabyte, true);
});

Deno.test("Retention counts once in its life, and goes past what the ledger is owed once in a round", () => {
  using testing = createRetention({ keptMax: 100, retentionMs: 1_000_000_000 });
  const { store, end, counts, deleteSome, retention, queue } = testing;
  const jobs = Array.from({ length: 1_700 }, end);
  assert.equal(retention.count, 1_700);
  // Of the oldest 1,200 no entry is written yet: queue.cancel() owes one of each.
  store.transact(() => {
    for (const seq of jobs.slice(1_200)) store.jobs.clearUntold(seq, 3);
  });
  while (deleteSome().hasMore);
  assert.equal(retention.count, 1_200);
  assert(counts.list <= 1_700 + 500, `${counts.list} rows were looked at`);
  assert.equal(counts.count, 1);
  testing.commit(() => queue.redrive(store.jobs.get(jobs[0]!)!));
  assert.equal(retention.count, 1_199);
});

Deno.test("Retention deletes a pipeline, and then its parts, over several transactions and lives", () => {
  using testing = createRetention();
  const { store, queue, commit, insert, deleteSome, clock } = testing;
  const pipeline = commit(() => insert({ kind: "pipeline", plugin: null, action: null })).value;
  commit(() => {
    for (let at = 0; at < 1_200; at++) queue.cancel(insert({ parent: pipeline.seq, step: `s[${at}]` }));
  });
  commit(() => queue.cancel(pipeline));
  store.transact(() => {
    for (let seq = pipeline.seq; seq <= pipeline.seq + 1_200; seq++) store.jobs.clearUntold(seq, 3);
    // One that is owed an entry stays until it is not.
    store.jobs.save({ ...store.jobs.get(pipeline.seq + 7)!, untold: 2 });
  });
  clock.wallMs += 1_000_000;
  while (queue.hasEnds) commit(() => queue.follow(0));
  deleteSome();
  assert.equal(store.jobs.get(pipeline.seq), undefined);
  assert.equal(store.jobs.stepEnds(pipeline.seq).length > 0, true);
  while (deleteSome().hasMore);
  assert.deepEqual(store.jobs.stepEnds(pipeline.seq).map(({ step }) => step), ["s[6]"]);
  store.transact(() => store.jobs.clearUntold(pipeline.seq + 7, 3));
  while (deleteSome().hasMore);
  assert.deepEqual([store.jobs.stepEnds(pipeline.seq), store.ended.deleted(0)], [[], undefined]);
});

// Else what waits for it would be left with nothing that it waits for, and begin.
Deno.test("Retention deletes nothing while ends of jobs are not followed to those that depend on them", () => {
  using testing = createRetention();
  const { store, queue, commit, insert, deleteSome, deleted } = testing;
  const first = commit(() => insert()).value;
  const second = commit(() => insert({}, [first])).value;
  commit(() => queue.cancel(store.jobs.get(first.seq)!), { isFollowed: false });
  store.transact(() => store.jobs.clearUntold(first.seq, 3));
  testing.clock.wallMs += 1_000_000;
  assert.deepEqual([deleteSome().hasMore, deleted], [false, []]);
  commit(() => {});
  assert.equal(store.jobs.get(second.seq)?.errorCode, "DEPENDENCY_FAILED");
  deleteSome();
  assert.deepEqual(deleted, [first.seq]);
});
