import assert from "node:assert/strict";
import { jobRequestSchema } from "../../schemas/job.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";

const other = { actor: "token:other", readsAll: false };
const one = { key: "k", max: 1 };

for (const wait of ["time", "jobs", "key", "turn"] as const) {
  Deno.test(`JobsService.cancel() ends a job at once that waits for its ${wait}`, async () => {
    using world = await JobsWorld.open({ config: { runningMax: wait === "turn" ? 1 : 9 } });
    const first = await world.enqueue({ concurrency: one });
    const request = {
      time: { delayMs: 1_000 },
      jobs: { dependsOn: [first.id] },
      key: { concurrency: one },
      turn: {},
    }[wait];
    const { id } = await world.enqueue(request);
    assert.equal(await world.state(id), `pending ${wait} 0`);
    const { value } = await world.finish(world.service.cancel(id, owner, ownerReader));
    assert.equal(value.view.state, "cancelled");
    world.callOf(first.id).complete();
    await world.turn();
    await world.pass(10_000);
    assert.equal(world.calls.length, 1);
    assert.deepEqual(world.ledger.of(id), ["enqueued", "ordered", "cancelled"]);
  });
}

Deno.test("JobsService.cancel() tells a running job, and answers when it has ended", async () => {
  using world = await JobsWorld.open();
  world.ignoresAbort = true;
  const { id } = await world.enqueue({ retry: { attempts: 9, backoffMs: 0 } });
  const call = world.callOf(id).begin();
  let answered = 0;
  const both = [1, 2].map(async () => {
    const { value } = await world.service.cancel(id, owner, ownerReader);
    answered++;
    return value.view.state;
  });
  await world.turn();
  assert.equal(call.call.signal.aborted, true);
  assert.equal(answered, 0);
  call.fail("ACTION_FAILED");
  await world.turn();
  assert.deepEqual(await Promise.all(both), ["cancelled", "cancelled"]);
  assert.equal(world.ledger.ends(id), 1);
});

Deno.test("JobsService.cancel() answers after its grace also when the job has not ended", async () => {
  using world = await JobsWorld.open();
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  world.callOf(id).begin();
  const cancelled = world.service.cancel(id, owner, ownerReader);
  await world.turn();
  await world.clock.pass(15_000);
  const { value } = await world.finish(cancelled);
  assert.deepEqual([value.view.state, value.view.cancelRequested], ["running", true]);
});

Deno.test("JobsService.cancel() of a job that returns once it was told leaves nothing of what it returns", async () => {
  using world = await JobsWorld.open();
  world.ignoresAbort = true;
  const { id } = await world.enqueue();
  const cancelled = world.service.cancel(id, owner, ownerReader);
  await world.turn();
  world.callOf(id).complete({ half: true });
  const { value } = await world.finish(cancelled);
  assert.deepEqual([value.view.state, value.outputJson, value.view.outputSha256], ["cancelled", null, null]);
});

Deno.test("JobsService.cancel() leaves a job that has ended as it is", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).complete({ done: true });
  await world.turn();
  const { value } = await world.finish(world.service.cancel(id, owner, ownerReader));
  assert.deepEqual([value.view.state, value.outputJson], ["completed", `{"done":true}`]);
  assert.deepEqual(world.ledger.of(id), ["enqueued", "completed"]);
});

Deno.test("JobsService.retry() takes failed and cancelled jobs, and refuses every other", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue({ ttlMs: 10, retry: { attempts: 2, backoffMs: 0 } });
  await assert.rejects(world.finish(world.service.retry(id, owner, ownerReader)), { code: "CONFLICT" });
  for (let attempts = 1; attempts <= 2; attempts++) {
    world.callOf(id).begin().fail("ACTION_FAILED");
    await world.turn();
  }
  assert.equal(await world.state(id), "failed ACTION_FAILED 2");
  await world.finish(world.service.retry(id, owner, ownerReader));
  assert.equal(await world.state(id), "running 3");
  world.callOf(id).begin().fail("ACTION_FAILED");
  await world.turn();
  assert.equal(await world.state(id), "running 4", "it has all its attempts again");
  await world.finish(world.service.cancel(id, owner, ownerReader));
  await world.finish(world.service.retry(id, owner, ownerReader));
  world.callOf(id).complete();
  await world.turn();
  assert.equal(await world.state(id), "completed 5");
  await assert.rejects(world.finish(world.service.retry(id, owner, ownerReader)), { code: "CONFLICT" });
  assert.equal(world.ledger.ends(id), 3);
});

// An order that stood behind the end that another one led to would have that end written once more after a crash.
Deno.test("JobsService.retry() twice at once orders and redrives once", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).begin().fail("INPUT_INVALID");
  await world.turn();
  const both = Promise.allSettled([1, 2].map(() => world.service.retry(id, owner, ownerReader)));
  const [first, second] = await world.finish(both);
  assert.equal(first?.status, "fulfilled");
  assert.equal(second?.status === "rejected" && second.reason.code, "CONFLICT");
  assert.equal(world.live.length, 1);
  assert.equal(await world.state(id), "running 2");
});

Deno.test("JobsService.redrive() takes the oldest that the filter passes, and no part of a pipeline", async () => {
  using world = await JobsWorld.open();
  const jobs = await world.enqueueAll([{}, { action: "b" }, { plugin: "q" }, {}]);
  await world.enqueuePipeline({ steps: [{ id: "s", plugin: "q", action: "a" }] });
  for (const call of world.live) call.begin().fail(call.call.action === "b" ? "LIMIT_WALL" : "ACTION_FAILED");
  await world.turn();
  const redrive = async (filter: object) =>
    (await world.finish(world.service.redrive({ limit: 1, ...filter }, "token:operator"))).value.jobs;
  assert.deepEqual(await redrive({ code: "LIMIT_WALL" }), [jobs[1]!.id]);
  assert.deepEqual(await redrive({ plugin: "q" }), [jobs[2]!.id]);
  assert.deepEqual(await redrive({ plugin: "q" }), []);
  assert.deepEqual(await redrive({ plugin: "p", action: "a" }), [jobs[0]!.id]);
});

Deno.test("JobsService.enqueue() gives the same job for the same key, request and caller", async () => {
  using world = await JobsWorld.open({ config: { waitingMax: 2, runningMax: 1 } });
  const request = { idempotencyKey: "k", input: { n: 1 } };
  const first = await world.enqueue(request);
  assert.equal((await world.enqueue(request)).id, first.id);
  await assert.rejects(world.enqueue({ ...request, input: { n: 2 } }), { code: "CONFLICT" });
  assert.notEqual((await world.enqueue(request, "token:other")).id, first.id);
  await world.enqueue();
  await assert.rejects(world.enqueue(), { code: "QUEUE_FULL" });
  assert.equal((await world.enqueue(request)).id, first.id, "also when no other has room");
  assert.equal(world.ledger.of(first.id).length, 1);
});

Deno.test("JobsService.enqueue() accepts a batch whole or not at all", async () => {
  using world = await JobsWorld.open({ config: { waitingMax: 3 } });
  const bad: [object[], string][] = [
    [[{}, { idempotencyKey: "k" }, { idempotencyKey: "k" }], "CONFLICT"],
    [[{}, { dependsOn: ["01" + "0".repeat(24)] }], "JOB_NOT_FOUND"],
    [[{}, {}, {}, {}], "QUEUE_FULL"],
  ];
  for (const [batch, code] of bad) await assert.rejects(world.enqueueAll(batch), { code });
  assert.deepEqual(world.service.list({ limit: 10 }, operator).items, []);
  assert.equal(world.ledger.records.filter(({ type }) => type.startsWith("job.")).length, 0);
  assert.equal((await world.enqueueAll([{}, {}, {}])).length, 3);
});

Deno.test("JobsService.enqueue() refuses above the size of the file, and shows what was accepted before", async () => {
  const config = { bytesMax: 1_000_000 };
  using world = await JobsWorld.open({ config });
  const request = { idempotencyKey: "k", input: "x".repeat(1_000_000) };
  const { id } = await world.enqueue(request);
  await assert.rejects(world.enqueue(), { code: "QUEUE_FULL" });
  assert.equal((await world.enqueue(request)).id, id);
});

Deno.test("JobsService.enqueue() takes one caller's jobs up to a share of what may wait", async () => {
  using world = await JobsWorld.open({ config: { waitingPerActorMax: 3, runningMax: 1 } });
  const [running] = await world.enqueueAll([{}, {}, {}]);
  assert.equal(world.now.waiting, 2);
  await world.enqueue({ idempotencyKey: "k" });
  await assert.rejects(world.enqueue(), { code: "QUEUE_FULL" });
  await world.enqueue({ idempotencyKey: "k" });
  await world.enqueueAll([{}, {}, {}], "token:other");
  await world.crash();
  await assert.rejects(world.enqueue(), { code: "QUEUE_FULL" });
  await assert.rejects(world.enqueueAll([{}], "token:other"), { code: "QUEUE_FULL" });
  await world.finish(world.service.cancel(running!.id, owner, ownerReader));
  await world.enqueue();
});

Deno.test("JobsService.enqueue(): a concurrency key is its caller's own", async () => {
  using world = await JobsWorld.open();
  const concurrency = { key: "customer", max: 1 };
  const jobs = await world.enqueueAll([{ concurrency }, { concurrency }]);
  const others = await world.enqueue({ concurrency }, "token:other");
  assert.equal(await world.state(jobs[1]!.id), "pending key 0");
  assert.equal(await world.state(others.id), "running 1");
  assert(!JSON.stringify(world.service.list({ limit: 9 }, operator)).includes("customer"));
});

Deno.test("JobsService.enqueue(): the same request is the same, however its members are written", async () => {
  using world = await JobsWorld.open();
  const first = await world.enqueue({ idempotencyKey: "k", input: { a: 1, b: { c: 2, d: 3 } } });
  const again = await world.enqueue({ input: { b: { d: 3, c: 2 }, a: 1 }, priority: 0, idempotencyKey: "k" });
  assert.equal(again.id, first.id);
  const changed = [{ input: { a: 1, b: { c: 2, d: 4 } } }, {
    input: { a: 1, b: { c: 2, d: 3 } },
    priority: 1,
  }];
  for (const more of changed) {
    await assert.rejects(world.enqueue({ idempotencyKey: "k", ...more }), { code: "CONFLICT" });
  }
});

Deno.test("JobsService.enqueue() shows its owner what came of a job that was enqueued before, one at a time", async () => {
  using world = await JobsWorld.open();
  const request = { idempotencyKey: "k" };
  const { id } = await world.enqueue(request);
  world.callOf(id).complete({ done: true });
  await world.turn();
  const again = await world.enqueue(request);
  assert.deepEqual([again.id, again.state, again.output], [id, "completed", { done: true }]);
  const [inBatch] = await world.enqueueAll([request, {}]);
  assert.deepEqual([inBatch!.state, inBatch!.output], ["completed", null]);
});

// Parsed and made into text again, 15 MB of `{},` took the loop for seconds; and numbers came out as doubles.
Deno.test("JobsService shows an output as the text that is stored, parsing none of it", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue({ idempotencyKey: "k" });
  world.callOf(id).complete({ big: 1 });
  await world.turn();
  const text = `[${"{},".repeat(100_000)}12345678901234567890]`;
  const { output } = world.store.jobs;
  world.store.jobs.output = (seq) => output(seq) && new TextEncoder().encode(text);
  const { parse } = JSON;
  let longest = 0;
  JSON.parse = (json: string, ...rest) => {
    longest = Math.max(longest, json.length);
    return parse(json, ...rest);
  };
  try {
    const shown = [
      await world.service.get(id, ownerReader),
      (await world.service.cancel(id, owner, ownerReader)).value,
    ];
    for (const { view, outputJson } of shown) {
      assert.deepEqual([view.state, view.output], ["completed", null]);
      assert(outputJson === text);
    }
    assert.equal((await world.service.get(id, other)).outputJson, null);
  } finally {
    JSON.parse = parse;
  }
  assert(longest < text.length);
});

// The second end is owed when the first one's redrive is about to say that the job was told of.
Deno.test("JobsService.retry() marks no end but the one that it saw", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).begin().fail("INPUT_INVALID");
  await world.turn();
  const { transact, jobs } = world.store;
  const retried = world.service.retry(id, owner, ownerReader);
  // It ended once more before the group was committed, and its entry has not been asked for.
  transact(() => jobs.save({ ...world.row(id), endedAtMs: 1, untold: 2 }));
  await assert.doesNotReject(world.finish(retried));
  assert.equal(world.row(id).untold, 2);
});

Deno.test("JobsService shows a job to all, and what is in it to its owner and to operators", async () => {
  using world = await JobsWorld.open();
  const secret = "s3cret";
  const { id } = await world.enqueue({ idempotencyKey: secret, input: secret });
  world.callOf(id).begin().call.sink?.progress({ fraction: 0.5, note: secret });
  await world.turn();
  assert.equal((await world.get(id, ownerReader)).note, secret);
  const seen = [JSON.stringify(await world.get(id, other))];
  world.callOf(id).fail("INPUT_INVALID", secret);
  await world.turn();
  seen.push(
    JSON.stringify(await world.get(id, other)),
    JSON.stringify(world.service.list({ limit: 9 }, other)),
  );
  const { inputSha256 } = await world.get(id, operator);
  for (const text of seen) assert(!text.includes(secret) && !text.includes(inputSha256), text);
  const { error } = await world.get(id, ownerReader);
  assert.equal(error?.message, secret);
  const forbidden = { code: "FORBIDDEN" };
  assert.throws(() => world.service.watch(id, 0, other), forbidden);
  assert.throws(() => world.service.logs(id, { limit: 1 }, other), forbidden);
  await assert.rejects(world.service.cancel(id, other.actor, other), forbidden);
  await assert.rejects(world.service.retry(id, other.actor, other), forbidden);
  await assert.rejects(world.service.get("01" + "0".repeat(24), other), { code: "JOB_NOT_FOUND" });
  assert(!JSON.stringify(world.facts).includes(secret));
  await world.finish(world.service.retry(id, operator.actor, operator));
  assert.equal(await world.state(id), "running 2");
});

Deno.test("JobsService.list() pages through what the filters pass, the newest first", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 1 } });
  const jobs = await world.enqueueAll(
    Array.from({ length: 25 }, (_, at) => ({ plugin: at % 5 === 0 ? "q" : "p" })),
  );
  const page = (query: object) => {
    const ids: string[] = [];
    let after: string | undefined;
    for (;;) {
      const { items, next } = world.service.list({ limit: 4, after, ...query }, ownerReader);
      assert(items.length <= 4);
      ids.push(...items.map(({ id }) => id));
      if (next === null) return ids;
      after = next;
    }
  };
  const newest = jobs.map(({ id }) => id).reverse();
  assert.deepEqual(page({}), newest);
  assert.deepEqual(page({ plugin: "q" }), newest.filter((_, at) => at % 5 === 4));
  assert.deepEqual(page({ state: "running" }), [jobs[0]!.id]);
  assert.deepEqual(page({ state: "pending", plugin: "q" }).length, 4);
  assert.deepEqual(page({ plugin: "none" }), []);
  assert.deepEqual(world.service.list({ limit: 4, after: "0" }, ownerReader), { items: [], next: null });
});

Deno.test("Teller: an entry that the ledger has no room for is written later, and the answer waits for it", async () => {
  using world = await JobsWorld.open();
  world.ledger.full = 3;
  const enqueued = world.enqueue();
  for (let pauses = 0; pauses < 4; pauses++) await world.pass(50);
  const { id } = await enqueued;
  assert.deepEqual(world.ledger.of(id), ["enqueued"]);
  assert.equal(world.row(id).untold, 0);
});

Deno.test("Teller: what the ledger does not take is not acknowledged, and is still owed", async () => {
  using world = await JobsWorld.open();
  world.ledger.hasFailed = true;
  await assert.rejects(world.enqueue(), /disk/);
  world.ledger.hasFailed = false;
  await world.crash();
  const [job] = world.service.list({ limit: 9 }, operator).items;
  assert.deepEqual(world.ledger.of(job!.id), ["enqueued"]);
});

Deno.test("JobsService.enqueue() bounds what the jobs of one request depend on, all together", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  const dependsOn = [id];
  const request = jobRequestSchema.parse({ plugin: "p", action: "a", dependsOn });
  const many = Array.from({ length: 4_097 }, () => request);
  await assert.rejects(world.finish(world.service.enqueue(many, owner)), { code: "INPUT_INVALID" });
});
