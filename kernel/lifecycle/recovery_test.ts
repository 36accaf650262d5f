import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { settle } from "../../sandbox/testing_clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { createPlugin, type FakeCell } from "./testing_plugin.ts";

async function crash(cell: FakeCell, code: ProblemError["code"] = "PLUGIN_CRASHED"): Promise<void> {
  cell.end(code === "PLUGIN_CRASHED" ? "crashed" : "killed", code);
  await settle();
}

const startFailed = new ProblemError("PLUGIN_START_FAILED", "Cannot start");

Deno.test("Plugin is started again at once, and never given up, for an end that calls caused", async () => {
  for (const code of ["LIMIT_CPU", "LIMIT_WALL", "CANCELLED"] as const) {
    await using setup = createPlugin();
    let cell = await setup.wake();
    for (let end = 0; end < 5; end++) {
      cell.end("killed", code, true);
      await settle();
      cell = (await setup.start(end + 1)).finish();
      await settle();
    }
    deepEqual([setup.plugin.state, setup.kept], ["running", []]);
    // A share of the CPU that it used without any call is the plugin's own doing.
    await crash(cell, "LIMIT_CPU");
    deepEqual(setup.timing.pendingMs, [100]);
  }
});

Deno.test("Plugin is not given up for faults of Airlock's own", async () => {
  await using setup = createPlugin({ manifest: { restart: { max: 1 } } });
  await crash(await setup.wake(), "INTERNAL");
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["error", [100]]);
  setup.plugin.reset();
  const waking = rejects(Promise.resolve(setup.plugin.awake()), { code: "ISOLATION_REQUIRED" });
  (await setup.start(1)).fail(new ProblemError("ISOLATION_REQUIRED", "Cannot run"));
  await waking;
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["loaded", []]);
  equal(setup.plugin.lastFault?.error.code, "ISOLATION_REQUIRED");
});

Deno.test("Plugin is not quarantined where that cannot be kept: the kernel ends", async () => {
  await using setup = createPlugin({ manifest: { restart: { max: 1 } } });
  const cell = await setup.wake();
  setup.disk.isBroken = true;
  await crash(cell);
  match(String(setup.fatal), /Cannot keep the quarantine of plugin "echo"/);
  equal(setup.plugin.state, "error");
  const starting = setup.plugin.start("token:1");
  (await setup.start(1)).finish();
  await starting;
});

Deno.test("Plugin is started again although the failure was not recorded before its pause was over", async () => {
  for (const next of ["restart", "operator", "call"] as const) {
    await using setup = createPlugin();
    const { plugin } = setup;
    const first = rejects(Promise.resolve(plugin.awake()), (error) => error === startFailed);
    const disk = Promise.withResolvers<void>();
    setup.disk.isFree = disk.promise;
    (await setup.start(0)).fail(startFailed);
    await settle();
    equal(plugin.state, "error");
    if (next === "restart") await setup.timing.pass(100);
    const starting = next === "operator" ? plugin.start("token:1") : undefined;
    const waiting = Promise.resolve(plugin.awake());
    await settle();
    equal(setup.starts.length, 1, "one thing at a time");
    disk.resolve();
    await first;
    if (next === "call") await setup.timing.pass(100);
    const cell = (await setup.start(1)).finish();
    equal(await waiting, cell);
    await starting;
    deepEqual([plugin.state, setup.starts.length, setup.timing.pendingMs], ["running", 2, []]);
  }
});

Deno.test("Plugin.stop() prevails over a restart whose turn came while a failure was being recorded", async () => {
  await using setup = createPlugin();
  const { plugin } = setup;
  const first = rejects(Promise.resolve(plugin.awake()), (error) => error === startFailed);
  const disk = Promise.withResolvers<void>();
  setup.disk.isFree = disk.promise;
  (await setup.start(0)).fail(startFailed);
  await settle();
  const stopping = plugin.stop("operator", "token:1");
  await setup.timing.pass(100);
  disk.resolve();
  await first;
  await stopping;
  await settle();
  deepEqual([plugin.state, setup.starts.length], ["loaded", 1]);
});

Deno.test("Plugin.awake() waits for a start no longer than its caller is willing to, and the start goes on", async () => {
  await using setup = createPlugin();
  const { plugin } = setup;
  const gone = new AbortController();
  const first = rejects(Promise.resolve(plugin.awake({ waitMs: 50 })), { code: "QUEUE_FULL" });
  const start = await setup.start(0);
  const second = rejects(Promise.resolve(plugin.awake({ signal: gone.signal })), { code: "CANCELLED" });
  gone.abort();
  await second;
  await setup.timing.pass(50);
  await first;
  equal(plugin.state, "starting");
  start.fail(startFailed);
  await settle();
  deepEqual([plugin.state, setup.types()], ["error", ["plugin.failed"]], "and nobody is left to tell");
});

Deno.test("Plugin.close() tells calls that wait, and lets no restart come", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  const stopping = new ProblemError("NOT_READY", "Cannot call");
  const waiting = rejects(Promise.resolve(setup.plugin.awake()), (error) => error === stopping);
  setup.forbidden.by = stopping;
  setup.plugin.close();
  await waiting;
  deepEqual([setup.plugin.state, setup.starts.length, setup.timing.pendingMs], ["error", 1, []]);
});
