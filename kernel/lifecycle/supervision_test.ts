import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { createPlugin, type FakeCell, releaseOf } from "./testing_plugin.ts";
import { settle } from "../../sandbox/testing_clock.ts";

type Setup = ReturnType<typeof createPlugin>;

async function crash(cell: FakeCell, code: ProblemError["code"] = "PLUGIN_CRASHED"): Promise<void> {
  cell.end(code === "PLUGIN_CRASHED" ? "crashed" : "killed", code);
  await settle();
}

/** Lets the restart that is due begin, and succeed. */
async function restart(setup: Setup, afterMs: number): Promise<FakeCell> {
  const index = setup.starts.length;
  await setup.timing.pass(afterMs);
  const cell = (await setup.start(index)).finish();
  await settle();
  return cell;
}

async function quarantine(setup: Setup): Promise<void> {
  await crash(await setup.wake());
  await crash(await restart(setup, 100));
  await crash(await restart(setup, 200), "LIMIT_MEMORY");
}

const startFailed = new ProblemError("PLUGIN_START_FAILED", "Cannot start");

Deno.test("Plugin is started again by itself after a pause that doubles", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  deepEqual(setup.timing.pendingMs, [100]);
  const waking = setup.plugin.awake();
  await setup.timing.pass(100);
  (await setup.start(1)).fail(startFailed);
  await rejects(Promise.resolve(waking), (error) => error === startFailed);
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["error", [200]]);
  await restart(setup, 200);
  deepEqual([setup.plugin.state, setup.plugin.restarts], ["running", 2]);
  deepEqual(setup.types(), ["plugin.started", "plugin.crashed", "plugin.failed", "plugin.started"]);
  deepEqual(setup.events, ["started wake", "ended crashed", "started restart"]);
});

Deno.test("Plugin is quarantined by as many failures as restart.max within the window, durably first", async () => {
  await using setup = createPlugin();
  const { plugin } = setup;
  await quarantine(setup);
  equal(plugin.state, "quarantined");
  const [kept] = setup.kept;
  const reason = "Cannot call";
  deepEqual(kept, { digest: "ab", code: "LIMIT_MEMORY", reason, failures: 3, windowMs: 60_000, atMs: 1_000 });
  deepEqual([setup.kept.length, setup.timing.pendingMs], [1, []]);
  for (const refused of [Promise.resolve(plugin.awake()), plugin.start("token:1")]) {
    await rejects(refused, (error) => {
      ok(error instanceof ProblemError);
      match(error.message, /3 times within 60000 ms.*POST \/v1\/plugins\/echo\/reset/);
      return error.code === "PLUGIN_QUARANTINED";
    });
  }
  await plugin.stop("operator", "token:1");
  equal(plugin.state, "quarantined", "a stop does not lift it");
});

// Three calls that loop are as many failures as make a quarantine; whoever may call could make them.
Deno.test("Plugin.reset() lifts a quarantine, and all failures are forgotten", async () => {
  await using setup = createPlugin();
  await quarantine(setup);
  setup.plugin.reset();
  equal(setup.plugin.state, "loaded");
  await crash(await setup.wake());
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["error", [100]]);
  setup.plugin.reset();
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["loaded", []], "nor is a restart due");
});

Deno.test("Plugin.restoreQuarantine() gives a plugin up that was just loaded", async () => {
  await using setup = createPlugin();
  const code = "PLUGIN_CRASHED";
  setup.plugin.restoreQuarantine({ digest: "ab", code, reason: "of old", failures: 3, windowMs: 9, atMs: 7 });
  deepEqual([setup.plugin.state, setup.plugin.lastFault?.error.message], ["quarantined", "of old"]);
  await rejects(Promise.resolve(setup.plugin.awake()), { code: "PLUGIN_QUARANTINED" });
  setup.plugin.unload();
  equal(setup.plugin.state, "unloaded");
});

Deno.test("Plugin that wants no restart is started by its operator, and by no call", async () => {
  await using setup = createPlugin({ manifest: { restart: { policy: "never" } } });
  await crash(await setup.wake());
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["error", []]);
  await rejects(Promise.resolve(setup.plugin.awake()), (error) => {
    ok(error instanceof ProblemError);
    match(error.message, /POST \/v1\/plugins\/echo\/start/);
    return error.code === "PLUGIN_STOPPED";
  });
  const starting = setup.plugin.start("token:1");
  (await setup.start(1)).finish();
  await starting;
  equal(setup.plugin.state, "running");
});

Deno.test("Plugin.start() of an operator does not wait for the pause", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  const waiting = setup.plugin.awake();
  const starting = setup.plugin.start("token:1");
  const cell = (await setup.start(1)).finish();
  await starting;
  equal(await waiting, cell, "who waited gets it too");
  deepEqual(setup.timing.pendingMs, []);
});

Deno.test("Plugin with --dev is never quarantined: in its place it rests until its next call", async () => {
  await using setup = createPlugin({ dev: true });
  await crash(await setup.wake());
  await crash(await restart(setup, 100));
  await crash(await restart(setup, 100));
  deepEqual([setup.plugin.state, setup.timing.pendingMs, setup.kept], ["error", [], []]);
  await setup.wake();
  equal(setup.plugin.state, "running");
});

Deno.test("Plugin holds nothing against a start for which there was no room", async () => {
  for (const critical of [false, true]) {
    await using setup = createPlugin({ manifest: { critical, restart: { max: 1 } } });
    const waking = Promise.resolve(setup.plugin.awake());
    const noRoom = new ProblemError("QUEUE_FULL", "Cannot start", { retryAfterMs: 1_000 });
    (await setup.start(0)).fail(noRoom);
    await rejects(waking, (error) => error === noRoom);
    deepEqual([setup.plugin.state, setup.types()], ["loaded", []]);
    deepEqual(setup.timing.pendingMs, critical ? [1_000] : [], "a critical plugin is tried again");
  }
});

// The disk is slow, or the queue of the ledger long: the pause after a failed start may be over before that.
Deno.test("Plugin.awake() waits for a restart no longer than its caller is willing to", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  const gone = new AbortController();
  const late = rejects(Promise.resolve(setup.plugin.awake({ waitMs: 50 })), (error) => {
    ok(error instanceof ProblemError);
    deepEqual([error.status, error.options.retryAfterMs], [503, 1_000]);
    return error.code === "QUEUE_FULL";
  });
  const aborted = rejects(Promise.resolve(setup.plugin.awake({ signal: gone.signal })), {
    code: "CANCELLED",
  });
  gone.abort();
  await aborted;
  await setup.timing.pass(50);
  await late;
  equal(setup.timing.pendingMs.length, 1, "the restart is due still, and no timer of a call");
});

Deno.test("Plugin.stop() tells calls that wait for a restart why they are refused", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  const stopped = new ProblemError("PLUGIN_STOPPED", "Cannot call");
  const waiting = rejects(Promise.resolve(setup.plugin.awake()), (error) => error === stopped);
  setup.forbidden.by = stopped;
  await setup.plugin.stop("operator", "token:1");
  await waiting;
  deepEqual([setup.plugin.state, setup.starts.length, setup.timing.pendingMs], ["loaded", 1, []]);
});

Deno.test("Plugin.suspend() lets calls wait until resume(), and the cell go on where it was", async () => {
  await using setup = createPlugin();
  const { plugin } = setup;
  const cell = await setup.wake();
  for (let time = 0; time < 2; time++) await plugin.suspend("token:1");
  deepEqual([plugin.state, plugin.isUp, cell.isSuspended, plugin.pid], ["suspended", false, true, cell.pid]);
  const waiting = plugin.awake();
  const late = rejects(Promise.resolve(plugin.awake({ waitMs: 50 })), { code: "QUEUE_FULL" });
  await setup.timing.pass(50);
  await late;
  await plugin.sleep("idle");
  equal(plugin.state, "suspended", "it is not put to sleep");
  await rejects(plugin.start("token:1"), { code: "CONFLICT" });
  for (let time = 0; time < 2; time++) await plugin.resume("token:2");
  equal(await waiting, cell);
  deepEqual(setup.types(), ["plugin.started", "plugin.suspended", "plugin.resumed"]);
  deepEqual(setup.records.slice(1).map(({ actor }) => actor), ["token:1", "token:2"]);
});

Deno.test("Plugin.resume() ends a cell that lost a call while it was suspended, and starts another", async () => {
  await using setup = createPlugin();
  const { plugin } = setup;
  const cell = await setup.wake();
  await plugin.suspend("token:1");
  cell.isStale = true;
  const waiting = plugin.awake();
  const resuming = plugin.resume("token:1");
  const next = (await setup.start(1)).finish();
  await resuming;
  deepEqual([cell.isAlive, plugin.state, await waiting === next], [false, "running", true]);
  equal(cell.stopCode, "PLUGIN_CRASHED", "its calls can be made again");
  deepEqual(setup.types(), [
    ...["plugin.started", "plugin.suspended", "plugin.killed", "plugin.started", "plugin.resumed"],
  ]);
  deepEqual([plugin.restarts, setup.kept], [0, []], "it is no failure");
});

Deno.test("Plugin.suspend() and resume() refuse a plugin without a cell", async () => {
  await using setup = createPlugin();
  await rejects(setup.plugin.suspend("token:1"), { code: "CONFLICT" });
  await rejects(setup.plugin.resume("token:1"), { code: "CONFLICT" });
  await setup.wake();
  await setup.plugin.sleep("idle");
  await rejects(setup.plugin.suspend("token:1"), { code: "CONFLICT" });
  equal(setup.plugin.state, "sleeping");
});

Deno.test("Plugin whose cell dies while it is suspended has failed as any other", async () => {
  await using setup = createPlugin();
  const cell = await setup.wake();
  await setup.plugin.suspend("token:1");
  const waiting = setup.plugin.awake();
  await crash(cell, "LIMIT_MEMORY");
  equal(setup.plugin.state, "error");
  equal(await restart(setup, 100), await waiting);
});

Deno.test("Plugin.suspend() and resume() tell that the cell ended meanwhile", async () => {
  for (const order of ["suspend", "resume"] as const) {
    await using setup = createPlugin();
    const cell = await setup.wake();
    if (order === "resume") await setup.plugin.suspend("token:1");
    const ordered = rejects(setup.plugin[order]("token:1"), { code: "LIMIT_CPU" });
    while (!cell.isSuspended) await null;
    cell.end("killed", "LIMIT_CPU");
    await ordered;
    await settle();
    equal(setup.plugin.state, "error");
  }
});

Deno.test("Plugin.stop() ends a suspended cell", async () => {
  await using setup = createPlugin();
  await setup.wake();
  await setup.plugin.suspend("token:1");
  await setup.plugin.stop("reload", "token:1");
  equal(setup.plugin.state, "loaded");
  deepEqual(setup.types(), ["plugin.started", "plugin.suspended", "plugin.killed"]);
});

Deno.test("Plugin that says again and again that it is ill is killed for that, and started again", async () => {
  await using setup = createPlugin({ manifest: { health: { intervalMs: 1_000, timeoutMs: 100 } } });
  const { plugin } = setup;
  const cell = await setup.wake();
  await setup.timing.pass(1_000);
  deepEqual(plugin.health, { status: "healthy", atMs: 1_000, message: null });
  cell.health = () => Promise.resolve("the model is gone");
  await setup.timing.pass(1_000);
  deepEqual([plugin.health?.status, plugin.health?.message], ["unhealthy", "the model is gone"]);
  equal(plugin.state, "running");
  await setup.timing.pass(1_000);
  equal(plugin.state, "error");
  const killed = setup.records.find(({ type }) => type === "plugin.killed");
  deepEqual(killed?.data, { code: "PLUGIN_UNHEALTHY", calls: 2 });
  await restart(setup, 100);
  equal(plugin.state, "running");
});

Deno.test("Plugin's health checks stop while it is suspended and with its cell, and do not keep it awake", async () => {
  await using setup = createPlugin({ manifest: { health: { intervalMs: 1_000, timeoutMs: 100 } } });
  const { plugin } = setup;
  const cell = await setup.wake();
  let checks = 0;
  cell.health = () => Promise.resolve(void checks++);
  await plugin.suspend("token:1");
  await setup.timing.pass(3_000);
  equal(checks, 0);
  await plugin.resume("token:1");
  const { lastActivityMs } = plugin;
  setup.clock.nowMs += 5_000;
  await setup.timing.pass(2_000);
  deepEqual([checks, plugin.lastActivityMs], [2, lastActivityMs]);
  await plugin.sleep("idle");
  deepEqual(setup.timing.pendingMs, []);
});

Deno.test("Plugin.bringUp() starts a critical plugin in the background, and no other", async () => {
  for (const critical of [true, false]) {
    await using setup = createPlugin({ manifest: { critical } });
    setup.plugin.bringUp();
    equal(setup.plugin.isUp, false);
    if (critical) (await setup.start(0)).finish();
    await settle();
    equal(setup.plugin.isUp, critical);
  }
});

Deno.test("Plugin.isUp stays true while a sleeping plugin wakes up", async () => {
  await using setup = createPlugin();
  await setup.wake();
  await setup.plugin.sleep("idle");
  const waking = setup.plugin.awake();
  const start = await setup.start(1);
  deepEqual([setup.plugin.state, setup.plugin.isUp], ["starting", true]);
  start.finish();
  await waking;
});

Deno.test("Plugin.load() takes another package on after a failure, and drops the restart that was due", async () => {
  await using setup = createPlugin();
  await crash(await setup.wake());
  setup.plugin.load(releaseOf("2.0.0"));
  deepEqual([setup.plugin.state, setup.timing.pendingMs], ["loaded", []]);
});
