import assert from "node:assert/strict";
import type { Role } from "../../schemas/api.ts";
import { createApp } from "./app.ts";
import { jobIds, scheduleId } from "./testing_jobs.ts";
import { bearer, checkpointBase64, createTestingKernel } from "./testing_kernel.ts";

const request = { name: "nightly", plugin: "hello", action: "greet", cron: "0 3 * * *" };

function create() {
  const kernel = createTestingKernel();
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const send = async (method: string, path: string, body?: unknown, role: Role = "operator") =>
    await app.request(path, {
      method,
      headers: { ...bearer(role), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return { kernel, send };
}

Deno.test("registerSchedules() creates a schedule in the caller's name", async () => {
  const { kernel, send } = create();
  const response = await send("POST", "/v1/schedules", { ...request, timeZone: "Europe/Berlin" });
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  const { id, timeZone } = await response.json();
  assert.deepEqual([id, timeZone], [scheduleId, "Europe/Berlin"]);
  assert.equal(kernel.jobs.asked[0]?.[2], "token:operator");
});

Deno.test("registerSchedules() points at each fault of a body", async () => {
  const { kernel, send } = create();
  const faulty: [member: Record<string, unknown>, path: string][] = [
    [{ name: "" }, "/name"],
    [{ cron: 5 }, "/cron"],
    [{ cron: "* ".repeat(100) }, "/cron"],
    [{ timeZone: "" }, "/timeZone"],
    [{ timezone: "UTC" }, "/timezone"],
    [{ runAt: null }, "/runAt"],
    [{ priority: 1e9 }, "/priority"],
    [{ retry: { attempts: 101 } }, "/retry/attempts"],
  ];
  for (const [member, path] of faulty) {
    const response = await send("POST", "/v1/schedules", { ...request, ...member });
    const { code, errors } = await response.json();
    assert.deepEqual([response.status, code, errors[0].path], [422, "INPUT_INVALID", path]);
  }
  assert.deepEqual(kernel.jobs.asked, []);
});

Deno.test("registerSchedules() lists a page of schedules, for whom the token stands", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const get = async (query: string, role: Role = "viewer") =>
    await app.request(`/v1/schedules${query}`, { headers: bearer(role) });
  const { items, next } = await (await get(`?limit=2&after=${jobIds.own}`)).json();
  assert.deepEqual([items.length, items[0].id, next], [1, scheduleId, null]);
  await get("?limit=1", "operator");
  assert.deepEqual(kernel.jobs.asked, [
    ["listSchedules", { limit: 2, after: jobIds.own }, { actor: "token:viewer", readsAll: false }],
    ["listSchedules", { limit: 1 }, { actor: "token:operator", readsAll: true }],
  ]);
  assert.equal((await get("?limit=1&limit=2")).status, 422);
  assert.equal((await get("?plugin=hello")).status, 422);
});

Deno.test("registerSchedules() deletes a schedule, and finds none by what is no id", async () => {
  const { kernel, send } = create();
  const response = await send("DELETE", `/v1/schedules/${scheduleId}`);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual([response.status, await response.json()], [200, { id: scheduleId }]);
  for (const id of ["none", "__proto__", jobIds.own]) {
    const missing = await send("DELETE", `/v1/schedules/${id}`);
    assert.deepEqual([missing.status, (await missing.json()).code], [404, "SCHEDULE_NOT_FOUND"]);
  }
  assert.deepEqual(kernel.jobs.asked.map(([, id]) => id), [scheduleId, jobIds.own]);
  assert.equal(kernel.refusals.length, 3);
});
