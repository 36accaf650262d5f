import assert from "node:assert/strict";
import { problemCodes } from "../../schemas/problem.ts";
import { createApp } from "./app.ts";
import { createTestingKernel } from "./testing_kernel.ts";

const app = createApp(createTestingKernel(), { swaggerUiFolder: "/nowhere" });

async function readDocument() {
  const response = await app.request("/openapi.json");
  assert.equal(response.headers.get("content-type"), "application/json");
  return await response.json();
}

/** Every string under a key "$ref". */
function refsIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => key === "$ref" ? [String(child)] : refsIn(child));
}

Deno.test("registerOpenApi() documents every route that is served, in OpenAPI 3.1", async () => {
  const document = await readDocument();
  assert.equal(document.openapi, "3.1.0");
  assert.equal(document.info.title, "Airlock");
  const documented = Object.entries<object>(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`)
  );
  const undocumented = /^(?:\/docs|\/openapi\.json)/;
  const served = app.routes.filter(({ method, path }) => method !== "ALL" && !undocumented.test(path))
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(?:\{[^}]*\})?/g, "{$1}")}`);
  assert.deepEqual(documented.toSorted(), [...new Set(served)].toSorted());
});

Deno.test("registerOpenApi() documents the WebSocket among the others", async () => {
  const { get } = (await readDocument()).paths["/v1/ws"];
  for (const status of [101, 401, 403, 422, 426, 503]) assert.ok(status in get.responses, String(status));
});

Deno.test("registerOpenApi() names the token on all routes but those of health, each under its own name", async () => {
  const document = await readDocument();
  assert.equal(document.components.securitySchemes.bearer.scheme, "bearer");
  const names = new Set<string>();
  let count = 0;
  for (const [path, item] of Object.entries<Record<string, Record<string, unknown>>>(document.paths)) {
    for (const operation of Object.values(item)) {
      const open = path === "/healthz" || path === "/readyz";
      assert.deepEqual(operation.security, open ? undefined : [{ bearer: [] }], path);
      names.add(String(operation.operationId));
      count += 1;
    }
  }
  assert.equal(names.size, count);
});

Deno.test("registerOpenApi() documents every problem code and resolves every reference", async () => {
  const document = await readDocument();
  assert.deepEqual(document.components.schemas.Problem.properties.code.enum, problemCodes);
  const refs = refsIn(document);
  assert.ok(refs.length > 20);
  for (const ref of refs) {
    const name = /^#\/components\/schemas\/(\w+)$/.exec(ref)?.[1];
    assert.ok(name !== undefined && name in document.components.schemas, ref);
  }
  const invoke = document.paths["/v1/plugins/{id}/actions/{action}"].post.responses;
  for (const status of [200, 400, 401, 403, 404, 408, 409, 413, 415, 422, 499, 500, 502, 503, 504]) {
    assert.ok(status in invoke, String(status));
  }
});

Deno.test("registerOpenApi() documents what each order may answer", async () => {
  const { paths } = await readDocument();
  const codesOf = (verb: string, status: number): string =>
    paths[`/v1/plugins/{id}/${verb}`].post.responses[status]?.description ?? "";
  for (const code of ["PLUGIN_QUARANTINED", "QUEUE_FULL", "NOT_READY"]) {
    assert.ok(codesOf("start", 503).includes(code), code);
  }
  assert.ok(codesOf("start", 502).includes("LIMIT_MEMORY"));
  assert.ok(codesOf("load", 422).includes("GRANT_REFUSED"));
  assert.ok(codesOf("suspend", 409).includes("CONFLICT"));
  assert.equal(codesOf("stop", 409), "");
});

Deno.test("registerOpenApi() documents Airlock-Checkpoint on every answer to a write, and a full ledger", async () => {
  const { paths } = await readDocument();
  type Response = { description: string; headers?: Record<string, unknown> };
  type Operation = { responses: Record<string, Response> };
  let writes = 0;
  for (const [path, item] of Object.entries<Record<string, Operation>>(paths)) {
    for (const [method, { responses }] of Object.entries(item)) {
      if (method === "get") continue;
      writes += 1;
      assert.match(
        responses["503"]?.description ?? "",
        /QUEUE_FULL/,
        `${method} ${path}: the ledger may be full`,
      );
      for (const [status, { headers = {} }] of Object.entries(responses)) {
        // Of a 401 nothing is in the ledger yet, and who asks may not know what is.
        assert.equal("Airlock-Checkpoint" in headers, status !== "401", `${method} ${path} ${status}`);
      }
    }
  }
  assert.ok(writes >= 16, `${writes} writes`);
});

Deno.test("registerOpenApi() lets null into enumerations that may be null, and leaves no flags behind a pattern", async () => {
  const { components: { schemas } } = await readDocument();
  assert.deepEqual(schemas.Job.properties.waitingFor.enum, ["time", "jobs", "key", "turn", null]);
  assert.deepEqual(schemas.LogLine.properties.code.enum, ["LIMIT_LOG", null]);
  assert.equal(schemas.TokenRequest.properties.name.pattern, "^[^\\p{C}]+$");
});
