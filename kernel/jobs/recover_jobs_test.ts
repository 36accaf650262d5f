import assert from "node:assert/strict";
import { JobTraces } from "./job_traces.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";

for (const isIdempotent of [false, true]) {
  for (const hasBegun of [false, true]) {
    for (const cancelRequested of [false, true]) {
      const name = [
        isIdempotent ? "idempotent" : "not idempotent",
        hasBegun ? "begun" : "not begun",
        ...(cancelRequested ? ["cancel requested"] : []),
      ].join(", ");
      Deno.test(`recoverJobs() settles what ran when the kernel was killed: ${name}`, async () => {
        using world = await JobsWorld.open();
        world.terms.set("p", { isIdempotent });
        world.ignoresAbort = true;
        const { id } = await world.enqueue();
        if (hasBegun) world.callOf(id).begin();
        if (cancelRequested) {
          world.service.cancel(id, owner, ownerReader).catch(() => {});
          await world.turn();
          assert.equal((await world.get(id)).cancelRequested, true);
        }
        await world.crash();
        const again = isIdempotent ? "pending time 1" : "failed JOB_INTERRUPTED 1";
        const expected = cancelRequested ? "cancelled 1" : hasBegun ? again : "running 1";
        assert.equal(await world.state(id), expected);
        await world.pass(1_000);
        if (hasBegun && isIdempotent && !cancelRequested) assert.equal(await world.state(id), "running 2");
        await world.crash();
        assert.equal(world.ledger.of(id)[0], "enqueued");
        assert(world.ledger.ends(id) <= 1);
      });
    }
  }
}

Deno.test("recoverJobs(): interruptions are free only so often, and then cost attempts", async () => {
  using world = await JobsWorld.open({ config: { interruptionsMax: 2 } });
  world.terms.set("p", { isIdempotent: true });
  const { id } = await world.enqueue({ retry: { attempts: 2, backoffMs: 0 } });
  const states: string[] = [];
  for (let lives = 0; lives < 4; lives++) {
    world.callOf(id).begin();
    await world.crash();
    states.push(await world.state(id));
  }
  assert.deepEqual(states, ["running 2", "running 3", "running 4", "failed JOB_INTERRUPTED 4"]);
});

for (const state of ["turn", "time", "jobs", "key"] as const) {
  Deno.test(`recoverJobs() leaves what waits where it is: ${state}`, async () => {
    using world = await JobsWorld.open({ config: { runningMax: 1 } });
    const first = await world.enqueue({ concurrency: { key: "k", max: 1 } });
    if (state === "key") {
      await world.crash();
      world.terms.set("p", {});
    }
    const request = {
      turn: {},
      time: { delayMs: 1_000 },
      jobs: { dependsOn: [first.id] },
      key: {},
    }[state];
    const { id } = await world.enqueue(request);
    const expected = `pending ${state === "key" ? "turn" : state} 0`;
    assert.equal(await world.state(id), expected);
    await world.crash();
    assert.equal(await world.state(id), expected);
    world.callOf(first.id).complete();
    await world.turn();
    await world.pass(1_000);
    assert.equal(await world.state(id), "running 1");
  });
}

Deno.test("recoverJobs(): a job that waits for its key goes on when the kernel was killed under the one before", async () => {
  using world = await JobsWorld.open();
  const concurrency = { key: "k", max: 1 };
  const first = await world.enqueue({ concurrency });
  const second = await world.enqueue({ concurrency });
  assert.equal(await world.state(second.id), "pending key 0");
  world.callOf(first.id).begin();
  await world.crash();
  assert.equal(await world.state(first.id), "failed JOB_INTERRUPTED 1");
  assert.equal(await world.state(second.id), "running 1");
});

// The entry is in the ledger, and the process dies before the row says so.
for (const end of ["completed", "failed", "cancelled"] as const) {
  Deno.test(`tellOwed() writes no second entry for what the ledger has: ${end}`, async () => {
    using world = await JobsWorld.open();
    const { id } = await world.enqueue();
    world.ledger.isHeld = true;
    const call = world.callOf(id).begin();
    if (end === "completed") call.complete();
    if (end === "failed") call.fail("INPUT_INVALID");
    if (end === "cancelled") {
      world.ledger.letGo();
      const cancelled = world.service.cancel(id, owner, ownerReader);
      await world.turn();
      await cancelled;
      world.store.transact(() => world.store.jobs.save({ ...world.row(id), untold: 3 }));
      await world.crash();
      assert.deepEqual(world.ledger.of(id), ["enqueued", "ordered", "cancelled"]);
      return;
    }
    await world.turn();
    assert.deepEqual(world.ledger.of(id), ["enqueued"]);
    await world.crash();
    assert.deepEqual(world.ledger.of(id), ["enqueued", end], "what was owed is written");
    world.store.transact(() => world.store.jobs.save({ ...world.row(id), untold: 3 }));
    await world.crash();
    assert.deepEqual(world.ledger.of(id), ["enqueued", end]);
    assert.equal(world.row(id).untold, 0);
  });
}

Deno.test("tellOwed(): a redriven job that ends with as many attempts as before has an entry of its own", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue({ delayMs: 1_000 });
  await world.finish(world.service.cancel(id, owner, ownerReader));
  world.jobs.close();
  await world.finish(world.service.retry(id, owner, ownerReader));
  world.store.transact(() => {
    const row = world.row(id);
    world.store.jobs.save({ ...row, state: "cancelled", wait: null, endedAtMs: 1, untold: 2 });
  });
  await world.crash();
  assert.deepEqual(world.ledger.of(id), ["enqueued", "ordered", "cancelled", "ordered", "cancelled"]);
});

Deno.test("recoverJobs(): a pipeline that is taken over owes no entry that was written meanwhile", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueuePipeline({ steps: [{ id: "s", plugin: "p", action: "a" }] });
  world.store.transact(() => world.store.jobs.save({ ...world.row(id), untold: 1 }));
  await world.crash();
  assert.equal(world.row(id).untold, 0);
  assert.deepEqual(world.ledger.of(id), ["enqueued"]);
});

const taken = (seq: number, type: string, data: Record<string, string | number>) =>
  ({ seq, type, data }) as never;

const accepted = (seq: number, request: string) => taken(seq, "call.accepted", { request });

Deno.test("JobTraces.hasBegun() says yes where what was read reaches back neither to the job nor to the last life", () => {
  const traces = new JobTraces();
  traces.take(accepted(7, "x-1"));
  assert.equal(traces.hasBegun({ id: "y", leaseToken: 1 }), true);
  traces.take(taken(8, "job.enqueued", { job: "z" }));
  assert.equal(traces.hasBegun({ id: "z", leaseToken: 1 }), false, "its attempts would stand after it");
  traces.take(taken(9, "kernel.started", {}));
  assert.equal(
    traces.hasBegun({ id: "y", leaseToken: 1 }),
    true,
    "that start may not have come as far as to settle it",
  );
  traces.take(accepted(10, "y-2"));
  assert.equal(traces.hasBegun({ id: "y", leaseToken: 2 }), true);
  assert.equal(traces.hasBegun({ id: "y", leaseToken: 3 }), false);
  assert.equal(traces.hasBegun({ id: "x", leaseToken: 1 }), true, "no lease is another life's");
});

Deno.test("JobTraces keeps the newest traces, and counts what it dropped as not read", () => {
  const traces = new JobTraces();
  traces.take(taken(0, "ledger.created", {}));
  traces.take(taken(1, "job.enqueued", { job: "old" }));
  traces.take(accepted(2, "old-1"));
  assert.equal(traces.hasBegun({ id: "old", leaseToken: 2 }), false);
  for (let seq = 3; seq < 200_010; seq++) traces.take(accepted(seq, `other-${seq}`));
  assert.equal(traces.hasBegun({ id: "old", leaseToken: 1 }), true);
  assert.equal(traces.hasBegun({ id: "old", leaseToken: 2 }), true);
  assert.equal(traces.isTold({ id: "old", attempt: 1 }, "enqueued"), false);
  traces.take(taken(200_010, "job.enqueued", { job: "new" }));
  assert.equal(traces.hasBegun({ id: "new", leaseToken: 1 }), false);
  traces.forget();
  assert.equal(traces.isTold({ id: "new", attempt: 1 }, "enqueued"), false);
});

// Nobody knows of a call whose `call.accepted` is durable, and that no cell took, that its number was given back.
for (const isIdempotent of [false, true]) {
  Deno.test(`recoverJobs(): an attempt that was given back leaves no trace for the next, idempotent: ${isIdempotent}`, async () => {
    using world = await JobsWorld.open();
    world.terms.set("p", { isIdempotent });
    const { id } = await world.enqueue();
    const { request } = world.callOf(id).call;
    world.ledger.records.push({ type: "call.accepted", actor: owner, data: { action: "a", request } });
    world.callOf(id).fail("PLUGIN_STOPPED");
    await world.turn();
    assert.equal(await world.state(id), "pending turn 0");
    await world.pass(1_000);
    assert.equal(await world.state(id), "running 1");
    await world.crash();
    assert.equal(await world.state(id), "running 1", "given back, and claimed");
    world.callOf(id).complete();
    await world.turn();
    const requests = world.ledger.records.filter(({ type }) => type === "call.accepted").map(({ data }) =>
      data.request
    );
    assert.deepEqual(requests, [`${id}-1`, `${id}-3`]);
  });
}

Deno.test("recoverJobs() goes by the policy as it was when the attempt was claimed", async () => {
  using world = await JobsWorld.open({ config: { interruptionsMax: 0 } });
  const retry = { attempts: 2, backoffMs: 0 };
  world.terms.set("p", { isIdempotent: true, retry });
  const { id } = await world.enqueue();
  assert.deepEqual(world.row(id).policy, retry);
  world.callOf(id).begin();
  world.terms.clear();
  await world.crash();
  assert.equal(await world.state(id), "running 2");
  world.callOf(id).begin().fail("ACTION_FAILED");
  await world.turn();
  assert.deepEqual([await world.state(id), world.row(id).policy], ["failed ACTION_FAILED 2", null]);
});

Deno.test("recoverJobs(): what it ends is counted, and the traces are gone when the start is over", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).begin();
  await world.crash();
  assert.deepEqual(world.ended, ["failed"]);
  assert.equal(world.traces.isTold({ id, attempt: 1 }, "enqueued"), false);
});

Deno.test("JobTraces.isTold(): an end before a redrive of the job or of its pipeline is not its next", () => {
  const traces = new JobTraces();
  traces.take(taken(0, "job.failed", { job: "c", attempt: 1 }));
  traces.take(taken(1, "job.failed", { job: "p", attempt: 1 }));
  assert.equal(traces.isTold({ id: "c", attempt: 1 }, "ended", "p"), true);
  traces.take(taken(2, "job.ordered", { job: "p", verb: "retry" }));
  assert.equal(traces.isTold({ id: "c", attempt: 1 }, "ended", "p"), false);
  assert.equal(traces.isTold({ id: "p", attempt: 1 }, "ended"), false);
  traces.take(taken(3, "job.ordered", { job: "p", verb: "cancel" }));
  traces.take(taken(4, "job.cancelled", { job: "c", attempt: 1 }));
  assert.equal(traces.isTold({ id: "c", attempt: 1 }, "ended", "p"), true);
  assert.equal(traces.isTold({ id: "c", attempt: 2 }, "ended", "p"), false);
});

Deno.test("JobTraces: a store that was left behind is told of nothing twice", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueue();
  world.callOf(id).complete();
  await world.turn();
  for (let lives = 0; lives < 3; lives++) await world.crash();
  assert.deepEqual(world.ledger.of(id), ["enqueued", "completed"]);
  assert.equal((await world.get(id, operator)).state, "completed");
});
