import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { type PipelineRequest, pipelineRequestSchema } from "../../../schemas/pipeline.ts";
import { compilePlan } from "./compile_plan.ts";
import { type PipelineOutcome, PipelineRun, type PipelineSource, type StepState } from "./pipeline_run.ts";

/** A plan's shape: a step, steps in a row, or side by side. */
type Shape = { kind: number; ref: number; policy: number } | { row: Shape[] } | { side: Shape[] };

const { shape } = fc.letrec<{ shape: Shape }>((tie) => ({
  shape: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    fc.record({ kind: fc.nat(5), ref: fc.nat(20), policy: fc.nat(5) }),
    fc.record({ row: fc.array(tie("shape"), { minLength: 1, maxLength: 4 }) }),
    fc.record({ side: fc.array(tie("shape"), { minLength: 1, maxLength: 4 }) }),
  ),
}));

/** Each step refers to one that is certain to be before it, if there is one. */
function requestOf(
  shapes: readonly Shape[],
  onFailure: "stop" | "continue",
  hasPolicies: boolean,
): PipelineRequest {
  let count = 0;
  const stepOf = ({ kind, ref, policy }: Extract<Shape, { kind: number }>, before: readonly string[]) => {
    const id = `s${count++}`;
    const source = before.length === 0 ? { $input: "" } : { $from: before[ref % before.length] };
    return {
      ...{ id, plugin: "p", action: "run" },
      input: kind === 1
        ? { of: { ...source, ...(before.length > 0 ? { path: "/1" } : {}) } }
        : { of: source },
      ...(kind === 2
        ? { map: source }
        : kind === 3
        ? { map: [0, 1, 2], input: [{ $item: "" }, source] }
        : {}),
      ...(hasPolicies && policy < 2 ? { onFailure: policy === 0 ? "stop" : "continue" } : {}),
    };
  };
  const rowOf = (
    shapes: readonly Shape[],
    before: readonly string[],
  ): { items: unknown[]; ids: string[] } => {
    const ids: string[] = [];
    const items = shapes.flatMap((shape): unknown[] => {
      const known = [...before, ...ids];
      if ("kind" in shape) {
        const step = stepOf(shape, known);
        ids.push(step.id);
        return [step];
      }
      if ("row" in shape) {
        const row = rowOf(shape.row, known);
        ids.push(...row.ids);
        return row.items;
      }
      const branches = shape.side.map((branch) => rowOf([branch], known));
      ids.push(...branches.flatMap(({ ids }) => ids));
      return [{ parallel: branches.map(({ items }) => items) }];
    });
    return { items, ids };
  };
  const { items: steps } = rowOf(shapes, []);
  // Some have maps that come to more.
  return pipelineRequestSchema.parse({ steps, onFailure, input: [1, [2]], stepsMax: count + 12 });
}

/** What the job with this key gives: always the same. */
function endOf(
  key: string,
  seed: number,
  failing: number,
): { state: "completed" | "failed"; output: unknown } {
  let hash = seed;
  for (const char of key) hash = (hash * 31 + char.charCodeAt(0)) % 1_000_003;
  const state = hash % 10 < failing ? "failed" : "completed";
  return { state, output: [[], [key], [key, hash], { x: 1 }, null][hash % 5] };
}

interface World {
  readonly request: PipelineRequest;
  readonly source: PipelineSource;
  readonly seed: number;
  readonly failing: number;
  readonly jobsMax: number;
}

const worlds = fc.record({
  shapes: fc.array(shape, { minLength: 1, maxLength: 5 }),
  onFailure: fc.constantFrom("stop" as const, "continue" as const),
  hasPolicies: fc.boolean(),
  seed: fc.nat(1_000),
  failing: fc.constantFrom(0, 0, 1, 3),
  batchBytesMax: fc.constantFrom(1, 30, 1_000_000),
  jobsMax: fc.constantFrom(1, 2, 1_000_000),
}).map(({ shapes, onFailure, hasPolicies, seed, failing, batchBytesMax, jobsMax }): World => {
  const request = requestOf(shapes, onFailure, hasPolicies);
  const source = {
    plan: compilePlan(request, { depthMax: 32 }),
    input: request.input,
    outputOf: (key: string) => JSON.stringify(endOf(key, seed, failing).output),
    limits: { inputBytesMax: 100_000, outputBytesMax: 100_000, batchBytesMax },
  };
  return { request, source, seed, failing, jobsMax };
});

/** Runs it to its end, the jobs ending in an order that `choices` give. Checks each call against a run made anew. */
function drive({ source, seed, failing, jobsMax }: World, choices: readonly number[], isRestarted: boolean) {
  const states = new Map<string, StepState>();
  const ended = (id: string) => {
    const own = [...states].filter(([key]) => key === id || key.startsWith(`${id}[`));
    return own.every(([, { state }]) => state !== "pending" && state !== "running");
  };
  const after = new Map(source.plan.nodes.map(({ id, after }) => [id, after]));
  let run = new PipelineRun(source);
  const inputs = new Map<string, string>();
  const cancelled = new Set<string>();
  for (let turn = 0; turn < 1_000; turn++) {
    if (isRestarted && (choices[turn % choices.length] ?? 0) % 3 === 0) {
      run = new PipelineRun(source);
      for (const [key, state] of states) run.set(key, state);
    }
    const options = { jobsMax };
    const next = run.next(options);
    const made = new PipelineRun(source);
    for (const [key, state] of states) made.set(key, state);
    const anew = made.next(options);
    deepEqual(anew.enqueue, next.enqueue);
    deepEqual(anew.outcome, next.outcome);
    equal(anew.more, next.more);
    equal(anew.cancel, next.cancel);
    ok(next.enqueue.length <= jobsMax);
    if (next.cancel) { for (const key of states.keys()) cancelled.add(key); }
    for (const { key, inputJson } of next.enqueue) {
      ok(!states.has(key), `${key} twice`);
      for (const id of after.get(key.replace(/\[.*/, "")) ?? []) ok(ended(id), `${key} before ${id}`);
      states.set(key, { state: "pending" });
      inputs.set(key, inputJson);
    }
    ok(states.size <= source.plan.stepsMax);
    if (next.outcome !== undefined) {
      ok([...states.values()].every(({ state }) => state !== "pending" && state !== "running"));
      return { outcome: next.outcome, inputs };
    }
    if (next.more) continue;
    const live = [...states].filter(([, { state }]) => state === "pending" || state === "running");
    ok(live.length > 0, "it neither goes on nor ends");
    const [key] = live[(choices[turn % choices.length] ?? 0) % live.length] ?? [""];
    const end = endOf(key, seed, failing);
    const state: StepState = cancelled.has(key) && (choices[turn % choices.length] ?? 0) % 2 === 0
      ? { state: "cancelled" }
      : { state: end.state, code: end.state === "failed" ? "ACTION_FAILED" : undefined };
    states.set(key, state);
    run.set(key, state);
  }
  throw new Error("it does not end");
}

const choices = fc.array(fc.nat(1_000), { minLength: 1, maxLength: 40 });

Deno.test("PipelineRun: each plan ends, in order, as one that is made anew at each turn", () => {
  fc.assert(
    fc.property(worlds, choices, (world, choices) => {
      drive(world, choices, false);
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("PipelineRun: a crash at any turn changes nothing", () => {
  fc.assert(
    fc.property(worlds, choices, (world, choices) => {
      const { outcome, inputs } = drive(world, choices, false);
      const crashed = drive(world, choices, true);
      deepEqual(crashed.outcome, outcome);
      deepEqual([...crashed.inputs], [...inputs]);
    }),
    { numRuns: 500 },
  );
});

Deno.test("PipelineRun: under continue, and where nothing fails, the order of ends does not matter", () => {
  const order = ({ outcome, inputs }: { outcome: PipelineOutcome; inputs: Map<string, string> }) => ({
    outcome,
    inputs: outcome.state === "completed" ? [...inputs].toSorted(([a], [b]) => a < b ? -1 : 1) : [],
  });
  fc.assert(
    fc.property(worlds, choices, choices, (world, first, second) => {
      const { nodes } = world.source.plan;
      fc.pre(nodes.every(({ onFailure }) => onFailure === "continue"));
      deepEqual(order(drive(world, first, false)), order(drive(world, second, true)));
    }),
    { numRuns: 500 },
  );
});
