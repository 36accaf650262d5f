import assert from "node:assert/strict";
import type { Role } from "../../schemas/api.ts";
import { createApp } from "./app.ts";
import { bearer, checkpointBase64, createTestingKernel, note } from "./testing_kernel.ts";

function create() {
  const kernel = createTestingKernel();
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const get = (path: string, role: Role = "admin") => app.request(path, { headers: bearer(role) });
  const send = (method: string, path: string, body?: unknown) =>
    app.request(path, {
      method,
      headers: { ...bearer("admin"), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return { kernel, get, send };
}

Deno.test("registerPlugins() lists plugins page by page", async () => {
  const { get } = create();
  const ids: string[] = [];
  let after = "";
  let pages = 0;
  for (let next: string | null = ""; next !== null; pages += 1) {
    const page = await (await get(`/v1/plugins?limit=2${after}`)).json();
    ids.push(...page.items.map(({ id }: { id: string }) => id));
    next = page.next;
    after = `&after=${next}`;
  }
  assert.deepEqual(ids, ["echo", "hello", "words"]);
  assert.equal(pages, 2);
});

Deno.test("registerPlugins() carries out each verb in the caller's name", async () => {
  const { kernel, send } = create();
  const verbs = ["load", "start", "stop", "suspend", "resume", "unload", "enable", "disable", "reset"];
  for (const verb of verbs) {
    const response = await send("POST", `/v1/plugins/hello/${verb}`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
    assert.equal((await response.json()).id, "hello");
  }
  assert.deepEqual(kernel.acts, verbs.map((verb) => `token:admin ${verb} hello`));
});

Deno.test("registerPlugins() answers PLUGIN_NOT_FOUND for any id that is not installed", async () => {
  const { get } = create();
  for (const id of ["none", "Not_An_Id", "__proto__", "constructor"]) {
    const response = await get(`/v1/plugins/${id}`);
    assert.equal(response.status, 404);
    assert.equal((await response.json()).code, "PLUGIN_NOT_FOUND");
  }
});

Deno.test("registerGrants() shows grants and replaces what the operator allows", async () => {
  const { kernel, get, send } = create();
  const before = await (await get("/v1/plugins/hello/grants")).json();
  assert.deepEqual(before.requested, { net: ["api.example.com:443"] });
  const response = await send("PUT", "/v1/plugins/hello/grants", {
    net: ["api.example.com:443"],
    eval: false,
  });
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual((await response.json()).operator, { net: ["api.example.com:443"], eval: false });
  assert.deepEqual(kernel.acts, ['token:admin grants hello {"net":["api.example.com:443"],"eval":false}']);
});

Deno.test("registerGrants() points at each fault of a body", async () => {
  const { send } = create();
  const response = await send("PUT", "/v1/plugins/hello/grants", { net: "x", read: ["/a", 7], "a/b~c": 1 });
  assert.equal(response.status, 422);
  const problem = await response.json();
  assert.equal(problem.code, "INPUT_INVALID");
  const paths = problem.errors.map(({ path }: { path: string }) => path);
  assert.deepEqual(paths.toSorted(), ["/a~1b~0c", "/net", "/read/1"]);
});

Deno.test("registerGrants() refuses a PUT without a body", async () => {
  const { send } = create();
  const response = await send("PUT", "/v1/plugins/hello/grants");
  assert.equal(response.status, 400);
  assert.equal((await response.json()).code, "MALFORMED_JSON");
});

Deno.test("registerAudit() shows resources page by page, of one outcome where that is asked", async () => {
  const { get } = create();
  const page = await (await get("/v1/plugins/hello/audit?limit=2", "viewer")).json();
  assert.deepEqual(page, {
    items: [
      {
        ...{ permission: "read", resource: "/srv/a", outcome: "granted", count: 2 },
        ...{ firstAt: "1970-01-01T00:00:01.000Z", lastAt: "1970-01-01T00:00:02.000Z" },
      },
      {
        ...{ permission: "read", resource: "/etc/passwd", outcome: "refused", count: 2 },
        ...{ firstAt: "1970-01-01T00:00:01.000Z", lastAt: "1970-01-01T00:00:02.000Z" },
      },
    ],
    next: "11",
    untold: 4,
    isAudited: true,
  });
  const last = await (await get("/v1/plugins/hello/audit?limit=2&after=11", "viewer")).json();
  assert.deepEqual([last.items.length, last.items[0].resource, last.next], [1, null, null]);
  const granted = await (await get("/v1/plugins/hello/audit?outcome=granted", "viewer")).json();
  assert.deepEqual(granted.items.map(({ resource }: { resource: string }) => resource), ["/srv/a"]);
  assert.equal((await (await get("/v1/plugins/unaudited/audit", "viewer")).json()).isAudited, false);
});

Deno.test("registerAudit() refuses a query that it does not know, and a plugin that is none", async () => {
  const { get } = create();
  for (const query of ["outcome=maybe", "after=x", "limit=0", "outcomes=granted"]) {
    const response = await get(`/v1/plugins/hello/audit?${query}`, "viewer");
    assert.deepEqual([response.status, (await response.json()).code], [422, "INPUT_INVALID"], query);
  }
  const response = await get("/v1/plugins/none/audit");
  assert.deepEqual([response.status, (await response.json()).code], [404, "PLUGIN_NOT_FOUND"]);
});

Deno.test("registerTokens() shows a secret once, and revokes", async () => {
  const { get, send } = create();
  const created = await send("POST", "/v1/tokens", { name: "ci", role: "invoker" });
  assert.equal(created.status, 201);
  assert.equal(created.headers.get("airlock-checkpoint"), checkpointBase64);
  const { createdAt, ...token } = await created.json();
  assert.deepEqual(token, { id: "t1", name: "ci", role: "invoker", revokedAt: null, token: "once" });
  assert.ok(createdAt);
  const { items, next } = await (await get("/v1/tokens")).json();
  assert.deepEqual([Object.keys(items[0]), next], [["id", "name", "role", "createdAt", "revokedAt"], null]);
  const revoked = await send("DELETE", "/v1/tokens/t1");
  assert.equal(revoked.status, 200);
  assert.equal(revoked.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.ok((await revoked.json()).revokedAt);
});

Deno.test("registerLedger() lists entries in ascending order, page by page", async () => {
  const { get } = create();
  const first = await (await get("/v1/ledger/entries?limit=2", "viewer")).json();
  assert.deepEqual(first.items.map(({ index }: { index: number }) => index), [0, 1]);
  assert.equal(first.next, "1");
  const second = await (await get(`/v1/ledger/entries?limit=2&after=${first.next}`, "viewer")).json();
  assert.deepEqual(second.items.map(({ line }: { line: string }) => line), ['{"v":1,"seq":2}']);
  assert.equal(second.next, null);
});

Deno.test("registerLedger() refuses a limit or a cursor that is none", async () => {
  const { get } = create();
  const queries = [
    "limit=0",
    "limit=1001",
    "limit=-1",
    "limit=1e2",
    "limit=",
    "limit=1&limit=2",
    "after=x",
    "after=-1",
  ];
  for (const query of queries) {
    const response = await get(`/v1/ledger/entries?${query}`, "viewer");
    assert.equal(response.status, 422, query);
    const { code, errors } = await response.json();
    assert.equal(code, "INPUT_INVALID");
    assert.equal(errors[0].path, `/${query.split("=")[0]}`);
  }
  assert.equal((await get("/v1/ledger/entries?limit=1000", "viewer")).status, 200);
});

Deno.test("registerLedger() shows checkpoint and key as plain text, the checkpoint as JSON on demand", async () => {
  const { get } = create();
  const text = await get("/v1/ledger/checkpoint", "viewer");
  assert.match(text.headers.get("content-type") ?? "", /^text\/plain/);
  assert.equal(await text.text(), note);
  const json = await (await get("/v1/ledger/checkpoint?format=json", "viewer")).json();
  assert.deepEqual(json, { origin: "airlock.test", size: 3, rootHash: "AAAA", note });
  const key = await get("/v1/ledger/key", "viewer");
  assert.match(key.headers.get("content-type") ?? "", /^text\/plain/);
  assert.equal(await key.text(), "airlock.test+00000000+AQ==");
});

Deno.test("registerMetrics() answers in the text format of Prometheus", async () => {
  const response = await create().get("/metrics", "viewer");
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(await response.text(), "airlock_up 1\n");
});

Deno.test("registerLogs() reads a plugin's log page by page", async () => {
  const { get } = create();
  const first = await (await get("/v1/plugins/hello/logs?limit=2")).json();
  assert.deepEqual(first.items.map(({ text }: { text: string }) => text), ["line 0", "line 1"]);
  const second = await (await get(`/v1/plugins/hello/logs?after=${first.next}`)).json();
  assert.deepEqual(second.items.map(({ seq }: { seq: number }) => seq), [2]);
  assert.equal(second.next, null);
  assert.equal((await get("/v1/plugins/none/logs")).status, 404);
});
