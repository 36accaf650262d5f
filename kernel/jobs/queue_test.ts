import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
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
