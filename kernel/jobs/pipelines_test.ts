import assert from "node:assert/strict";
import { openJobsFile } from "../store/testing_jobs_file.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";

const step = (id: string, input: unknown = {}) => ({ id, plugin: "p", action: "a", input });

async function children(world: JobsWorld, parent: string) {
  await world.turn();
  const { items } = world.service.list({ parent, limit: 100 }, operator);
  return new Map(items.map((job) => [job.step, job]));
}

Deno.test("Pipelines: a step at a time, over a crash between them, each step once", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueuePipeline({ steps: [step("s"), step("t", { $from: "s" })] });
  const first = (await children(world, id)).get("s")!;
  world.callOf(first.id).complete({ n: 1 });
  await world.turn();
  await world.crash();
  const second = (await children(world, id)).get("t")!;
  const call = world.callOf(second.id);
  assert.equal(new TextDecoder().decode(call.call.input), '{"n":1}');
  call.complete(2);
  await world.turn();
  assert.deepEqual((await world.get(id)).output, { s: { n: 1 }, t: 2 });
  assert.equal(world.ledger.records.filter(({ type }) => type === "job.completed").length, 3);
});

Deno.test("Pipelines: a cancel goes to all jobs below, and ends when the last has", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 2 } });
  world.ignoresAbort = true;
  const { id } = await world.enqueuePipeline({
    steps: [{ ...step("m"), map: [1, 2, 3, 4] }, step("after")],
  });
  const running = [...world.live];
  assert.equal(running.length, 2);
  const cancelled = world.service.cancel(id, owner, ownerReader);
  await world.turn();
  assert.equal(await world.state(id), "running 1");
  for (const call of running) {
    assert.equal(call.call.signal.aborted, true);
    call.fail("CANCELLED");
    await world.turn();
  }
  assert.equal((await world.finish(cancelled)).value.view.state, "cancelled");
  assert.deepEqual(
    [...(await children(world, id)).values()].map(({ state }) => state),
    Array(4).fill("cancelled"),
  );
  assert.equal(world.live.length, 0);
});

Deno.test("Pipelines: a retry makes again what was lost, and keeps what was completed", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueuePipeline({ steps: [step("s"), step("t"), step("u")] });
  const of = async (key: string) => (await children(world, id)).get(key)!.id;
  world.callOf(await of("s")).complete(1);
  await world.turn();
  const lost = await of("t");
  world.callOf(lost).begin().fail("ACTION_FAILED");
  await world.turn();
  assert.equal(await world.state(id), "failed STEP_FAILED 1");
  await assert.rejects(world.finish(world.service.retry(lost, owner, ownerReader)), { code: "CONFLICT" });
  await world.finish(world.service.retry(id, owner, ownerReader));
  assert.equal(await of("t"), lost);
  world.callOf(lost).complete(2);
  await world.turn();
  world.callOf(await of("u")).complete(3);
  await world.turn();
  assert.deepEqual((await world.get(id)).output, { s: 1, t: 2, u: 3 });
  assert.deepEqual(world.ledger.of(lost), ["enqueued", "failed", "completed"]);
});

// Its jobs must not go on without it.
Deno.test("Pipelines: one that is cancelled before its retry began leaves nothing running", async () => {
  using world = await JobsWorld.open({ config: { pipelinesMax: 1 } });
  const { id } = await world.enqueuePipeline({ steps: [step("s")] });
  world.live[0]!.begin().fail("ACTION_FAILED");
  await world.turn();
  await world.enqueuePipeline({ steps: [step("s")] });
  await world.finish(world.service.retry(id, owner, ownerReader));
  assert.equal(await world.state(id), "pending turn 1");
  assert.equal(world.live.length, 1, "only that of the other");
  await world.finish(world.service.cancel(id, owner, ownerReader));
  assert.equal((await children(world, id)).get("s")!.state, "failed");
  assert.equal(await world.state(id), "cancelled 1");
});

Deno.test("Pipelines: one whose stored plan cannot be read fails, and the kernel starts", async () => {
  using world = await JobsWorld.open();
  const { id } = await world.enqueuePipeline({ steps: [step("s")] });
  const row = world.row(id);
  using file = openJobsFile(
    `${world.folder}/jobs.db`,
    "normal",
  );
  file.prepare("UPDATE job_data SET input = ? WHERE seq = ?").run(
    new TextEncoder().encode('{"steps":7}'),
    row.seq,
  );
  await world.crash();
  assert.deepEqual(world.fatal, []);
  assert.equal(await world.state(id), "failed INTERNAL 1");
  assert.equal(world.live.length, 0);
});
