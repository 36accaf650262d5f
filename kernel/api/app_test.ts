import assert from "node:assert/strict";
import { type Role, roles } from "../../schemas/api.ts";
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";
import { createApp } from "./app.ts";
import type { Api } from "./context.ts";
import { jobIds, scheduleId } from "./testing_jobs.ts";
import { bearer, checkpointBase64, createTestingKernel } from "./testing_kernel.ts";

const options = { swaggerUiFolder: "/nowhere" };
const json = { "content-type": "application/json" };

async function problemOf(response: Response): Promise<{ status: number; code: string }> {
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const { status, code, type, title, detail } = await response.json();
  assert.equal(status, response.status);
  assert.equal(type, "about:blank");
  assert.ok(title.length > 0 && detail.startsWith("Cannot "), `${title}: ${detail}`);
  return { status, code };
}

/** Each route, a body that it takes, and the weakest role that may use it. */
const routes: [method: string, path: string, needed: Role | null, body?: string][] = [
  ["GET", "/healthz", null],
  ["GET", "/readyz", null],
  ["GET", "/openapi.json", null],
  ["GET", "/docs", null],
  ["GET", "/docs/start.js", null],
  ["GET", "/metrics", "viewer"],
  ["GET", "/v1/plugins", "viewer"],
  ["GET", "/v1/plugins/hello", "viewer"],
  ["POST", "/v1/plugins/hello/actions/greet", "invoker", "{}"],
  ["POST", "/v1/plugins/hello/load", "operator"],
  ["POST", "/v1/plugins/hello/start", "operator"],
  ["POST", "/v1/plugins/hello/stop", "operator"],
  ["POST", "/v1/plugins/hello/unload", "operator"],
  ["POST", "/v1/plugins/hello/enable", "operator"],
  ["POST", "/v1/plugins/hello/disable", "operator"],
  ["GET", "/v1/plugins/hello/grants", "viewer"],
  ["GET", "/v1/plugins/hello/audit", "viewer"],
  ["PUT", "/v1/plugins/hello/grants", "operator", "{}"],
  ["POST", "/v1/jobs", "invoker", '{"plugin":"hello","action":"greet"}'],
  ["GET", "/v1/jobs", "viewer"],
  ["GET", `/v1/jobs/${jobIds.own}`, "viewer"],
  ["GET", `/v1/jobs/${jobIds.own}/logs`, "viewer"],
  ["GET", `/v1/jobs/${jobIds.own}/events`, "viewer"],
  ["GET", "/v1/events", "viewer"],
  ["POST", `/v1/jobs/${jobIds.own}/cancel`, "invoker"],
  ["POST", `/v1/jobs/${jobIds.own}/retry`, "invoker"],
  ["POST", "/v1/jobs/redrive", "operator"],
  ["POST", "/v1/pipelines", "invoker", '{"steps":[{"id":"a","plugin":"hello","action":"greet"}]}'],
  ["GET", "/v1/schedules", "viewer"],
  [
    "POST",
    "/v1/schedules",
    "operator",
    '{"name":"n","plugin":"hello","action":"greet","cron":"0 3 * * *"}',
  ],
  ["DELETE", `/v1/schedules/${scheduleId}`, "operator"],
  ["GET", "/v1/tokens", "admin"],
  ["POST", "/v1/tokens", "admin", '{"name":"ci","role":"viewer"}'],
  ["DELETE", "/v1/tokens/t1", "admin"],
  ["GET", "/v1/ledger/entries", "viewer"],
  ["GET", "/v1/ledger/checkpoint", "viewer"],
  ["GET", "/v1/ledger/key", "viewer"],
  ["POST", "/v1/ledger/key/rotate", "admin"],
  ["POST", "/v1/ledger/key/retire", "admin"],
  ["GET", "/v1/ledger/proofs/inclusion/0", "viewer"],
  ["GET", "/v1/ledger/proofs/consistency?from=1", "viewer"],
  ["GET", "/v1/ledger/export", "viewer"],
  ["GET", "/v1/ledger/commitments/0", "admin"],
  ["DELETE", "/v1/ledger/commitments/0", "admin"],
  ["GET", "/log/checkpoint", "viewer"],
  ["GET", "/log/tile/0/000", "viewer"],
  ["GET", "/log/tile/entries/000.p/3", "viewer"],
];

for (const [method, path, needed, body] of routes) {
  const who = needed === null ? "anyone" : `"${needed}" and above`;
  Deno.test(`createApp() lets ${who} ${method} ${path}`, async () => {
    const kernel = createTestingKernel();
    const app = createApp(kernel, options);
    const init = { method, ...(body === undefined ? {} : { body }) };
    const type = body === undefined ? {} : json;
    const anonymous = await app.request(path, { ...init, headers: type });
    if (needed === null) return assert.equal(anonymous.status, 200);
    assert.deepEqual(await problemOf(anonymous), { status: 401, code: "UNAUTHENTICATED" });
    assert.equal(anonymous.headers.get("www-authenticate"), 'Bearer realm="airlock"');
    assert.equal(kernel.refusedTokens.count, 1);
    for (const role of roles) {
      const response = await app.request(path, { ...init, headers: { ...type, ...bearer(role) } });
      if (roles.indexOf(role) >= roles.indexOf(needed)) {
        assert.ok(response.ok, `${role}: ${response.status} ${await response.text()}`);
        continue;
      }
      assert.deepEqual(await problemOf(response), { status: 403, code: "FORBIDDEN" });
      assert.equal(kernel.refusals.at(-1)?.actor, `token:${role}`);
    }
    assert.equal(kernel.refusals.length, roles.indexOf(needed));
  });
}

Deno.test("createApp() refuses what is not one well-formed bearer token", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, options);
  const headers = [
    "",
    "Bearer",
    "Bearer ",
    "Basic secret-admin",
    "Bearer wrong",
    "Bearer a, Bearer secret-admin",
  ];
  for (const authorization of headers) {
    const response = await app.request("/v1/plugins", { headers: { authorization } });
    assert.deepEqual(await problemOf(response), { status: 401, code: "UNAUTHENTICATED" }, authorization);
  }
  assert.equal(kernel.refusedTokens.count, headers.length);
  assert.deepEqual(kernel.refusals, []);
});

Deno.test("createApp() answers NOT_READY on /v1 until the kernel is ready, and health all the same", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, options);
  for (const status of ["starting", "draining"] as const) {
    kernel.state.status = status;
    for (const path of ["/readyz", "/v1/plugins", "/v1/nothing", "/v1/plugins/hello/actions/greet"]) {
      const method = path.endsWith("greet") ? "POST" : "GET";
      const response = await app.request(path, { method, headers: bearer("admin") });
      assert.deepEqual(await problemOf(response), { status: 503, code: "NOT_READY" }, path);
      assert.equal(response.headers.get("retry-after"), "1");
    }
    assert.equal((await app.request("/healthz")).status, 200);
    assert.equal((await app.request("/metrics", { headers: bearer("viewer") })).status, 200);
  }
  assert.deepEqual(kernel.refusals, []);
});

Deno.test("createApp() is not ready on /readyz without a critical plugin, and serves all the same", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, options);
  assert.equal((await app.request("/readyz")).status, 200);
  kernel.state.missing.push("gate", "keeper");
  const response = await app.request("/readyz");
  assert.equal(response.headers.get("retry-after"), "1");
  const { code, detail } = await response.json();
  assert.deepEqual([response.status, code], [503, "NOT_READY"]);
  assert.match(detail, /2 critical plugins are not up/);
  assert.doesNotMatch(detail, /gate|keeper/, "nobody is told names without a token");
  assert.equal((await app.request("/v1/plugins", { headers: bearer("viewer") })).status, 200);
});

Deno.test("createApp() tells the process's id and age on /healthz", async () => {
  const health = await (await createApp(createTestingKernel(), options).request("/healthz")).json();
  assert.deepEqual({ ...health, uptimeMs: 0 }, { status: "ok", pid: Deno.pid, uptimeMs: 0 });
  assert.ok(health.uptimeMs >= 0);
});

Deno.test("createApp() gives each answer its own request id and the security headers", async () => {
  const app = createApp(createTestingKernel(), options);
  const ids = new Set<string>();
  const paths = [
    "/healthz",
    "/nothing",
    "/v1/plugins",
    "/v1/plugins/hello/actions/greet",
    "/docs",
    "/openapi.json",
  ];
  for (const path of paths) {
    const headers = { ...bearer("admin"), "airlock-request-id": "chosen-by-the-caller" };
    const response = await app.request(path, { method: path.endsWith("greet") ? "POST" : "GET", headers });
    await response.body?.cancel();
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    assert.equal(response.headers.get("cross-origin-resource-policy"), "same-origin");
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.match(response.headers.get("content-security-policy") ?? "", /frame-ancestors 'none'/);
    ids.add(response.headers.get("airlock-request-id") ?? "");
  }
  assert.equal(ids.size, paths.length);
  for (const id of ids) assert.match(id, /^[0-9a-f-]{36}$/);
});

Deno.test("createApp() answers NOT_FOUND where a path is unknown or not spelt plainly", async () => {
  const app = createApp(createTestingKernel(), options);
  const paths = [
    "/",
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v1/plugins/",
    "/v1//plugins",
    "/v1/plugins/hello/",
    "/v1/plugins/hello/junk",
    "/v1/plugins/%68ello",
    "/v1/plugins/hello%2f..",
    "/v1/plugins/hello%00",
    "/V1/plugins",
    "/healthz/",
    "/docs/",
    "/docs/index.html",
    "/docs/..%2fpackage.json",
    "/openapi.json/x",
  ];
  for (const path of paths) {
    const response = await app.request(path, { headers: bearer("admin") });
    assert.deepEqual(await problemOf(response), { status: 404, code: "NOT_FOUND" }, path);
  }
});

Deno.test("createApp() hides from strangers which /v1 paths exist", async () => {
  const app = createApp(createTestingKernel(), options);
  const response = await app.request("/v1/nothing");
  assert.deepEqual(await problemOf(response), { status: 401, code: "UNAUTHENTICATED" });
});

Deno.test("createApp() answers METHOD_NOT_ALLOWED with the methods that a path takes", async () => {
  const app = createApp(createTestingKernel(), options);
  const table: [method: string, path: string, allow: string][] = [
    ["POST", "/healthz", "GET, HEAD"],
    ["DELETE", "/v1/plugins", "GET, HEAD"],
    ["PUT", "/v1/tokens", "GET, POST, HEAD"],
    ["PATCH", "/v1/tokens/t1", "DELETE"],
    ["GET", "/v1/plugins/hello/start", "POST"],
    ["HEAD", "/v1/plugins/hello/actions/greet", "POST"],
    ["OPTIONS", "/v1/plugins/hello/grants", "GET, PUT, HEAD"],
    ["PROPFIND", "/openapi.json", "GET, HEAD"],
  ];
  for (const [method, path, allow] of table) {
    const response = await app.request(path, { method, headers: bearer("admin") });
    assert.equal(response.headers.get("allow"), allow, path);
    assert.equal(response.status, 405);
    if (method !== "HEAD") assert.equal((await problemOf(response)).code, "METHOD_NOT_ALLOWED");
  }
});

Deno.test("createApp() answers HEAD like GET, without the body", async () => {
  const app = createApp(createTestingKernel(), options);
  for (const [method, path, needed] of routes) {
    if (method !== "GET" || path.startsWith("/docs/")) continue;
    const headers = needed === null ? {} : bearer("admin");
    const [get, head] = await Promise.all([
      app.request(path, { headers }),
      app.request(path, { method: "HEAD", headers }),
    ]);
    await get.body?.cancel();
    assert.equal(head.status, get.status);
    assert.equal(head.headers.get("content-type"), get.headers.get("content-type"));
    assert.equal(await head.text(), "");
  }
});

interface RefusedAct {
  method: string;
  path: string;
  body?: string;
  type?: string;
  role?: Role;
  code: string;
  plugin?: string;
}

const refusedActs: RefusedAct[] = [
  { method: "POST", path: "/v1/plugins/none/start", code: "PLUGIN_NOT_FOUND", plugin: "none" },
  { method: "POST", path: "/v1/plugins/hello/start", role: "viewer", code: "FORBIDDEN", plugin: "hello" },
  { method: "GET", path: "/v1/tokens", role: "operator", code: "FORBIDDEN" },
  { method: "DELETE", path: "/v1/tokens/none", code: "TOKEN_NOT_FOUND" },
  { method: "POST", path: "/v1/nothing", code: "NOT_FOUND" },
  { method: "DELETE", path: "/v1/plugins/hello", code: "METHOD_NOT_ALLOWED", plugin: "hello" },
  {
    method: "POST",
    path: "/v1/plugins/hello/stop",
    body: "x",
    type: "text/plain",
    code: "UNSUPPORTED_MEDIA_TYPE",
    plugin: "hello",
  },
  { method: "PUT", path: "/v1/plugins/hello/grants", body: "{", code: "MALFORMED_JSON", plugin: "hello" },
  {
    method: "PUT",
    path: "/v1/plugins/hello/grants",
    body: '{"nett":[]}',
    code: "INPUT_INVALID",
    plugin: "hello",
  },
  {
    method: "PUT",
    path: "/v1/plugins/hello/grants",
    body: '{"run":["git"]}',
    code: "GRANT_REFUSED",
    plugin: "hello",
  },
  { method: "POST", path: "/v1/tokens", body: '{"name":"","role":"king"}', code: "INPUT_INVALID" },
  {
    method: "POST",
    path: "/v1/plugins/hello/actions/greet",
    body: "1 2",
    code: "MALFORMED_JSON",
    plugin: "hello",
  },
];

for (const { method, path, body, type, role = "admin", code, plugin = "" } of refusedActs) {
  Deno.test(`createApp() records a ${method} ${path} that it refuses with ${code}, once`, async () => {
    const kernel = createTestingKernel();
    const response = await createApp(kernel, options).request(path, {
      method,
      headers: {
        ...bearer(role),
        ...(body === undefined ? {} : { "content-type": type ?? "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
    });
    assert.equal((await problemOf(response)).code, code);
    const request = response.headers.get("airlock-request-id");
    const actor = `token:${role}`;
    assert.deepEqual(kernel.refusals, [{ code, target: `${method} ${path}`, plugin, actor, request }]);
    assert.equal(response.headers.get("airlock-checkpoint"), method === "GET" ? null : checkpointBase64);
    assert.deepEqual(kernel.calls, []);
  });
}

Deno.test("createApp() records a write that fails, if that is not Airlock's own failure", async () => {
  const table: [code: ProblemCode, recorded: boolean][] = [
    ["QUEUE_FULL", true],
    ["PLUGIN_START_FAILED", true],
    ["PLUGIN_QUARANTINED", true],
    ["NOT_READY", false],
    ["INTERNAL", false],
  ];
  for (const [code, recorded] of table) {
    const kernel = createTestingKernel();
    const act = () => Promise.reject(new ProblemError(code, "Cannot start"));
    const failing = { ...kernel, plugins: { ...kernel.plugins, act } };
    const response = await createApp(failing, options).request("/v1/plugins/hello/start", {
      method: "POST",
      headers: bearer("operator"),
    });
    assert.equal((await problemOf(response)).code, code);
    assert.deepEqual(kernel.refusals.map((refusal) => refusal.code), recorded ? [code] : [], code);
  }
});

Deno.test("createApp() answers a write that found the ledger full, although that cannot be recorded", async () => {
  const full = () => Promise.reject(new ProblemError("QUEUE_FULL", "Cannot append", { retryAfterMs: 1_000 }));
  const kernel = createTestingKernel();
  const failing = { ...kernel, refuse: full, plugins: { ...kernel.plugins, act: full } };
  const response = await createApp(failing, options).request("/v1/plugins/hello/start", {
    method: "POST",
    headers: bearer("operator"),
  });
  assert.equal(response.headers.get("retry-after"), "1");
  assert.deepEqual(await problemOf(response), { status: 503, code: "QUEUE_FULL" });
});

Deno.test("createApp() does not record a reader's mistake", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, options);
  for (const path of ["/v1/nothing", "/v1/plugins/none", "/v1/ledger/entries?limit=0"]) {
    assert.ok((await app.request(path, { headers: bearer("viewer") })).status >= 400);
  }
  assert.deepEqual(kernel.refusals, []);
});

Deno.test("createApp() answers with the failure to record a refusal, not with the refusal", async () => {
  const kernel = { ...createTestingKernel(), refuse: () => Promise.reject(new Error("disk full")) };
  const response = await createApp(kernel, options).request("/v1/plugins/hello/start", {
    method: "POST",
    headers: bearer("viewer"),
  });
  assert.deepEqual(await problemOf(response), { status: 500, code: "INTERNAL" });
});

Deno.test("createApp() tells nothing of an unexpected error", async () => {
  const kernel = createTestingKernel();
  const broken = { ...kernel, plugins: { ...kernel.plugins, list: () => assert.fail("secret detail") } };
  const response = await createApp(broken, options).request("/v1/plugins", { headers: bearer("viewer") });
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret detail/);
});

Deno.test("createApp() counts each request under its route's pattern", async () => {
  const kernel = createTestingKernel();
  const app: Api = createApp(kernel, options);
  await app.request("/v1/plugins/hello", { headers: bearer("viewer") });
  await app.request("/v1/plugins/none", { headers: bearer("viewer") });
  await app.request("/v1/plugins/hello/actions/greet", { method: "POST", headers: bearer("invoker") });
  await app.request("/nothing", { method: "PROPFIND" });
  assert.deepEqual(kernel.requests.map(({ route, status }) => [route, status]), [
    ["/v1/plugins/:id", 200],
    ["/v1/plugins/:id", 404],
    ["/v1/plugins/:id/actions/:action", 200],
    ["unmatched", 404],
  ]);
});
