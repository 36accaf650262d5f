import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import { factOf, viewJob } from "./job_view.ts";
import { acquireLease } from "./lease.ts";
import { createTestingQueue } from "./testing_queue.ts";
import { rowsPerCommit } from "./work_budget.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";

const one = { key: "k", max: 1 };

Deno.test("Queue: parked jobs come back in order, one for each that ends", async () => {
  using world = await JobsWorld.open();
  const jobs: { id: string }[] = [];
  for (const priority of [0, 0, 5, 0]) jobs.push(await world.enqueue({ concurrency: one, priority }));
  const order: string[] = [];
  for (let ended = 0; ended < 4; ended++) {
    assert.equal(world.live.length, 1);
    order.push(world.live[0]!.call.job!.id);
    world.live[0]!.complete();
    await world.turn();
  }
  assert.deepEqual(order, [0, 2, 1, 3].map((at) => jobs[at]!.id));
});

// The one that was to take the free place may leave the line without taking it.
for (const way of ["cancel", "expire", "remove"] as const) {
  Deno.test(`Queue: the next parked job goes on when the one before leaves the line: ${way}`, async () => {
    using world = await JobsWorld.open({ config: { pauseMs: 10 } });
    const first = await world.enqueue({ concurrency: one });
    const second = await world.enqueue({ concurrency: one, ...(way === "expire" ? { ttlMs: 5_000 } : {}) });
    const third = await world.enqueue({ concurrency: one });
    assert.equal(await world.state(third.id), "pending key 0");
    world.refused.set("p", new ProblemError("BREAKER_OPEN", "open"));
    world.callOf(first.id).complete();
    await world.turn();
    assert.equal(await world.state(second.id), "pending turn 0");
    if (way === "cancel") await world.finish(world.service.cancel(second.id, owner, ownerReader));
    if (way === "expire") await world.pass(5_000);
    if (way === "remove") {
      world.refused.set("p", new ProblemError("PLUGIN_NOT_FOUND", "gone"));
      world.jobs.pluginChanged("p");
      await world.turn();
      assert.equal(await world.state(third.id), "failed PLUGIN_NOT_FOUND 0");
      return;
    }
    world.refused.clear();
    await world.pass(1_000);
    assert.equal(await world.state(third.id), "running 1");
  });
}

Deno.test("Queue: a key with room for several fills it again after one with room for one", async () => {
  using world = await JobsWorld.open();
  const alone = await world.enqueue({ concurrency: one, priority: 1 });
  const wide = await world.enqueueAll(Array(3).fill({ concurrency: { key: "k", max: 3 } }));
  assert.equal(world.live.length, 3, "the wider ones do not count the narrow one's limit");
  world.callOf(alone.id).complete();
  await world.turn();
  assert.equal(world.live.length, 3);
  const again = await world.enqueue({ concurrency: one });
  const more = await world.enqueueAll(Array(3).fill({ concurrency: { key: "k", max: 3 } }));
  for (const call of world.live) call.complete();
  await world.turn();
  assert.deepEqual(world.live.map(({ call }) => call.job!.id), [again.id, more[0]!.id, more[1]!.id]);
  assert.equal(wide.length, 3);
});

Deno.test("Queue: a chain of 5,000 dependent jobs fails with its first, each with one entry", async () => {
  using world = await JobsWorld.open();
  const first = await world.enqueue();
  const second = await world.enqueue({ dependsOn: [first.id] });
  // One by one they would each cost a sync of the disk.
  const { jobs, transact } = world.store;
  const { seq: _, ...row } = world.row(second.id);
  let last = "";
  transact(() => {
    for (let above = 2; above < 5_001; above++) {
      last = `01Z${String(above).padStart(23, "0")}`;
      jobs.depend(jobs.insert({ ...row, id: last }, new Uint8Array([123, 125])).seq, above);
    }
  });
  await world.crash();
  world.callOf(first.id).begin().fail("INPUT_INVALID");
  await world.turn();
  assert.equal(await world.state(last), "failed DEPENDENCY_FAILED 0");
  assert.equal(world.store.list({ state: "failed", limit: 6_000 }).rows.length, 5_001);
  assert.equal(world.ledger.records.filter(({ type }) => type === "job.failed").length, 5_001);
});

Deno.test("Queue: a diamond runs each job once, the join last", async () => {
  using world = await JobsWorld.open();
  const top = await world.enqueue();
  const left = await world.enqueue({ dependsOn: [top.id] });
  const right = await world.enqueue({ dependsOn: [top.id, top.id] });
  const join = await world.enqueue({ dependsOn: [left.id, right.id], delayMs: 1_000 });
  world.callOf(top.id).complete();
  await world.turn();
  world.callOf(left.id).complete();
  await world.turn();
  assert.equal(await world.state(join.id), "pending jobs 0");
  world.callOf(right.id).complete();
  await world.turn();
  assert.equal(await world.state(join.id), "pending time 0");
  await world.pass(1_000);
  assert.equal(await world.state(join.id), "running 1");
  assert.equal(world.calls.length, 4);
});

Deno.test("Queue.redrive() of a job fails it again where what it depends on stays lost", async () => {
  using world = await JobsWorld.open();
  const first = await world.enqueue();
  const second = await world.enqueue({ dependsOn: [first.id] });
  world.callOf(first.id).fail("INPUT_INVALID");
  await world.turn();
  await world.finish(world.service.retry(second.id, owner, ownerReader));
  assert.equal(await world.state(second.id), "failed DEPENDENCY_FAILED 0");
  assert.deepEqual(world.ledger.of(second.id), ["enqueued", "failed", "ordered", "failed"]);
  const { value } = await world.finish(world.service.redrive({ limit: 10 }, operator.actor));
  assert.deepEqual(value.jobs, [first.id, second.id]);
  assert.equal(await world.state(second.id), "pending jobs 0");
  world.callOf(first.id).complete();
  await world.turn();
  assert.equal(await world.state(second.id), "running 1");
});

Deno.test("Queue: a job depends on no job of another, nor on one there is not", async () => {
  using world = await JobsWorld.open();
  const others = await world.enqueue({}, "token:other");
  for (const id of [others.id, "01" + "Z".repeat(24)]) {
    await assert.rejects(world.enqueue({ dependsOn: [id] }), { code: "JOB_NOT_FOUND" });
  }
});

Deno.test("Queue: a time-to-live ends what has not begun, and never what is tried again", async () => {
  using world = await JobsWorld.open();
  const retry = { attempts: 2, backoffMs: 10_000 };
  const begun = await world.enqueue({ ttlMs: 1_000, retry });
  const waits = await world.enqueue({ ttlMs: 1_000, delayMs: 2_000 });
  const blocked = await world.enqueue({ ttlMs: 1_000, dependsOn: [begun.id] });
  world.callOf(begun.id).begin().fail("ACTION_FAILED");
  await world.turn();
  await world.pass(1_000);
  assert.equal(await world.state(waits.id), "failed JOB_EXPIRED 0");
  assert.equal(await world.state(blocked.id), "failed JOB_EXPIRED 0");
  assert.equal(await world.state(begun.id), "pending time 1");
  await world.pass(10_000);
  assert.equal(await world.state(begun.id), "running 2");
});

Deno.test("Queue: delays follow the clock on the wall, set forward and back by days", async () => {
  using world = await JobsWorld.open();
  const day = 86_400_000;
  world.terms.set("p", { wallMs: 1_000_000 });
  const delayed = await world.enqueue({ delayMs: day });
  const running = await world.enqueue();
  world.wallMs -= 3 * day;
  await world.clock.pass(120_000);
  await world.turn();
  assert.equal(await world.state(running.id), "running 1");
  assert.equal(await world.state(delayed.id), "pending time 0");
  world.wallMs += 4 * day;
  await world.clock.pass(60_000);
  await world.turn();
  assert.equal(await world.state(delayed.id), "running 1");
  assert.equal(world.calls.length, 2);
});

/** As many transactions as it takes; gives how many events of state each told. */
function followAll({ queue, commit }: ReturnType<typeof createTestingQueue>): number[] {
  const told: number[] = [];
  while (queue.hasEnds) told.push(commit(() => {}).changes.events.length);
  return told;
}

const shapes = {
  "5,000 beside each other": (at: number) => at === 0 ? [] : [0],
  "5,000 in a row": (at: number) => at === 0 ? [] : [at - 1],
  "5,000 in a tree": (at: number) => at === 0 ? [] : [(at - 1) >> 1],
};
for (const [name, above] of Object.entries(shapes)) {
  for (const isCrashed of [false, true]) {
    const how = isCrashed ? ", over crashes" : "";
    Deno.test(`Queue: ${name} that depend on a job that is lost fail in bounded transactions${how}`, () => {
      using testing = createTestingQueue();
      const { store, insert, commit } = testing;
      const rows: JobRow[] = [];
      commit(() => {
        for (let at = 0; at <= 5_000; at++) rows.push(insert({}, above(at).map((each) => rows[each]!)));
      }, { isFollowed: false });
      const told = [commit(() => testing.queue.cancel(rows[0]!)).changes.events.length];
      while (testing.queue.hasEnds) {
        if (isCrashed) testing.crash();
        told.push(commit(() => {}).changes.events.length);
        assert(told.length < 100, "it does not come to an end");
      }
      assert(told.every((count) => count <= rowsPerCommit), told.join());
      assert.equal(told.reduce((sum, count) => sum + count), 5_001);
      assert(rows.slice(1).every(({ seq }) => store.jobs.get(seq)?.errorCode === "DEPENDENCY_FAILED"));
      assert.equal(testing.queue.waiting.all, 0);
      if (!isCrashed) assert.equal(testing.queue.endedChange, 5_001);
    });
  }
}

Deno.test("Queue: many that wait for a job that completes go on, a part in each transaction", () => {
  using testing = createTestingQueue();
  const { store, queue, insert, commit } = testing;
  const { first, other, rows } = commit(() => {
    const [first, other] = [insert(), insert()];
    const rows = Array.from(
      { length: 3_000 },
      (_, at) => insert({}, at % 2 === 0 ? [first] : [first, other]),
    );
    return { first, other, rows };
  }, { isFollowed: false }).value;
  while (queue.hasEnds) commit(() => {});
  const lease = acquireLease(first, { life: "l", nowMs: 0, ttlMs: 1 });
  const claimed = commit(() => queue.claim(first.seq, lease, { isIdempotent: true, policy: null })).value;
  let changed = 0;
  const save = store.jobs.save;
  Object.assign(store.jobs, { save: (...terms: Parameters<typeof save>) => (changed++, save(...terms)) });
  commit(() => queue.complete(claimed, new Uint8Array(), ""));
  assert(changed <= rowsPerCommit && queue.hasEnds);
  // Between two of them it is as if what has not been told had ended later.
  assert.equal(store.jobs.get(rows.at(-2)!.seq)?.wait, "jobs");
  followAll(testing);
  const waits = rows.map(({ seq }) => store.jobs.get(seq)?.wait);
  assert.deepEqual(waits, rows.map((_, at) => at % 2 === 0 ? "turn" : "jobs"));
  assert.equal(other.wait, "turn");
});

Deno.test("Queue.sweep() ends and moves a bounded number of jobs in one transaction", () => {
  using testing = createTestingQueue();
  const { queue, insert, commit, clock } = testing;
  const [dueAtMs, expiresAtMs] = [clock.wallMs + 1, clock.wallMs + 2];
  commit(() => {
    for (let at = 0; at < 3_000; at++) {
      insert(at % 2 === 0 ? { dueAtMs } : { dueAtMs: expiresAtMs + 9, expiresAtMs });
    }
  });
  clock.wallMs += 5;
  let transactions = 0;
  for (let hasMore = true; hasMore; transactions++) {
    const { value, changes } = commit(() => queue.sweep(), { isFollowed: false });
    hasMore = value;
    assert(changes.events.length <= rowsPerCommit);
  }
  assert(transactions > 3 && transactions < 12, `${transactions}`);
  assert.equal(queue.waiting.all, 1_500);
});

// It is refused each time its lane is not held any more, for as long as its plugin is busy.
Deno.test("Queue.giveBack() tells nothing, and neither does the claim after it; the next attempt is told", () => {
  using testing = createTestingQueue();
  const { queue, insert, commit, staged } = testing;
  const { seq } = commit(() => insert()).value;
  const claim = () => {
    const row = testing.store.jobs.get(seq)!;
    const lease = acquireLease(row, { life: "l", nowMs: 0, ttlMs: 1 });
    return commit(() => queue.claim(seq, lease, { isIdempotent: true, policy: null })).value;
  };
  for (let times = 0; times < 5; times++) {
    const claimed = claim();
    commit(() => queue.giveBack(claimed));
  }
  assert.deepEqual(staged.map(({ type }) => type), ["JOB_QUEUED", "JOB_STARTED"]);
  const problem = { code: "ACTION_FAILED" as const, message: "m" };
  const failing = claim();
  commit(() => queue.again(failing, problem, { delayMs: 0, cost: "failure" }));
  claim();
  assert.deepEqual(staged.slice(2).map(({ type }) => type), ["JOB_FAILED", "JOB_STARTED"]);
});

Deno.test("Queue reads what an event says of other jobs once, and not at all where there are none", () => {
  using testing = createTestingQueue();
  const { store, queue, insert, commit } = testing;
  const reads: string[] = [];
  const watched = ["dependencies", "get", "idOf", "dependencyIds"] as const;
  const parent = commit(() => insert({ kind: "pipeline", plugin: null, action: null })).value;
  const part = commit(() => insert({ parent: parent.seq, step: "s" })).value;
  for (const name of watched) {
    const read = store.jobs[name];
    Object.assign(store.jobs, { [name]: (seq: number) => (reads.push(name), read(seq)) });
  }
  viewJob(part, store.jobs);
  factOf(part, store.jobs);
  assert.deepEqual(reads, ["dependencyIds", "idOf", "idOf"]);
  assert.equal(queue.waiting.all, 2);
});
