/**
 * Pipelines over HTTP: plans that run as one job with a tree of jobs below it, the same each time, over failures,
 * cancels and the ends of the kernel.
 *
 * @module
 */
import { deepEqual, equal, match } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, killKernel, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  endedAll,
  eventsOf,
  open,
  order,
  patienceMs,
  reaches,
  traced,
  traceOf,
  workerPackage,
} from "../support/jobs.ts";

type Row = readonly [behaviour: string, check: (airlock: Airlock) => Promise<void>];

const step = (id: string, action: string, input: unknown = {}, more = {}) => ({
  ...{ id, plugin: "worker", action, input },
  ...more,
});
const from = (id: string, path = "") => ({ $from: id, path });

async function enqueue(airlock: Airlock, steps: unknown[], more = {}): Promise<JobView> {
  const { status, body } = await airlock.request<JobView>("POST", "/v1/pipelines", { steps, ...more });
  equal(status, 202, JSON.stringify(body));
  return body;
}

/** The jobs below it, by their steps. */
async function stepsOf(airlock: Airlock, { id }: { id: string }): Promise<Map<string | null, JobView>> {
  const { body } = await airlock.request<{ items: JobView[] }>("GET", `/v1/jobs?parent=${id}&limit=1000`);
  return new Map(body.items.map((job) => [job.step, job]));
}

/** Each step's state and attempts. */
async function shownSteps(airlock: Airlock, job: { id: string }): Promise<Record<string, unknown>> {
  const steps = [...await stepsOf(airlock, job)].sort(([a], [b]) => `${a}` < `${b}` ? -1 : 1);
  return Object.fromEntries(steps.map(([key, { state, attempt }]) => [key, `${state} ${attempt}`]));
}

/** 50 steps, each with the output of the one before, and 20 side by side. */
const long = [
  step("s0", "double", { value: { $input: "/value" } }),
  ...Array.from({ length: 49 }, (_, n) => step(`s${n + 1}`, "echo", { was: from(`s${n}`), n })),
  { parallel: Array.from({ length: 20 }, (_, n) => step(`f${n}`, "double", { value: n })) },
  step("join", "sum", { values: Array.from({ length: 20 }, (_, n) => from(`f${n}`)) }),
];

const rows: readonly Row[] = [
  ["50 steps in a row and 20 side by side have the same hashes in each run", async (airlock) => {
    const runs = [];
    for (let run = 0; run < 3; run++) {
      const done = await ended(airlock, await enqueue(airlock, long, { input: { value: 4 } }));
      equal(done.state, "completed", JSON.stringify(done.error));
      const steps = [...await stepsOf(airlock, done)].map(([key, { inputSha256, outputSha256, parent }]) => {
        equal(parent, done.id);
        return [key, inputSha256, outputSha256].join();
      });
      equal(steps.length, 71);
      const output = done.output as Record<string, unknown>;
      deepEqual([output["s0"], output["join"], output["f19"]], [8, 380, 38]);
      deepEqual(Object.keys(output).slice(0, 3), ["s0", "s1", "s2"], "in the order of the plan");
      runs.push([done.planSha256, done.outputSha256, done.inputSha256, steps.sort()]);
    }
    deepEqual(runs[1], runs[0]);
    deepEqual(runs[2], runs[0]);
    const other = await enqueue(airlock, long, { input: { value: 5 } });
    equal(other.planSha256 === runs[0]?.[0], false);
    await order(airlock, "cancel", other);
  }],
  ["a step with a map runs for each item, and the next has their outputs in order", async (airlock) => {
    const done = await ended(
      airlock,
      await enqueue(airlock, [
        step("list", "echo", { items: [3, 1, 2] }),
        step("each", "double", { value: { $item: "" } }, { map: from("list", "/items") }),
        step("none", "echo", { $item: "" }, { map: [] }),
        step("join", "sum", { values: from("each") }),
        step("last", "echo", { all: from("each"), second: from("each", "/1"), none: from("none") }),
      ]),
    );
    const { output } = done as { output: Record<string, unknown> };
    deepEqual([output["each"], output["join"], output["none"]], [[6, 2, 4], 12, []]);
    deepEqual(output["last"], { all: [6, 2, 4], second: 2, none: [] });
    deepEqual(await shownSteps(airlock, done), {
      ...{ "each[0]": "completed 1", "each[1]": "completed 1", "each[2]": "completed 1" },
      ...{ join: "completed 1", last: "completed 1", list: "completed 1" },
    });
    await checkLedger(airlock, [done, ...(await stepsOf(airlock, done)).values()]);
  }],
  ["a step that fails stops its pipeline, or is passed over", async (airlock) => {
    const steps = [
      step("first", "echo", 1),
      { parallel: [step("bad", "fail", { text: "on purpose" }), step("good", "echo", 2)] },
      step("after", "echo", { bad: from("bad"), good: from("good") }),
    ];
    const stopped = await ended(airlock, await enqueue(airlock, steps));
    deepEqual([stopped.state, stopped.error?.code], ["failed", "STEP_FAILED"]);
    match(stopped.error?.message ?? "", /step "bad": it failed with ACTION_FAILED/);
    equal((await stepsOf(airlock, stopped)).has("after"), false);
    const continued = await ended(airlock, await enqueue(airlock, steps, { onFailure: "continue" }));
    deepEqual([continued.state, continued.output], ["completed", {
      ...{ first: 1, bad: null, good: 2, after: { bad: null, good: 2 } },
    }]);
    const holes = await ended(
      airlock,
      await enqueue(airlock, [
        step("each", "strict", { $item: "" }, {
          map: [1, "no number", 3],
          onFailure: "continue",
          retry: { attempts: 1 },
        }),
      ]),
    );
    deepEqual(holes.output, { each: [1, null, 3] });
  }],
  ["a failure cancels the steps that run beside it", async (airlock) => {
    const beside = step("beside", "heeding", { name: "beside" });
    const bad = step("bad", "mended", { gate: "none" }, { retry: { attempts: 3, backoffMs: 50 } });
    const done = await ended(airlock, await enqueue(airlock, [{ parallel: [beside, bad] }]));
    equal(done.error?.code, "STEP_FAILED");
    equal((await stepsOf(airlock, done)).get("beside")?.state, "cancelled");
  }],
  ["a pipeline that is cancelled takes its steps along", async (airlock) => {
    const job = await enqueue(airlock, [
      { parallel: [step("a", "heeding", { name: "a" }), step("b", "heeding", { name: "b" })] },
      step("never", "echo"),
    ]);
    await until("both run", async () => {
      const states = [...(await stepsOf(airlock, job)).values()].map(({ state }) => state);
      return states.length === 2 && states.every((state) => state === "running");
    }, patienceMs);
    const cancelled = await order(airlock, "cancel", job);
    equal(cancelled.state, "cancelled");
    deepEqual(await order(airlock, "cancel", job), cancelled);
    deepEqual(await shownSteps(airlock, job), { a: "cancelled 1", b: "cancelled 1" });
    await checkLedger(airlock, [cancelled, ...(await stepsOf(airlock, job)).values()]);
  }],
  ["a pipeline that failed is tried again from where it was", async (airlock) => {
    const job = await enqueue(airlock, [
      step("before", "gated", { name: "before", gate: "before" }),
      step("bad", "mended", { gate: "pipeline mended" }),
      step("after", "echo", from("bad")),
    ]);
    await traced(airlock, "+before");
    open(airlock, "before");
    equal((await ended(airlock, job)).error?.code, "STEP_FAILED");
    const [, bad] = [...(await stepsOf(airlock, job)).values()].sort((a, b) => a.id < b.id ? -1 : 1);
    const part = await airlock.request<Problem>("POST", `/v1/jobs/${bad!.id}/retry`);
    deepEqual([part.status, part.body.code], [409, "CONFLICT"], "a part is tried again with the whole");
    open(airlock, "pipeline mended");
    await order(airlock, "retry", job);
    const done = await ended(airlock, job);
    deepEqual([done.state, done.output], ["completed", { before: "before", bad: "mended", after: "mended" }]);
    deepEqual(await shownSteps(airlock, job), {
      ...{ after: "completed 1", bad: "completed 2", before: "completed 1" },
    });
    equal(traceOf(airlock).filter((line) => line === "+before").length, 1);
    const retries = (await airlock.records()).filter(({ type, data }) =>
      type === "job.ordered" && data["job"] === job.id
    );
    equal(retries.length, 1);
  }],
  ["a plan that cannot be carried out is refused, with the path of its fault", async (airlock) => {
    const refused: [unknown, number, string][] = [
      [{ steps: [] }, 422, "INPUT_INVALID"],
      [{ steps: [step("a", "echo"), step("a", "echo")] }, 422, "INPUT_INVALID"],
      [{ steps: [step("a", "echo", from("b")), step("b", "echo")] }, 422, "INPUT_INVALID"],
      [{ steps: [{ parallel: [step("a", "echo"), step("b", "echo", from("a"))] }] }, 422, "INPUT_INVALID"],
      [{ steps: [step("a", "none")] }, 404, "ACTION_NOT_FOUND"],
      [{ steps: [step("a", "echo", {}, { plugin: "none" })] }, 404, "PLUGIN_NOT_FOUND"],
      [{ steps: [step("a", "echo", {}, { surprise: 1 })] }, 422, "INPUT_INVALID"],
    ];
    for (const [body, status, code] of refused) {
      const answer = await airlock.request<Problem>("POST", "/v1/pipelines", body);
      deepEqual([answer.status, answer.body.code], [status, code], JSON.stringify(body));
    }
    const many = await ended(
      airlock,
      await enqueue(airlock, [step("each", "echo", {}, { map: [1, 2, 3] })], { stepsMax: 2 }),
    );
    deepEqual([many.state, many.error?.code, (await stepsOf(airlock, many)).size], [
      ...["failed", "INPUT_INVALID", 0],
    ]);
  }],
];

const start = () =>
  Airlock.start({
    args: ["--tier", "process"],
    config: { cells: { restartBackoffMs: 10, breakerFailures: 1_000 } },
    plugins: { worker: workerPackage("worker", { restart: { max: 1_000 } }) },
  });

Deno.test("pipelines: over HTTP", async (t) => {
  await using airlock = await start();
  for (const [behaviour, check] of rows) await t.step(behaviour, () => check(airlock));
});

Deno.test("pipelines: when the kernel is killed in the middle, they go on where they were", async () => {
  await using airlock = await start();
  const gates = Array.from({ length: 4 }, (_, n) => `gate${n}`);
  const job = await enqueue(airlock, [
    step("one", "again", { name: "one", gate: "gate0" }),
    {
      parallel: [
        step("left", "again", { name: "left", gate: "gate1" }),
        [
          step("right", "again", { name: "right", gate: "gate0" }),
          step("deep", "echo", from("right")),
          step("each", "again", { name: { $item: "" }, gate: "gate1" }, { map: ["x", "y"] }),
        ],
      ],
    },
    step("last", "again", { name: "last", gate: "gate2" }),
    step("end", "echo", [from("left"), from("each"), from("last")]),
  ]);
  await traced(airlock, "+one");
  await killKernel(airlock, patienceMs);
  open(airlock, gates[0]!);
  for (const name of ["left", "x", "y"]) await traced(airlock, `+${name}`);
  await killKernel(airlock, patienceMs);
  open(airlock, gates[1]!);
  await traced(airlock, "+last");
  await reaches(airlock, job, "running");
  await killKernel(airlock, patienceMs);
  open(airlock, gates[2]!);
  const done = await ended(airlock, job);
  deepEqual([done.state, (done.output as Record<string, unknown>)["end"]], [
    ...["completed", ["left", ["x", "y"], "last"]],
  ]);
  equal(done.attempt, 1, "it was taken over, not begun again");
  const trace = traceOf(airlock);
  for (const name of ["one", "left", "right", "x", "y", "last"]) {
    equal(trace.filter((line) => line === `-${name}`).length, 1, `${name} was done once`);
  }
  const steps = [...(await stepsOf(airlock, job)).values()];
  equal(steps.length, 8);
  await checkLedger(airlock, [done, ...await endedAll(airlock, steps)]);
  const events = (await eventsOf(airlock, job)).map(({ event }) => event);
  deepEqual(events, ["JOB_QUEUED", "JOB_STARTED", "JOB_COMPLETED"]);
});
