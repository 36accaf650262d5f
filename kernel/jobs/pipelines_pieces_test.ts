import assert from "node:assert/strict";
import { storedPlan } from "./pipelines.ts";
import { pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { KeptRuns } from "./pipeline/kept_runs.ts";
import { compilePlan } from "./pipeline/compile_plan.ts";
import { PipelineRun } from "./pipeline/pipeline_run.ts";
import { JobsWorld, operator, owner, ownerReader } from "./testing_jobs_world.ts";
import { rowsPerCommit } from "./work_budget.ts";

const step = (id: string, more: object = {}) => ({ id, plugin: "p", action: "a", ...more });

/** Jobs that each commit told of, as the feed gets them. */
function countCommits(world: JobsWorld): number[] {
  const told: number[] = [];
  let before = world.facts.length;
  let { now } = world;
  // It is set at the end of each commit.
  Object.defineProperty(world, "now", {
    configurable: true,
    get: () => now,
    set(next: typeof now) {
      now = next;
      told.push(world.facts.length - before);
      before = world.facts.length;
    },
  });
  return told;
}

const states = (world: JobsWorld, id: string) => {
  const counts: Record<string, number> = {};
  for (const { state } of world.store.jobs.stepEnds(world.row(id).seq)) {
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
};

Deno.test("Pipelines: a map of many is made, cancelled and made again in commits that the feed can hold", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 2 } });
  world.terms.set("p", { wallMs: 10_000_000 });
  const told = countCommits(world);
  const items = 5_000;
  const { id } = await world.enqueuePipeline({
    stepsMax: items,
    steps: [step("m", { map: Array(items).fill(0) })],
  });
  assert.deepEqual(states(world, id), { pending: items - 2, running: 2 });
  assert(told.length > 4, "in several");
  assert.deepEqual(
    (await world.finish(world.service.cancel(id, owner, ownerReader))).value.view.state,
    "cancelled",
  );
  assert.deepEqual(states(world, id), { cancelled: items });
  await world.finish(world.service.retry(id, owner, ownerReader));
  assert.deepEqual(states(world, id), { pending: items - 2, running: 2 });
  assert(told.every((count) => count <= 2 * rowsPerCommit), told.join());
  assert.deepEqual(world.fatal, []);
});

Deno.test("Pipelines: a retry that a crash cuts between two pieces goes on where it was, each job once", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 1 } });
  world.terms.set("p", { wallMs: 10_000_000, concurrency: 1 });
  const items = 2_500;
  const { id } = await world.enqueuePipeline({
    stepsMax: items,
    steps: [step("m", { map: Array(items).fill(0) })],
  });
  world.live[0]!.complete(1);
  await world.turn();
  await world.finish(world.service.cancel(id, owner, ownerReader));
  const retried = world.service.retry(id, owner, ownerReader);
  retried.catch(() => {});
  // As many turns as bring it to the middle.
  await world.turn(() => world.store.jobs.redrives().some(({ after }) => after !== ""));
  const middle = states(world, id);
  assert(middle.cancelled! > 0 && middle.cancelled! < items, JSON.stringify(middle));
  await world.crash();
  assert.deepEqual(states(world, id), { completed: 1, pending: items - 2, running: 1 });
  assert.deepEqual(world.store.jobs.redrives(), []);
  assert.equal(await world.state(id), "running 2");
});

// Their plans and inputs may be much larger in memory than they are on disk.
Deno.test("Pipelines: a start makes the runs of a few large pipelines in each commit", async () => {
  using world = await JobsWorld.open();
  const input = Array(200_000).fill({});
  for (let pipelines = 0; pipelines < 12; pipelines++) {
    await world.enqueuePipeline({ input, steps: [step("s")] });
  }
  let made = 0;
  let { store } = world;
  Object.defineProperty(world, "store", {
    get: () => store,
    set(next: typeof store) {
      store = next;
      const { stepEnds } = store.jobs;
      Object.assign(store.jobs, { stepEnds: (parent: number) => (made++, stepEnds(parent)) });
    },
  });
  const commits: number[] = [];
  Object.defineProperty(world, "now", {
    set() {
      commits.push(made);
      made = 0;
    },
  });
  await world.crash();
  assert.equal(commits.reduce((sum, count) => sum + count), 12);
  assert(commits.every((count) => count <= 4), commits.join());
});

// Each end looks at the pipeline again.
Deno.test("Pipelines: once all its jobs were told to stop, an end looks at none of the others", async () => {
  using world = await JobsWorld.open({ config: { runningMax: 40 } });
  world.terms.set("p", { concurrency: 40 });
  world.ignoresAbort = true;
  const { id } = await world.enqueuePipeline({ steps: [step("m", { map: Array(40).fill(0) })] });
  const cancelled = world.service.cancel(id, owner, ownerReader);
  await world.turn();
  const rows: number[] = [];
  const { openChildren } = world.store.jobs;
  Object.assign(world.store.jobs, {
    openChildren: (parent: number, limit: number) => {
      const found = openChildren(parent, limit);
      rows.push(found.length);
      return found;
    },
  });
  for (const call of [...world.live]) {
    call.fail("CANCELLED");
    await world.turn();
  }
  await world.finish(cancelled);
  assert(rows.length >= 16 && rows.every((count) => count === 0), rows.join());
  assert.equal(await world.state(id), "cancelled 1");
});

Deno.test("Pipelines: while the file is full a pipeline gets no new jobs, and goes on when there is room", async () => {
  const config = { bytesMax: 1_000_000, retentionMs: 1_000 };
  using world = await JobsWorld.open({ config });
  const large = await world.enqueue({ input: "x".repeat(1_200_000) });
  await assert.rejects(world.enqueuePipeline({ steps: [step("s")] }), { code: "QUEUE_FULL" });
  world.callOf(large.id).complete();
  await world.turn();
  for (let passes = 0; passes < 4; passes++) await world.pass(1_000);
  const { id } = await world.enqueuePipeline({ steps: [step("s"), step("t")] });
  const first = world.live[0]!;
  first.begin();
  // Above the reserve, too, that what was accepted has for its tokens.
  const other = await world.enqueue({ plugin: "q", input: "x".repeat(1_300_000) });
  first.complete(1);
  await world.turn();
  world.callOf(other.id).begin();
  await world.pass(1_000);
  assert.equal(states(world, id).completed, 1);
  assert.equal(Object.values(states(world, id)).length, 1, "the second step is not there");
  // What a plugin says is refused, and its job fails of that.
  await world.callOf(other.id).call.sink?.token('"t"');
  await world.turn();
  assert.equal(await world.state(other.id), "failed LIMIT_OUTPUT 1");
  for (let passes = 0; passes < 6; passes++) await world.pass(1_000);
  assert.deepEqual(states(world, id), { completed: 1, running: 1 });
  const { items } = world.service.list({ parent: id, limit: 9 }, operator);
  world.callOf(items[0]!.id).complete(2);
  await world.turn();
  assert.deepEqual((await world.get(id)).output, { s: 1, t: 2 });
});

Deno.test("KeptRuns drops the runs that were used least recently, by what they were made of", () => {
  const kept = new KeptRuns(1_000_000);
  const create = (values: number) => {
    const request = pipelineRequestSchema.parse({ steps: [step("s")], input: Array(values).fill({}) });
    const limits = { inputBytesMax: 9, outputBytesMax: 9, batchBytesMax: 9 };
    const plan = compilePlan(request, { depthMax: 1 });
    const run = new PipelineRun({ plan, input: request.input, outputOf: () => "1", limits });
    return { run, stored: new TextEncoder().encode(storedPlan(request)) };
  };
  // 128 bytes of memory for 3 of its text, about.
  for (const seq of [1, 2, 3]) {
    const { run, stored } = create(3_000);
    kept.set(seq, run, stored);
    if (seq === 2) kept.get(1);
  }
  assert.deepEqual([1, 2, 3].map((seq) => kept.get(seq) !== undefined), [true, false, true]);
  assert(kept.bytes > 700_000 && kept.bytes <= 1_000_000, `${kept.bytes}`);
  const { run, stored } = create(100_000);
  kept.set(4, run, stored);
  assert.deepEqual([kept.size, kept.get(4)], [1, run], "one stays, however large");
});

Deno.test("storedPlan() refuses a plan of more values than may be kept in memory", () => {
  const request = pipelineRequestSchema.parse({ steps: [step("s")] });
  const input = Array(500_001).fill([]);
  assert.throws(() => storedPlan({ ...request, input }), { code: "INPUT_INVALID" });
  assert(storedPlan({ ...request, input: input.slice(0, 400_000) }).length > 0);
});
