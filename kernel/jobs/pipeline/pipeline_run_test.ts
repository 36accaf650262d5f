import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { pipelineRequestSchema } from "../../../schemas/pipeline.ts";
import { compilePlan } from "./compile_plan.ts";
import { PipelineRun, type PipelineSource, type StepState } from "./pipeline_run.ts";

const step = (id: string, more: object = {}) => ({ id, plugin: "p", action: "run", ...more });
const wide = { inputBytesMax: 1_000_000, outputBytesMax: 1_000_000, batchBytesMax: 1_000_000 };

/** The pipeline, and what its jobs gave. */
function sourceOf(request: object, outputs: Record<string, unknown> = {}, limits = {}): PipelineSource {
  const parsed = pipelineRequestSchema.parse(request);
  return {
    plan: compilePlan(parsed, { depthMax: 8 }),
    input: parsed.input,
    outputOf: (key) => {
      ok(Object.hasOwn(outputs, key), key);
      return JSON.stringify(outputs[key]);
    },
    limits: { ...wide, ...limits },
  };
}

const statesOf = (states: Record<string, StepState["state"]>) =>
  new Map(Object.entries(states).map(([key, state]) => [key, { state, code: "ACTION_FAILED" as const }]));

/** What a run says that is made of these states. */
function nextSteps(source: PipelineSource, states: ReadonlyMap<string, StepState>) {
  const run = new PipelineRun(source);
  for (const [key, state] of states) run.set(key, state);
  return run.next();
}

/** As it reads best: inputs parsed, and nothing that is empty. */
interface Said {
  readonly enqueue: Readonly<Record<string, unknown>>;
  readonly cancel?: boolean;
  readonly faults?: readonly string[];
  readonly more?: boolean;
  readonly output?: unknown;
  readonly failed?: string;
}

function next(source: PipelineSource, states: Record<string, StepState["state"]> = {}): Said {
  const { enqueue, cancel, faults, more, outcome } = nextSteps(source, statesOf(states));
  return {
    enqueue: Object.fromEntries(enqueue.map(({ key, inputJson }) => [key, JSON.parse(inputJson)])),
    ...(cancel ? { cancel } : {}),
    ...(faults.length > 0 ? { faults: faults.map(({ message }) => message) } : {}),
    ...(more ? { more } : {}),
    ...(outcome === undefined
      ? {}
      : outcome.state === "completed"
      ? { output: JSON.parse(outcome.outputJson) }
      : { failed: `${outcome.code} ${outcome.step}: ${outcome.message}` }),
  };
}

Deno.test("PipelineRun.next() goes through sequence, parallel and join, and gives each its input", () => {
  const request = {
    input: { n: 7 },
    steps: [
      step("a", { input: { n: { $input: "/n" } } }),
      {
        parallel: [step("b", { input: [{ $from: "a" }] }), [
          step("c", { input: { $from: "a", path: "/x/0" } }),
        ]],
      },
      step("d", { input: { b: { $from: "b" }, c: { $from: "c" }, l: { $literal: { $from: "b" } } } }),
    ],
  };
  const source = sourceOf(request, { a: { x: [1] }, b: "b", c: null, d: { ok: true } });
  deepEqual(next(source), { enqueue: { a: { n: 7 } } });
  deepEqual(next(source, { a: "running" }), { enqueue: {} });
  deepEqual(next(source, { a: "completed" }), { enqueue: { b: [{ x: [1] }], c: 1 } });
  deepEqual(next(source, { a: "completed", b: "pending" }), { enqueue: { c: 1 } });
  deepEqual(next(source, { a: "completed", b: "completed", c: "running" }), { enqueue: {} });
  const before = { a: "completed", b: "completed", c: "completed" } as const;
  deepEqual(next(source, before), { enqueue: { d: { b: "b", c: null, l: { $from: "b" } } } });
  deepEqual(next(source, { ...before, d: "completed" }), {
    enqueue: {},
    output: { a: { x: [1] }, b: "b", c: null, d: { ok: true } },
  });
});

Deno.test("PipelineRun.next() runs a map once for each item, and its output is their list", () => {
  const map = { map: { $from: "list" }, input: { v: { $item: "/v" }, i: { $index: true } } };
  const source = sourceOf({ steps: [step("list"), step("each", map)] }, {
    list: [{ v: "a" }, { v: [1] }],
    "each[0]": "A",
    "each[1]": "B",
  });
  deepEqual(next(source, { list: "completed" }), {
    enqueue: { "each[0]": { v: "a", i: 0 }, "each[1]": { v: [1], i: 1 } },
  });
  deepEqual(next(source, { list: "completed", "each[0]": "completed" }), {
    enqueue: { "each[1]": { v: [1], i: 1 } },
  });
  deepEqual(next(source, { list: "completed", "each[1]": "completed", "each[0]": "completed" }), {
    enqueue: {},
    output: { list: [{ v: "a" }, { v: [1] }], each: ["A", "B"] },
  });
});

Deno.test("PipelineRun.next() takes the items of a map from its plan, references and all, or the input", () => {
  const source = sourceOf({
    input: { l: ["x"] },
    steps: [
      step("a"),
      step("b", { map: [{ $from: "a", path: "/q" }, 2], input: { $item: "" } }),
      step("c", { map: { $input: "/l" }, input: { $item: "" } }),
    ],
  }, { a: { q: { r: 1 } }, "b[0]": 0, "b[1]": 1 });
  deepEqual(next(source, { a: "completed" }), { enqueue: { "b[0]": { r: 1 }, "b[1]": 2 } });
  deepEqual(next(source, { a: "completed", "b[0]": "completed", "b[1]": "completed" }), {
    enqueue: { "c[0]": "x" },
  });
});

Deno.test("PipelineRun.next() ends a map without items at once", () => {
  const each = (id: string) => step(id, { map: { $input: "" } });
  deepEqual(next(sourceOf({ input: [], steps: [each("a"), each("b")] })), {
    enqueue: {},
    output: { a: [], b: [] },
  });
});

Deno.test("PipelineRun.next() stops at a failure, cancels what runs, and fails when that has ended", () => {
  const source = sourceOf({ steps: [{ parallel: [step("a"), step("b"), step("c")] }, step("d")] });
  deepEqual(next(source, { a: "running", b: "failed", c: "pending" }), { enqueue: {}, cancel: true });
  deepEqual(next(source, { a: "completed", b: "failed" }), {
    enqueue: {},
    failed: 'STEP_FAILED b: Cannot complete step "b": it failed with ACTION_FAILED',
  });
  deepEqual(next(source, { a: "cancelled", b: "failed", c: "cancelled" }), {
    enqueue: {},
    failed: 'STEP_FAILED b: Cannot complete step "b": it failed with ACTION_FAILED',
  });
  deepEqual(next(source, { a: "cancelled" }), {
    enqueue: {},
    failed: 'STEP_FAILED a: Cannot complete step "a": it was cancelled',
  });
});

Deno.test("PipelineRun.next() goes on past a failure where the policy says so, with null", () => {
  const source = sourceOf({
    onFailure: "continue",
    steps: [
      step("a"),
      step("b", { map: { $input: "" }, input: { $from: "a", path: "/x" } }),
      step("c", { onFailure: "stop", input: { $from: "b" } }),
    ],
    input: [1, 2],
  }, { "b[1]": 9 });
  deepEqual(next(source, { a: "failed" }), { enqueue: { "b[0]": null, "b[1]": null } });
  const before = { a: "failed", "b[0]": "failed", "b[1]": "completed" } as const;
  deepEqual(next(source, before), { enqueue: { c: [null, 9] } });
  ok(next(source, { ...before, c: "failed" }).failed?.startsWith("STEP_FAILED c:"));
});

Deno.test("PipelineRun.next() fails a step whose input cannot be made, under stop", () => {
  const message = 'Cannot begin step "b": "/x" leads nowhere in the output of "a"';
  const request = { steps: [step("a"), step("b", { input: { $from: "a", path: "/x" } })] };
  for (const output of [{}, [], "x", null, { X: 1 }]) {
    deepEqual(next(sourceOf(request, { a: output }), { a: "completed" }), {
      enqueue: {},
      faults: [message],
      failed: `STEP_FAILED b: ${message}`,
    });
  }
  deepEqual(next(sourceOf({ ...request, onFailure: "continue" }, { a: 1 }), { a: "completed" }), {
    enqueue: { b: null },
  });
});

Deno.test("PipelineRun.next() begins nothing beside a step that cannot begin", () => {
  const request = {
    steps: [step("a"), { parallel: [step("b"), step("c", { map: { $from: "a" } })] }],
  };
  const message = 'Cannot begin step "c": what it is to run over is no list';
  for (const output of [{ length: 3, 0: 1 }, "abc", 1, null]) {
    deepEqual(next(sourceOf(request, { a: output }), { a: "completed" }), {
      enqueue: {},
      faults: [message],
      failed: `STEP_FAILED c: ${message}`,
    });
  }
});

Deno.test("PipelineRun.next() walks no prototype of what a plugin gave", () => {
  const pointers = ["/__proto__", "/constructor/prototype", "/toString", "/length"];
  for (const path of pointers) {
    const source = sourceOf({ steps: [step("a"), step("b", { input: { $from: "a", path } })] }, { a: {} });
    equal(Object.keys(next(source, { a: "completed" }).enqueue).length, 0);
  }
  const source = sourceOf({ steps: [step("a"), step("b", { input: { $from: "a" } })] });
  const text = '{"__proto__":{"polluted":1}}';
  const { enqueue } = nextSteps({ ...source, outputOf: () => text }, statesOf({ a: "completed" }));
  equal(enqueue[0]?.inputJson, text);
});

Deno.test("PipelineRun.next() fails a pipeline whose maps come to more than stepsMax, whatever its policy", () => {
  const each = (id: string) => step(id, { map: { $input: "" }, onFailure: "continue" });
  const request = { input: [1, 2, 3], stepsMax: 5, onFailure: "continue" };
  equal(Object.keys(next(sourceOf({ ...request, steps: [each("a"), step("b")] })).enqueue).length, 3);
  const source = sourceOf({ ...request, steps: [each("a"), each("b")] }, { "a[0]": 1, "a[1]": 1, "a[2]": 1 });
  const failed = "INPUT_INVALID null: Cannot complete pipeline: its steps come to more than 5 jobs";
  deepEqual(next(source, { "a[0]": "completed", "a[1]": "completed", "a[2]": "completed" }), {
    enqueue: {},
    failed,
  });
  const huge = sourceOf({ ...request, steps: [step("x"), step("a", { map: { $from: "x" } })] }, {
    x: Array(100_000).fill(0),
  });
  deepEqual(next(huge, { x: "completed" }), { enqueue: {}, failed });
});

// An output of 16 MB in each of 10,000 items is 160 GB.
Deno.test("PipelineRun.next() bounds the inputs of a step, all items together", () => {
  const map = { map: Array(100).fill(0), input: { $from: "a" } };
  const request = { steps: [step("a"), step("b", map)] };
  const outputs = { a: "x".repeat(10_000) };
  const message = 'Cannot begin step "b": it would be larger than 1000000 bytes';
  deepEqual(next(sourceOf(request, outputs), { a: "completed" }), {
    enqueue: {},
    faults: [message],
    failed: `STEP_FAILED b: ${message}`,
  });
  equal(
    nextSteps(sourceOf(request, outputs, { inputBytesMax: 1_001_000 }), statesOf({ a: "completed" })).enqueue
      .length,
    100,
  );
  const items = { map: Array(200).fill({ $from: "a" }), input: { $item: "/x" }, onFailure: "continue" };
  deepEqual(next(sourceOf({ steps: [step("a"), step("b", items)] }, outputs), { a: "completed" }), {
    enqueue: {},
    faults: [message],
    output: { a: outputs.a, b: null },
  });
});

Deno.test("PipelineRun.next() makes the jobs of one transaction at a time", () => {
  const steps = [{ parallel: ["a", "b", "c"].map((id) => step(id, { input: "x".repeat(60) })) }];
  const source = sourceOf({ steps }, {}, { batchBytesMax: 100 });
  deepEqual(Object.keys(next(source).enqueue), ["a", "b"]);
  ok(next(source).more);
  const rest = next(source, { a: "pending", b: "pending" });
  deepEqual([Object.keys(rest.enqueue), rest.more], [["c"], undefined]);
});

// Else what was begun before the step was looked at would depend on where the last life ended.
Deno.test("PipelineRun.next() finds a step that cannot begin before it begins one of many", () => {
  const steps = [step("a"), {
    parallel: [step("b"), step("c"), step("d", { input: { $from: "a", path: "/x" } })],
  }];
  const source = sourceOf({ steps }, { a: 1 }, { batchBytesMax: 1 });
  ok(next(source, { a: "completed" }).failed?.startsWith("STEP_FAILED d:"));
});

Deno.test("PipelineRun.next() fails a pipeline whose output is too large", () => {
  const source = sourceOf({ steps: [step("a")] }, { a: "x".repeat(100) }, { outputBytesMax: 50 });
  ok(next(source, { a: "completed" }).failed?.startsWith("LIMIT_OUTPUT null:"));
});

Deno.test("PipelineRun.set() refuses what is not of the plan, and a second end", () => {
  const run = new PipelineRun(sourceOf({ steps: [step("a"), step("b", { map: [1] })] }, { a: 1 }));
  for (const key of ["x", "a[0]", "b", "b[01]", "b[-1]", "__proto__", "", "b[0]x"]) {
    throws(() => run.set(key, { state: "pending" }), RangeError);
  }
  run.set("a", { state: "completed" });
  run.set("a", { state: "completed" });
  throws(() => run.set("a", { state: "failed" }), RangeError);
});

Deno.test("PipelineRun.next() reads an output only for what refers to it", () => {
  const source = sourceOf({ steps: [step("a"), step("b")] });
  const run = new PipelineRun(source);
  deepEqual(run.next().enqueue.map(({ key }) => key), ["a"]);
  run.set("a", { state: "completed" });
  deepEqual(run.next().enqueue.map(({ key }) => key), ["b"]);
});

Deno.test("PipelineRun.next() costs what has changed: 10,000 items, one end at a time", () => {
  const items = Array.from({ length: 9_000 }, (_, index) => index);
  const outputs = Object.fromEntries(items.map((index) => [`each[${index}]`, index]));
  const source = sourceOf(
    { stepsMax: 10_000, steps: [step("each", { map: items, input: { $item: "" } })] },
    outputs,
  );
  const run = new PipelineRun(source);
  equal(run.next().enqueue.length, items.length);
  const beganMs = performance.now();
  for (const index of items) {
    run.set(`each[${index}]`, { state: "completed" });
    equal(run.next().outcome === undefined, index < items.length - 1);
  }
  // Some 20 ms; quadratic it would be minutes.
  ok(performance.now() - beganMs < 5_000);
});
