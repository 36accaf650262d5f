import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { pipelineDepthLimit, pipelineRequestSchema } from "../../../schemas/pipeline.ts";
import { ProblemError } from "../../../schemas/problem.ts";
import { compilePlan } from "./compile_plan.ts";

const step = (id: string, more: object = {}) => ({ id, plugin: "p", action: "run", ...more });
const compile = (request: object, depthMax = 8) =>
  compilePlan(pipelineRequestSchema.parse(request), { depthMax });

function faultsOf(request: object, depthMax?: number) {
  let faults: { path: string; message: string }[] | undefined;
  throws(() => compile(request, depthMax), (error) => {
    ok(error instanceof ProblemError);
    equal(error.code, "INPUT_INVALID");
    faults = error.options.errors;
    return true;
  });
  return faults?.map(({ path, message }) => `${path}: ${message}`);
}

Deno.test("compilePlan() orders sequence, parallel and join", () => {
  const { nodes } = compile({
    steps: [
      step("a"),
      { parallel: [step("b"), [step("c"), { parallel: [step("d"), step("e")] }, step("f")]] },
      step("g"),
    ],
  });
  deepEqual(nodes.map(({ id, after }) => [id, ...after]), [
    ["a"],
    ["b", "a"],
    ["c", "a"],
    ["d", "c"],
    ["e", "c"],
    ["f", "d", "e"],
    ["g", "b", "f"],
  ]);
});

Deno.test("compilePlan() gives each step its own policy or the plan's", () => {
  const { nodes } = compile({ steps: [step("a"), step("b", { onFailure: "stop" })], onFailure: "continue" });
  deepEqual(nodes.map(({ onFailure }) => onFailure), ["continue", "stop"]);
});

// 500 × 500 edges are not to be held.
Deno.test("compilePlan() shares the steps that a whole parallel waits for", () => {
  const branches = (name: string) => Array.from({ length: 500 }, (_, index) => step(`${name}${index}`));
  const { nodes } = compile({ steps: [{ parallel: branches("a") }, { parallel: branches("b") }] });
  equal(new Set(nodes.map(({ after }) => after)).size, 2);
});

Deno.test("compilePlan() refuses ids that are there twice", () => {
  deepEqual(faultsOf({ steps: [step("a"), { parallel: [step("a")] }] }), [
    `/steps/1/parallel/0/id: "a" is another step's too`,
  ]);
});

Deno.test("compilePlan() refuses references to what is not certain to have ended before", () => {
  const from = (id: string) => ({ input: { deep: [{ $from: id }] } });
  deepEqual(
    faultsOf({
      steps: [
        step("a", from("a")),
        step("b", from("nobody")),
        { parallel: [step("c"), [step("d", from("c")), step("e", from("d"))]] },
        step("f", from("g")),
        step("g", { map: { $from: "h" } }),
        step("constructor", from("__proto__x".slice(9))),
        step("h", { map: [1, { $from: "h" }] }),
      ],
    }),
    [
      "/steps/0/input/deep/0/$from: a step cannot refer to itself",
      `/steps/1/input/deep/0/$from: there is no step "nobody"`,
      `/steps/2/parallel/1/0/input/deep/0/$from: step "c" is not certain to have ended before`,
      `/steps/3/input/deep/0/$from: step "g" is not certain to have ended before`,
      `/steps/4/map/$from: step "h" is not certain to have ended before`,
      `/steps/5/input/deep/0/$from: there is no step "x"`,
      "/steps/6/map/1/$from: a step cannot refer to itself",
    ].toSorted((a, b) => a.localeCompare(b)),
  );
  ok(
    compile({ steps: [{ parallel: [[step("a"), step("b", from("a"))], step("c")] }, step("d", from("b"))] }),
  );
});

Deno.test("compilePlan() refuses a reference that says more, or less, than it should", () => {
  const wrong = [
    { $from: "a", paht: "/x" },
    { $from: 1 },
    { $from: "a", path: "x" },
    { $input: "/a~2" },
    { $item: "" },
    { $index: true },
    { $literal: 1, more: 2 },
    { $from: "a", $item: "" },
    JSON.parse('{"$from":"__proto__"}'),
  ];
  for (const input of wrong) {
    ok(
      faultsOf({ steps: [step("a"), step("b", { input: { in: input } })] })?.[0]?.startsWith(
        "/steps/1/input/in",
      ),
    );
  }
  for (const input of [{ $index: false }, { $index: true, $item: "" }, { $item: "x" }]) {
    ok(faultsOf({ steps: [step("b", { map: [1], input })] })?.[0]?.startsWith("/steps/0/input"));
  }
});

Deno.test("compilePlan() points to names with slashes and tildes as RFC 6901 does", () => {
  deepEqual(faultsOf({ steps: [step("a", { input: { "x/y~": { $index: true } } })] }), [
    '/steps/0/input/x~1y~0: "$index" is for steps with "map"',
  ]);
});

Deno.test("compilePlan() takes an object in $literal, and other names with $, as they are", () => {
  const literal = { $from: "nobody", n: [{ $item: 1 }] };
  const { nodes } = compile({ steps: [step("a", { input: { q: { $gt: 1 }, l: { $literal: literal } } })] });
  equal(nodes[0]?.input.join(""), JSON.stringify({ q: { $gt: 1 }, l: literal }));
});

Deno.test("compilePlan() keeps members named __proto__ and constructor", () => {
  const text = '{"__proto__":{"x":1},"constructor":2}';
  const { nodes } = compile({ steps: [step("a", { input: JSON.parse(text) })] });
  equal(nodes[0]?.input.join(""), text);
});

Deno.test("compilePlan() refuses what is nested too deep, however deep", () => {
  const nest = (levels: number) => {
    let item: unknown = step("a");
    for (let level = 0; level < levels; level++) item = { parallel: [[item]] };
    return { steps: [item] };
  };
  ok(compile(nest(8)));
  deepEqual(faultsOf(nest(9)), [
    "/steps/0" + "/parallel/0/0".repeat(8) + "/parallel: must be nested at most 8 deep",
  ]);
  ok(compile(nest(pipelineDepthLimit), pipelineDepthLimit));
  for (const levels of [pipelineDepthLimit + 1, 100_000]) {
    const { error } = pipelineRequestSchema.safeParse(nest(levels));
    deepEqual(error?.issues.map(({ path }) => path), [["steps"]]);
  }
});

Deno.test("compilePlan() refuses inputs that are nested deeper than a stack", () => {
  const deep = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
  const message = "must be nested at most 128 deep";
  deepEqual(faultsOf({ steps: [step("a")], input: deep }), [`/input: ${message}`]);
  deepEqual(faultsOf({ steps: [step("a", { input: { $literal: deep } })] }), [
    `/steps/0/input/$literal: ${message}`,
  ]);
  ok(faultsOf({ steps: [step("a", { input: deep })] })?.[0]?.endsWith(message));
  ok(faultsOf({ steps: [step("a", { map: [deep] })] })?.[0]?.endsWith(message));
});

Deno.test("compilePlan() refuses more steps than stepsMax", () => {
  const steps = [step("a"), step("b"), step("c", { map: [] })];
  ok(compile({ steps, stepsMax: 2 }));
  deepEqual(faultsOf({ steps, stepsMax: 1 }), ["/stepsMax: is 1; the steps are 2"]);
});

Deno.test("compilePlan() reports a bounded number of faults", () => {
  const steps = Array.from({ length: 1_000 }, () => step("a", { input: { $from: "x" } }));
  equal(faultsOf({ steps })?.length, 64);
});
