import assert from "node:assert/strict";
import { createApp } from "./app.ts";
import { bearer, checkpointBase64, createTestingKernel } from "./testing_kernel.ts";

const step = { id: "a", plugin: "hello", action: "greet" };

function create() {
  const kernel = createTestingKernel();
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const post = async (body: unknown) =>
    await app.request("/v1/pipelines", {
      method: "POST",
      headers: { ...bearer("invoker"), "content-type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { kernel, post };
}

Deno.test("registerPipelines() enqueues a plan as one job, in the caller's name", async () => {
  const { kernel, post } = create();
  const steps = [step, { parallel: [{ ...step, id: "b" }, [{ ...step, id: "c", map: { $from: "a" } }]] }];
  const response = await post({ steps, input: { n: 1 } });
  assert.equal(response.status, 202);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.equal((await response.json()).kind, "pipeline");
  const [[name, request, actor] = []] = kernel.jobs.asked;
  assert.deepEqual([name, actor], ["enqueuePipeline", "token:invoker"]);
  assert.equal(JSON.stringify(request).includes('"map":{"$from":"a","path":""}'), true);
});

Deno.test("registerPipelines() points at the very value that is wrong, however deep in the plan", async () => {
  const { kernel, post } = create();
  const within = (item: unknown) => ({ steps: [step, { parallel: [step, [step, { parallel: [item] }]] }] });
  const deep = "/steps/1/parallel/1/1/parallel/0";
  const plans: [plan: unknown, path: string, message: RegExp][] = [
    [{}, "/steps", /an array/],
    [{ steps: [] }, "/steps", /at least 1 item/],
    [{ steps: Array.from({ length: 1_001 }, () => step) }, "/steps", /at most 1000/],
    [{ steps: [5] }, "/steps/0", /an object/],
    [{ steps: [step], step: [] }, "/step", /"steps" may be meant/],
    [{ steps: [step], stepsMax: 1e9 }, "/stepsMax", /at most 10000/],
    [{ steps: [step], onFailure: "go" }, "/onFailure", /"stop", "continue"/],
    [{ steps: [{ ...step, id: "1" }] }, "/steps/0/id", /a letter/],
    [{ steps: [{ ...step, map: 5 }] }, "/steps/0/map", /an object or an array/],
    [{ steps: [{ ...step, map: { $form: "a" } }] }, "/steps/0/map/$form", /"\$from" may be meant/],
    [{ steps: [{ ...step, map: { $input: "no" } }] }, "/steps/0/map/$input", /JSON Pointer/],
    [{ steps: [{ paralel: [step] }] }, "/steps/0/paralel", /"parallel" may be meant/],
    [within({ ...step, acton: "x" }), `${deep}/acton`, /"action" may be meant/],
    [within({ ...step, deadlineMs: 1 }), `${deep}/deadlineMs`, /at least 10/],
    [within({ ...step, retry: { backofMs: 1 } }), `${deep}/retry/backofMs`, /"backoffMs" may be meant/],
    [`{"steps":[{"id":"a","plugin":"b","action":"c","__proto__":{}}]}`, "/steps/0/__proto__", /must not/],
  ];
  for (const [plan, path, message] of plans) {
    const response = await post(plan);
    const { code, errors } = await response.json();
    assert.deepEqual([response.status, code, errors[0].path], [422, "INPUT_INVALID", path]);
    assert.match(errors[0].message, message);
  }
  assert.deepEqual(kernel.jobs.asked, []);
  assert.equal(kernel.refusals.length, plans.length);
});

Deno.test("registerPipelines() refuses a plan that is nested too deep, whatever its depth", async () => {
  const { kernel, post } = create();
  for (const levels of [64, 84, 1_000, 200_000]) {
    const plan = `{"steps":[${'{"parallel":[['.repeat(levels)}${JSON.stringify(step)}${
      "]]}".repeat(levels)
    }]}`;
    const response = await post(plan);
    const { code } = await response.json();
    assert.deepEqual([response.status, code], [422, "INPUT_INVALID"]);
  }
  assert.deepEqual(kernel.jobs.asked, []);
});

// Whoever tries Airlock begins with it: it must do without a grant.
Deno.test("registerPipelines() takes the plan of docs/jobs.md, of bundled actions that need no grant", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/jobs.md", import.meta.url));
  const plan = /```json\n([^]*?)```/.exec(text)?.[1] ?? assert.fail("no plan");
  const called = [...plan.matchAll(/"plugin": "([^"]+)",\s+"action": "([^"]+)"/g)].map(([, ...names]) =>
    names
  );
  assert.ok(called.length > 2);
  for (const [plugin, action] of called) {
    assert.ok(["hello", "ngram", "notes", "csv-profile"].includes(plugin ?? ""), plugin);
    const manifest = new URL(`../../plugins/${plugin}/plugin.jsonc`, import.meta.url);
    assert.ok((await Deno.readTextFile(manifest)).includes(`"${action}": {`), `${plugin}/${action}`);
  }
  const app = createApp(createTestingKernel(), { swaggerUiFolder: "/nowhere" });
  const headers = { ...bearer("invoker"), "content-type": "application/json" };
  assert.equal((await app.request("/v1/pipelines", { method: "POST", headers, body: plan })).status, 202);
});
