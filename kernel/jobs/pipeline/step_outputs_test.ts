import { deepEqual, equal, ok } from "node:assert/strict";
import { pipelineRequestSchema } from "../../../schemas/pipeline.ts";
import { compilePlan } from "./compile_plan.ts";
import { PipelineRun } from "./pipeline_run.ts";
import { StepOutputs } from "./step_outputs.ts";

const step = (id: string, input: unknown = {}) => ({ id, plugin: "p", action: "a", input });
const large = (mark: string) => `[${Array(20_000).fill(`{"${mark}":[1,2]}`).join()}]`;

/** Two large outputs, and steps that refer to both. */
function createWorld(pathOf: (index: number) => string, steps: number) {
  const reads: string[] = [];
  const branches = Array.from({ length: steps }, (_, index) => {
    const path = pathOf(index);
    return step(`s${index}`, [{ $from: "a", path }, { $from: "b", path }]);
  });
  const request = pipelineRequestSchema.parse({ steps: [step("a"), step("b"), { parallel: branches }] });
  const run = new PipelineRun({
    plan: compilePlan(request, { depthMax: 8 }),
    input: {},
    outputOf: (key) => (reads.push(key), large(key)),
    limits: { inputBytesMax: 300_000, outputBytesMax: 300_000, batchBytesMax: 300_000 },
  });
  for (const key of ["a", "b"]) run.set(key, { state: "completed" });
  return { run, reads };
}

// Their sum is more than is kept, so that each step would read and parse both again.
Deno.test("PipelineRun.next() reads an output once for all steps that refer to the same part of it", () => {
  const { run, reads } = createWorld(() => "/0", 500);
  const { enqueue, more } = run.next();
  deepEqual([enqueue.length, enqueue[499]?.inputJson, more], [500, '[{"a":[1,2]},{"b":[1,2]}]', false]);
  deepEqual(reads, ["a", "b"]);
  equal(run.heldBytes, 0);
});

Deno.test("PipelineRun.next() reads in each call what it may, and comes to the end", () => {
  const { run, reads } = createWorld((index) => `/${index}`, 40);
  const inputs: string[] = [];
  let calls = 0;
  for (let more = true; more; calls++) {
    const before = reads.length;
    const next = run.next({ rowsMax: 10 });
    more = next.more;
    inputs.push(...next.enqueue.map(({ inputJson }) => inputJson));
    ok(reads.length - before <= 1, "an output is more than a call may read");
    ok(next.rows < 50, `${next.rows}`);
    ok(calls < 200);
  }
  deepEqual(new Set(inputs), new Set(['[{"a":[1,2]},{"b":[1,2]}]']));
  deepEqual([inputs.length, reads.length, calls], [40, 80, 80]);
});

Deno.test("StepOutputs drops the part that was used least recently, and none of the step at hand", () => {
  const reads: string[] = [];
  const outputs = new StepOutputs(
    (step) => (reads.push(step), { text: `"${"x".repeat(400)}"`, reads: 1 }),
    1_500,
  );
  const of = (step: string) => ({ from: "step", step, path: "" }) as const;
  for (const name of ["a", "b", "a", "c", "a"]) outputs.load([of(name)]);
  deepEqual(reads, ["a", "b", "c"]);
  ok(outputs.bytes <= 1_500);
  const own = ["a", "c", "d", "e"].map(of);
  outputs.load(own);
  deepEqual(own.map((one) => outputs.at(one)?.bytes), [402, 402, 402, 402]);
  outputs.load([of("b")]);
  deepEqual(reads.slice(3), ["d", "e", "b"]);
});
