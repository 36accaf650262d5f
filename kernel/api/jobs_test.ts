import assert from "node:assert/strict";
import type { Role } from "../../schemas/api.ts";
import { jobSchema } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { createApp } from "./app.ts";
import { nestingMax } from "./json_bounds.ts";
import { jobIds, jobNamed } from "./testing_jobs.ts";
import { bearer, checkpointBase64, createTestingKernel } from "./testing_kernel.ts";

const call = { plugin: "hello", action: "greet" };

function create(jobs: Partial<Jobs> = {}) {
  const kernel = createTestingKernel({ jobs, config: { http: { bodyBytesMax: 1_048_576 } } });
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const get = async (path: string, role: Role = "viewer") =>
    await app.request(path, { headers: bearer(role) });
  const post = async (path: string, body?: unknown, role: Role = "invoker") =>
    await app.request(path, {
      method: "POST",
      headers: { ...bearer(role), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  return { kernel, get, post };
}

async function faultsOf(response: Response): Promise<{ path: string; message: string }[]> {
  const { code, errors } = await response.json();
  assert.deepEqual([response.status, code], [422, "INPUT_INVALID"]);
  return errors;
}

async function codeOf(response: Response): Promise<[number, string]> {
  return [response.status, (await response.json()).code];
}

Deno.test("registerJobs() enqueues one job in the caller's name", async () => {
  const { kernel, post } = create();
  const response = await post("/v1/jobs", { ...call, input: { name: "x" } });
  assert.equal(response.status, 202);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await response.json(), jobNamed(call));
  const [[, requests, actor] = []] = kernel.jobs.asked;
  assert.equal(actor, "token:invoker");
  assert.deepEqual(requests, [{
    ...call,
    input: { name: "x" },
    deadlineMs: null,
    retry: null,
    concurrency: null,
    idempotencyKey: null,
    priority: 0,
    runAt: null,
    delayMs: null,
    ttlMs: null,
    dependsOn: [],
  }]);
});

Deno.test("registerJobs() enqueues many jobs as one act, and answers with their list", async () => {
  const { kernel, post } = create();
  for (const count of [1, 1_000]) {
    const response = await post("/v1/jobs", { jobs: Array.from({ length: count }, () => call) });
    assert.equal(response.status, 202);
    assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
    const { items, next } = await response.json();
    assert.deepEqual([items.length, next], [count, null]);
    jobSchema.parse(items[0]);
  }
  assert.equal(kernel.jobs.asked.length, 2);
});

const longKey = "k".repeat(129);

/** What is wrong with a job, and where it is told. */
const malformed: [member: Record<string, unknown>, path: string, message: RegExp][] = [
  [{ plugin: 7 }, "/plugin", /a string/],
  [{ plugin: "../x" }, "/plugin", /must/],
  [{ action: undefined }, "/action", /a string/],
  [{ action: "a/b" }, "/action", /must/],
  [{ deadlineMs: 9 }, "/deadlineMs", /at least 10/],
  [{ deadlineMs: 1e300 }, "/deadlineMs", /must/],
  [{ priority: 1.5 }, "/priority", /whole number/],
  [{ priority: -1_001 }, "/priority", /at least -1000/],
  [{ runAt: "tomorrow" }, "/runAt", /a time/],
  [{ delayMs: -1 }, "/delayMs", /at least 0/],
  [{ ttlMs: 0 }, "/ttlMs", /at least 1/],
  [{ idempotencyKey: "" }, "/idempotencyKey", /must/],
  [{ idempotencyKey: longKey }, "/idempotencyKey", /at most 128/],
  [{ idempotencyKey: "a\nb" }, "/idempotencyKey", /printable/],
  [{ dependsOn: ["x"] }, "/dependsOn/0", /id of a job/],
  [{ dependsOn: Array.from({ length: 65 }, () => jobIds.own) }, "/dependsOn", /at most 64/],
  [{ retry: { attempts: 0 } }, "/retry/attempts", /at least 1/],
  [{ retry: { codes: ["NO"] } }, "/retry/codes/0", /one of/],
  [{ retry: { atempts: 2 } }, "/retry/atempts", /"attempts" may be meant/],
  [{ concurrency: { max: 1 } }, "/concurrency/key", /a string/],
  [{ priorty: 1 }, "/priorty", /"priority" may be meant/],
  [{ "a/b~c": 1 }, "/a~1b~0c", /must not be here/],
  [{ constructor: 1 }, "/constructor", /must not be here/],
];

Deno.test("registerJobs() points at the fault of a job, alone and among others", async () => {
  const { kernel, post } = create();
  for (const [member, path, message] of malformed) {
    const job = { ...call, ...member };
    const [alone] = await faultsOf(await post("/v1/jobs", job));
    assert.equal(alone?.path, path);
    assert.match(alone?.message ?? "", message);
    const [inBatch] = await faultsOf(await post("/v1/jobs", { jobs: [call, call, call, job] }));
    assert.equal(inBatch?.path, `/jobs/3${path}`);
  }
  assert.deepEqual(kernel.jobs.asked, []);
});

Deno.test("registerJobs() refuses a batch that is none", async () => {
  const { kernel, post } = create();
  const bodies: [body: unknown, path: string][] = [
    [{ jobs: [] }, "/jobs"],
    [{ jobs: Array.from({ length: 1_001 }, () => call) }, "/jobs"],
    [{ jobs: Array.from({ length: 300_000 }, () => 0) }, ""],
    [{ jobs: null }, "/jobs"],
    [{ jobs: { length: 1 } }, "/jobs"],
    [{ jobs: [null] }, "/jobs/0"],
    [{ jobs: [call], ...call }, "/plugin"],
    [{ job: [call] }, "/job"],
    [[call], ""],
    ["null", ""],
    ['{"__proto__":{"plugin":"hello","action":"greet"}}', "/__proto__"],
    ['{"__proto__":{"jobs":[]}}', "/__proto__"],
    ['{"jobs":[{"plugin":"hello","action":"greet","__proto__":{}}]}', "/jobs/0/__proto__"],
  ];
  for (const [body, path] of bodies) {
    assert.equal((await faultsOf(await post("/v1/jobs", body)))[0]?.path, path);
  }
  assert.deepEqual(kernel.jobs.asked, []);
});

Deno.test("registerJobs() passes any input on as it is, a __proto__ in it too", async () => {
  const { kernel, post } = create();
  const input = '{"__proto__":{"role":"admin"},"n":-0.5e-7,"deep":[[{"constructor":null}]]}';
  assert.equal((await post("/v1/jobs", `{"plugin":"hello","action":"greet","input":${input}}`)).status, 202);
  const [[, requests] = []] = kernel.jobs.asked;
  assert.equal(JSON.stringify(requests).includes('"input":{"__proto__":{"role":"admin"},"n":-5e-8,'), true);
  assert.equal(Reflect.get({}, "role"), undefined);
});

Deno.test("registerJobs() refuses an input that would not arrive as it was sent", async () => {
  const { post } = create();
  const withInput = (input: string) =>
    post("/v1/jobs", `{"plugin":"hello","action":"greet","input":${input}}`);
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  assert.equal((await faultsOf(await withInput('{"a":[1,-1e999]}')))[0]?.path, "/input/a/1");
  assert.match((await faultsOf(await withInput(nested(nestingMax))))[0]?.message ?? "", /nested deeper/);
  assert.match((await faultsOf(await withInput(nested(400_000))))[0]?.message ?? "", /nested deeper/);
  assert.equal((await withInput(nested(nestingMax - 1))).status, 202);
});

Deno.test("registerJobs() refuses a body that is no JSON, too large or of another type, and records it once", async () => {
  const { kernel, post } = create();
  assert.deepEqual(await codeOf(await post("/v1/jobs", '{"plugin":')), [400, "MALFORMED_JSON"]);
  assert.deepEqual(await codeOf(await post("/v1/jobs")), [400, "MALFORMED_JSON"]);
  assert.deepEqual(await codeOf(await post("/v1/jobs", `"${"x".repeat(1_048_576)}"`)), [
    413,
    "BODY_TOO_LARGE",
  ]);
  assert.deepEqual(kernel.refusals.map(({ code }) => code), [
    "MALFORMED_JSON",
    "MALFORMED_JSON",
    "BODY_TOO_LARGE",
  ]);
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const form = await app.request("/v1/jobs", { method: "POST", headers: bearer("invoker"), body: "{}" });
  assert.deepEqual(await codeOf(form), [415, "UNSUPPORTED_MEDIA_TYPE"]);
});

Deno.test("registerJobs() tells what jobs refuse, recorded once and with a checkpoint", async () => {
  const problem = new ProblemError("QUEUE_FULL", "Cannot enqueue: full", { retryAfterMs: 2_000 });
  const { kernel, post } = create({ enqueue: () => Promise.reject(problem) });
  const response = await post("/v1/jobs", call);
  assert.equal(response.headers.get("retry-after"), "2");
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await codeOf(response), [503, "QUEUE_FULL"]);
  assert.deepEqual(
    kernel.refusals.map(({ code, target, actor }) => [code, target, actor]),
    [["QUEUE_FULL", "POST /v1/jobs", "token:invoker"]],
  );
});

Deno.test("registerJobs() lists jobs by what the query says, for whom the token stands", async () => {
  const { kernel, get } = create();
  const page = await (await get("/v1/jobs?limit=2")).json();
  assert.deepEqual(page.items.map(({ id }: { id: string }) => id), [jobIds.ended, jobIds.other]);
  assert.equal(page.next, jobIds.other);
  const query = `state=failed&plugin=hello&parent=${jobIds.own}&after=${page.next}&limit=3`;
  assert.equal((await (await get(`/v1/jobs?${query}`, "operator")).json()).next, null);
  assert.deepEqual(kernel.jobs.asked, [
    ["list", { limit: 2 }, { actor: "token:viewer", readsAll: false }],
    [
      "list",
      { state: "failed", plugin: "hello", parent: jobIds.own, after: jobIds.other, limit: 3 },
      { actor: "token:operator", readsAll: true },
    ],
  ]);
});

Deno.test("registerJobs() refuses a query that it does not know, or that is given twice", async () => {
  const { kernel, get } = create();
  const queries: [query: string, path: string][] = [
    ["state=done", "/state"],
    ["state=failed&state=failed", "/state"],
    ["plugin=A", "/plugin"],
    ["parent=x", "/parent"],
    ["after=x", "/after"],
    [`after=${jobIds.own}&after=${jobIds.own}`, "/after"],
    ["limit=0", "/limit"],
    ["limit=1001", "/limit"],
    ["limit=99999999999999999999", "/limit"],
    ["sate=failed", ""],
    ["__proto__=1", ""],
  ];
  for (const [query, path] of queries) {
    assert.equal((await faultsOf(await get(`/v1/jobs?${query}`)))[0]?.path, path, query);
  }
  for (const query of ["after=-1", "after=x", "after=1&after=2", "lmit=1"]) {
    await faultsOf(await get(`/v1/jobs/${jobIds.own}/logs?${query}`));
  }
  assert.deepEqual(kernel.jobs.asked, []);
});

Deno.test("registerJobs() shows a job, its output as JSON", async () => {
  const { kernel, get } = create();
  const response = await get(`/v1/jobs/${jobIds.ended}`, "invoker");
  const { state, output } = await response.json();
  assert.deepEqual([response.status, state, output], [200, "completed", { n: 1 }]);
  assert.deepEqual(kernel.jobs.asked, [["get", jobIds.ended, { actor: "token:invoker", readsAll: false }]]);
});

// A plugin chose it: nested deeper than `JSON.stringify` goes, and with a number that is no double.
Deno.test("registerJobs() shows an output as the very text that is stored", async () => {
  const levels = 100_000;
  const outputJson = '{"1":'.repeat(levels) + "12345678901234567890" + "}".repeat(levels);
  const shown = { view: jobNamed({ state: "completed" }), outputJson };
  const recorded = () => Promise.resolve({ value: shown, checkpoint: checkpointBase64 });
  const { get, post } = create({
    ...{ get: () => Promise.resolve(shown), cancel: recorded, retry: recorded },
    enqueue: () => Promise.resolve({ value: [shown], checkpoint: checkpointBase64 }),
  });
  for (
    const response of [
      await get(`/v1/jobs/${jobIds.own}`),
      await post(`/v1/jobs/${jobIds.own}/cancel`),
      await post(`/v1/jobs/${jobIds.own}/retry`),
      await post("/v1/jobs", call),
    ]
  ) {
    assert.equal(response.headers.get("content-type"), "application/json");
    const text = await response.text();
    assert(text.startsWith('{"id":"') && text.endsWith(`,"output":${outputJson}}`), text.slice(0, 500));
    const { success } = jobSchema.safeParse(JSON.parse(text));
    assert(success);
  }
});

// Its own instant is written with the years 0000 to 9999; an offset leads out of them.
Deno.test("registerJobs() refuses to run a job at an instant that cannot be shown", async () => {
  const { kernel, post } = create();
  for (
    const runAt of [
      "9999-12-31T23:59:59-23:59",
      "9999-12-31T23:59:59.001Z",
      "1970-01-01T00:00:00+00:01",
      "0000-01-01T00:00:00+23:59",
      "1969-12-31T23:59:59Z",
    ]
  ) {
    const [fault] = await faultsOf(await post("/v1/jobs", { ...call, runAt }));
    assert.deepEqual([fault?.path, fault?.message], [
      "/runAt",
      "must lie from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z",
    ]);
  }
  assert.deepEqual(kernel.jobs.asked, []);
  for (const runAt of ["9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2026-11-20T10:00:00+23:59"]) {
    assert.equal((await post("/v1/jobs", { ...call, runAt })).status, 202);
  }
});

Deno.test("registerJobs() answers JOB_NOT_FOUND for any id that is no job's, asking only for what could be one", async () => {
  const { kernel, get, post } = create();
  const ids = ["none", "redrive", "__proto__", jobIds.own.toLowerCase(), `${jobIds.own}0`, "8".repeat(26)];
  for (const id of ids) {
    assert.deepEqual(await codeOf(await get(`/v1/jobs/${id}`)), [404, "JOB_NOT_FOUND"]);
    assert.deepEqual(await codeOf(await get(`/v1/jobs/${id}/logs`)), [404, "JOB_NOT_FOUND"]);
    for (const verb of ["cancel", "retry"]) {
      assert.deepEqual(await codeOf(await post(`/v1/jobs/${id}/${verb}`)), [404, "JOB_NOT_FOUND"]);
    }
  }
  assert.deepEqual(kernel.jobs.asked, []);
  assert.equal(kernel.refusals.length, ids.length * 2, "the writes, each once");
  assert.deepEqual(await codeOf(await get(`/v1/jobs/${jobIds.accepted}`)), [404, "JOB_NOT_FOUND"]);
});

Deno.test("registerJobs() cancels and retries in the caller's name, and says whose jobs that may be", async () => {
  const { kernel, post } = create();
  for (const verb of ["cancel", "retry"] as const) {
    for (const role of ["invoker", "operator"] as const) {
      const response = await post(`/v1/jobs/${jobIds.own}/${verb}`, undefined, role);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
      assert.equal((await response.json()).id, jobIds.own);
      const reader = { actor: `token:${role}`, readsAll: role === "operator" };
      assert.deepEqual(kernel.jobs.asked.pop(), [verb, jobIds.own, `token:${role}`, reader]);
    }
  }
});

Deno.test("registerJobs() records once who may not read or cancel another's job", async () => {
  const forbid = () => {
    throw new ProblemError("FORBIDDEN", "Cannot read: another's");
  };
  const { kernel, get, post } = create({ logs: forbid, cancel: () => Promise.try(forbid) });
  assert.deepEqual(await codeOf(await get(`/v1/jobs/${jobIds.other}/logs`)), [403, "FORBIDDEN"]);
  assert.deepEqual(await codeOf(await post(`/v1/jobs/${jobIds.other}/cancel`)), [403, "FORBIDDEN"]);
  assert.deepEqual(kernel.refusals.map(({ target }) => target), [
    `GET /v1/jobs/${jobIds.other}/logs`,
    `POST /v1/jobs/${jobIds.other}/cancel`,
  ]);
});

Deno.test("registerJobs() reads a job's log page by page", async () => {
  const { get } = create();
  const path = `/v1/jobs/${jobIds.own}/logs`;
  const first = await (await get(`${path}?limit=2`)).json();
  assert.deepEqual(first.items.map(({ text }: { text: string }) => text), ["line 1", "line 2"]);
  const second = await (await get(`${path}?after=${first.next}`)).json();
  assert.deepEqual([second.items.map(({ seq }: { seq: number }) => seq), second.next], [[3], null]);
});

Deno.test("registerJobs() redrives failed jobs by a filter, all without one", async () => {
  const { kernel, post } = create();
  const response = await post(
    "/v1/jobs/redrive",
    { plugin: "hello", code: "ACTION_FAILED", limit: 5 },
    "operator",
  );
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await response.json(), { jobs: [jobIds.ended] });
  assert.equal((await post("/v1/jobs/redrive", undefined, "operator")).status, 200);
  assert.deepEqual(kernel.jobs.asked, [
    ["redrive", { plugin: "hello", code: "ACTION_FAILED", limit: 5 }, "token:operator"],
    ["redrive", { limit: 100 }, "token:operator"],
  ]);
  for (
    const [body, path] of [[{ limit: 1_001 }, "/limit"], [{ code: "NO" }, "/code"], [
      { plugn: "a" },
      "/plugn",
    ]]
  ) {
    const [fault] = await faultsOf(await post("/v1/jobs/redrive", body, "operator"));
    assert.equal(fault?.path, path);
  }
});
