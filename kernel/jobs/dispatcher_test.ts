import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { readAll } from "./testing_job_events.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";

const types = (world: JobsWorld, id: string) =>
  readAll(world.service.watch(id, 0, operator)).map(({ type }) => type.slice(4));

// A cell that hangs, loses its lease and then wakes up must not overwrite what the next attempt does.
Deno.test("Dispatcher: nothing that an attempt says counts once its lease has ended", async () => {
  using world = await JobsWorld.open();
  world.terms.set("p", { isIdempotent: true });
  world.ignoresAbort = true;
  const { id } = await world.enqueue({ retry: { attempts: 1, backoffMs: 0 } });
  const hung = world.callOf(id).begin();
  await world.pass(60_000);
  const next = world.callOf(id).begin();
  assert.notEqual(next, hung);
  assert.equal(hung.call.signal.aborted, true);
  next.call.sink?.progress({ fraction: 0.5, note: "next" });
  await hung.call.sink?.token('"late"');
  hung.call.sink?.progress({ fraction: 0.9, note: "late" });
  hung.call.sink?.log?.("info", "late");
  hung.complete({ by: "hung" });
  await world.turn();
  const view = await world.get(id);
  assert.deepEqual([view.state, view.attempt, view.note, view.progress], ["running", 2, "next", 0.5]);
  next.complete({ by: "next" });
  await world.turn();
  assert.deepEqual((await world.get(id)).output, { by: "next" });
  assert.deepEqual(world.service.logs(id, { limit: 10 }, operator), []);
  assert(!types(world, id).includes("TOKEN"));
  assert.deepEqual(world.ledger.of(id), ["enqueued", "completed"]);
  assert.equal(world.warnings.length, 1);
});

Deno.test("Dispatcher: a call that waited until its lease ended is not shown its input any more", async () => {
  using world = await JobsWorld.open();
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  const slow = world.callOf(id);
  await world.pass(60_000);
  await world.pass(1_000);
  const next = world.callOf(id);
  assert.notEqual(next, slow);
  assert.throws(() => slow.begin(), { code: "CANCELLED" });
  next.complete();
  await world.turn();
  assert.equal(await world.state(id), "completed 1");
});

Deno.test("Dispatcher: an outcome that comes after its job was deleted is no fault", async () => {
  using world = await JobsWorld.open({ config: { retentionMs: 1 } });
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  const hung = world.callOf(id).begin();
  await world.pass(60_000);
  await world.pass(120_000);
  await assert.rejects(world.get(id), { code: "JOB_NOT_FOUND" });
  hung.complete();
  hung.call.sink?.log?.("info", "late");
  await world.turn();
  assert.deepEqual(world.fatal, []);
  await world.enqueue();
});

Deno.test("Dispatcher: an outcome of a life before counts for nothing", async () => {
  using world = await JobsWorld.open();
  world.terms.set("p", { isIdempotent: true });
  const { id } = await world.enqueue({ retry: { attempts: 1, backoffMs: 0 } });
  const old = world.callOf(id).begin();
  await world.crash();
  await world.pass(1_000);
  old.complete({ by: "old" });
  await world.turn();
  assert.equal(await world.state(id), "running 2");
});

Deno.test("Dispatcher: setting the clock by days neither ends a lease nor keeps it", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).begin();
  for (const days of [3, -6]) {
    world.wallMs += days * 86_400_000;
    await world.clock.pass(10_000);
    await world.turn();
    assert.equal(await world.state(id), "running 1");
  }
  await world.clock.pass(60_000);
  await world.turn();
  assert.equal(await world.state(id), "failed JOB_INTERRUPTED 1");
  assert.equal(world.calls.length, 1);
});

Deno.test("Dispatcher: the highest priority first, then the oldest, across actions; four limits hold", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 3, perPluginMax: 2 } });
  world.terms.set("p/a", { concurrency: 1 });
  const low = await world.enqueueAll([{}, {}, { action: "b" }, { action: "b" }, { plugin: "q" }, {
    plugin: "r",
  }]);
  const high = await world.enqueue({ plugin: "r", priority: 9 });
  const names = () => world.live.map(({ call }) => call.job!.id);
  assert.deepEqual(names(), [low[0], low[2], low[4]].map((job) => job!.id));
  world.callOf(low[4]!.id).complete();
  await world.turn();
  assert.equal(names().at(-1), high.id);
  world.callOf(low[0]!.id).complete();
  await world.turn();
  assert.equal(names().at(-1), low[1]!.id);
});

for (const code of ["BREAKER_OPEN", "PLUGIN_STOPPED", "PLUGIN_QUARANTINED", "PLUGIN_DISABLED"] as const) {
  Deno.test(`Dispatcher: jobs wait at no cost while their plugin answers ${code}`, async () => {
    using world = await JobsWorld.open();
    world.refused.set("p", new ProblemError(code, "no", { retryAfterMs: 3_600_000 }));
    const { id } = await world.enqueue();
    await world.pass(600_000);
    assert.equal(await world.state(id), "pending turn 0");
    world.refused.clear();
    world.jobs.pluginChanged("p");
    await world.turn();
    assert.equal(await world.state(id), "running 1");
  });
}

Deno.test("Dispatcher: a call that is refused before it began costs nothing, and is not made again at once", async () => {
  using world = await JobsWorld.open({ config: { pauseMs: 1_000 } });
  const { id } = await world.enqueue();
  for (let refused = 1; refused <= 5; refused++) {
    assert.equal(world.calls.length, refused);
    world.callOf(id).fail("QUEUE_FULL");
    await world.turn();
    assert.equal(await world.state(id), "pending turn 0");
    await world.pass(1_000);
  }
  assert.equal(await world.state(id), "running 1");
});

Deno.test("Dispatcher: jobs of a plugin that was removed fail with its code", async () => {
  using world = await JobsWorld.open();
  world.refused.set("p", new ProblemError("PLUGIN_STOPPED", "stopped"));
  const jobs = await world.enqueueAll([{}, { concurrency: { key: "k", max: 1 } }]);
  world.refused.set("p", new ProblemError("PLUGIN_NOT_FOUND", "x".repeat(10_000)));
  world.jobs.pluginChanged("p");
  await world.turn();
  for (const { id } of jobs) assert.equal(await world.state(id), "failed PLUGIN_NOT_FOUND 0");
  assert((await world.get(jobs[0]!.id)).error!.message.length < 5_000);
});

Deno.test("Dispatcher: at a drain idempotent jobs are handed over at no cost, others fail JOB_INTERRUPTED", async () => {
  using world = await JobsWorld.open({ config: { interruptionsMax: 0 } });
  world.terms.set("p/i", { isIdempotent: true });
  const [plain, idempotent, unbegun] = await world.enqueueAll([{}, { action: "i" }, {}]);
  world.callOf(plain!.id).begin();
  world.callOf(idempotent!.id).begin();
  await world.drain((call) => call.fail("PLUGIN_STOPPED"));
  await world.start();
  assert.equal(await world.state(plain!.id), "failed JOB_INTERRUPTED 1");
  assert.equal(await world.state(idempotent!.id), "running 2");
  assert.equal(await world.state(unbegun!.id), "running 1");
  assert.equal((await world.get(idempotent!.id)).interruptions, 0);
});

// A plugin controls every byte of these.
Deno.test("Dispatcher: no text of a plugin's hurts the store", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue({ retry: { attempts: 2, backoffMs: 0 } });
  for (const text of ["\0", "\ud800", "x".repeat(4_095) + "😀".repeat(9), '"},"output":1']) {
    const call = world.callOf(id).begin();
    call.call.sink?.progress({ fraction: 1, note: text });
    call.call.sink?.log?.("warn", text);
    await world.turn();
    call.fail("ACTION_FAILED", text);
    await world.turn();
    if (world.row(id).state === "failed") {
      await world.finish(world.service.retry(id, owner, ownerReader));
    }
  }
  assert.deepEqual(world.fatal, []);
  const events = readAll(world.service.watch(id, 0, operator));
  assert(events.every(({ json }) => JSON.parse(json) !== undefined));
  const failed = events.filter(({ type }) => type === "JOB_FAILED").map(({ json }) => JSON.parse(json));
  assert(failed.every(({ output }) => output === null));
});

Deno.test("Dispatcher: tokens above what is kept of a job fail it, and stop its action", async () => {
  using world = await JobsWorld.open({ config: { eventsBytesMax: 3_000 } });
  const { id } = await world.enqueue();
  const call = world.callOf(id).begin();
  for (let tokens = 0; tokens < 10; tokens++) {
    await world.finish(call.call.sink!.token(`"${"x".repeat(500)}"`));
  }
  await world.turn();
  assert.equal(await world.state(id), "failed LIMIT_OUTPUT 1");
});

Deno.test("Dispatcher: what an action returns after its tokens were too many counts for nothing", async () => {
  using world = await JobsWorld.open({ config: { eventsBytesMax: 3_000 } });
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  const call = world.callOf(id).begin();
  for (let tokens = 0; tokens < 10; tokens++) {
    await world.finish(call.call.sink!.token(`"${"x".repeat(500)}"`));
  }
  assert.equal(call.call.signal.aborted, true);
  call.complete({ all: true });
  await world.turn();
  assert.equal(await world.state(id), "failed LIMIT_OUTPUT 1");
});

Deno.test("Dispatcher: jobs of a revoked token fail when their turn comes, and what runs is left", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 1 } });
  const running = await world.enqueue();
  const concurrency = { key: "k", max: 1 };
  const waiting = await world.enqueueAll([{}, { delayMs: 1_000 }, { concurrency }, { concurrency }]);
  const others = await world.enqueue({}, "token:other");
  const pipeline = await world.enqueuePipeline({ steps: [{ id: "s", plugin: "p", action: "a" }] });
  world.revoked.add(owner);
  const revokedLater = await world.enqueuePipeline({ steps: [{ id: "s", plugin: "p", action: "a" }] });
  assert.equal(await world.state(running.id), "running 1");
  world.callOf(running.id).complete();
  await world.turn();
  assert.equal(await world.state(running.id), "completed 1");
  assert.equal(await world.state(others.id), "running 1");
  world.callOf(others.id).complete();
  await world.turn();
  await world.pass(1_000);
  for (const { id } of [...waiting, revokedLater]) {
    assert.equal(await world.state(id), "failed FORBIDDEN 0");
    assert.deepEqual(world.ledger.of(id), ["enqueued", "failed"]);
  }
  assert.match(
    (await world.get(waiting[0]!.id)).error!.message,
    /the token of whoever enqueued it was revoked/,
  );
  const { error, state } = await world.get(pipeline.id);
  assert.equal(state, "failed", `its step could not begin: ${error?.message}`);
});

// Jobs of one who revoked nothing must not pay for a long list of tokens.
Deno.test("Dispatcher asks of each actor once in a round of claims", async () => {
  using world = await JobsWorld.open();
  world.terms.set("p", { concurrency: 16 });
  const before = world.asked;
  await world.enqueueAll(Array(16).fill({}));
  assert.equal(world.live.length, 16);
  assert(world.asked - before <= 2, `${world.asked - before} times`);
});

Deno.test("Dispatcher: a job that was deleted under its attempt leaves nothing of that behind", async () => {
  using world = await JobsWorld.open();
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  const call = world.callOf(id).begin();
  const { seq } = world.row(id);
  world.store.transact(() => world.store.jobs.delete(seq));
  call.complete();
  await world.turn();
  assert.equal(world.warnings.length, 1);
  // Its lease would end once more.
  await world.pass(120_000);
  assert.equal(world.warnings.length, 1);
});

// Statements, and no times: what waits behind a claim must not be read for it.
Deno.test("Dispatcher: a claim makes as many statements with 100,000 waiting jobs as with 100", async () => {
  const counts: number[] = [];
  for (const waiting of [100, 100_000]) {
    using world = await JobsWorld.open({ config: { runningMax: 1 } });
    const { id } = await world.enqueue();
    const second = await world.enqueue();
    const { jobs, transact } = world.store;
    const { seq: _, ...row } = world.row(second.id);
    transact(() => {
      for (let at = 0; at < waiting; at++) {
        jobs.insert({ ...row, id: `01Z${String(at).padStart(23, "0")}`, untold: 0 }, new Uint8Array([48]));
      }
    });
    await world.crash();
    const before = world.statements;
    world.callOf(id).complete();
    await world.turn();
    assert.equal(await world.state(second.id), "running 1");
    counts.push(world.statements - before);
  }
  assert(counts[0]! > 0);
  assert.equal(counts[0], counts[1]);
});
