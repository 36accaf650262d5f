/**
 * Calls that jobs make: on which terms, what of them is recorded, and what a job is told.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/ledger.ts";
import type { FakeCall } from "../lifecycle/testing_plugin.ts";
import { createFolder, live, scan } from "../lifecycle/testing_plugins.ts";
import type { Call, CallableCell } from "./call.ts";
import { Router } from "./router.ts";

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const job = { id: "01J", attempt: 2 };

type CellsCall = FakeCall & Pick<Parameters<CallableCell["cell"]["call"]>[0], "soft">;

async function setUp(manifest: Record<string, unknown> = {}) {
  const folder = await createFolder();
  const life = live(folder.dataDir, folder.store, { found: [scan("echo", manifest)] });
  await life.start();
  const entries: LedgerEventInput[] = [];
  const counted: string[] = [];
  const events: string[] = [];
  /** Entries are durable when it resolves. */
  const disk = { isFree: Promise.resolve() };
  const router = new Router({
    plugins: life.plugins,
    ledger: {
      async append(event) {
        entries.push(event);
        const index = entries.length + 6;
        await disk.isFree;
        events.push(event.type);
        return { index, size: index + 1, checkpoint: "" };
      },
    },
    metrics: { refused: (code) => events.push(`refused ${code}`), callEnded: () => {} },
    refusals: { take: (actor) => counted.push(actor) > 0 },
    ...{ callsPendingMax: 0, inputBytesPendingMax: 1_000, cellWaitMs: 1 },
  });
  const invoke = (more: Partial<Call> = {}) =>
    router.invoke({
      ...{ plugin: "echo", action: "run", input: json({}), actor: "token:a", request: "r" },
      signal: new AbortController().signal,
      ...more,
    });
  return {
    ...{ life, router, invoke, entries, counted, events, disk },
    /** The cell, awake, that answers calls so. */
    async wake(answer: (call: CellsCall) => Promise<Uint8Array<ArrayBuffer>>) {
      const cell = await life.plugins.find("echo").plugin.awake();
      cell.call = answer;
      return cell;
    },
    act: (verb: Parameters<typeof life.plugins.act>[1]) => life.plugins.act("echo", verb, "token:1"),
    async [Symbol.asyncDispose]() {
      await life[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

type Setup = Awaited<ReturnType<typeof setUp>>;

const actions = { run: { concurrency: 7, idempotent: true, timeoutMs: 500, retry: { attempts: 3 } } };

Deno.test("Router.check() tells the terms of a call, wakes nobody and records nothing", async () => {
  await using setup = await setUp({ actions, limits: { wallMs: 900 } });
  deepEqual(setup.router.check("echo", "run"), {
    ...{ plugin: "echo@1.0.0", concurrency: 7, isPerCall: false, isIdempotent: true, wallMs: 500 },
    retry: { attempts: 3, backoffMs: 200 },
  });
  await using alone = await setUp({ actions: { run: {} }, reuse: "per-call", limits: { wallMs: 900 } });
  deepEqual(alone.router.check("echo", "run"), {
    ...{ plugin: "echo@1.0.0", concurrency: 1, isPerCall: true, isIdempotent: false, wallMs: 900 },
    retry: undefined,
  });
  for (const { life, entries, events } of [setup, alone]) {
    deepEqual([life.cells, entries, events, life.plugins.get("echo").state], [[], [], [], "loaded"]);
  }
});

function openBreaker({ life }: Setup): void {
  const { breaker } = life.plugins.find("echo");
  while (breaker.state === "closed") breaker.enter()?.failed(new ProblemError("ACTION_FAILED", "no"));
}

/** What the plugin is brought to, and what a call is refused by then; enqueuing goes by `describe()`. */
const hindrances: [what: string, code: string, bring: (setup: Setup) => unknown][] = [
  ["is stopped", "PLUGIN_STOPPED", ({ act }) => act("stop")],
  ["is unloaded", "PLUGIN_STOPPED", ({ act }) => act("unload")],
  ["is disabled", "PLUGIN_DISABLED", ({ act }) => act("disable")],
  ["is quarantined", "PLUGIN_QUARANTINED", ({ life }) => life.crashUntil("quarantined")],
  ["has an open breaker", "BREAKER_OPEN", openBreaker],
  ["is asked for while Airlock stops", "NOT_READY", ({ router }) => router.drain()],
];
for (const [what, code, bring] of hindrances) {
  Deno.test(`Router.check() throws what refuses a call of a plugin that ${what}, and describe() does not`, async () => {
    await using setup = await setUp();
    await bring(setup);
    const { router, invoke, events } = setup;
    const counts = [setup.life.cells.length, setup.life.records.length];
    const refusal = await invoke({ job }).catch((error) => error);
    events.length = 0;
    throws(() => router.check("echo", "run"), (error) => {
      ok(error instanceof ProblemError);
      deepEqual([error, error.options], [refusal, refusal.options]);
      equal((error.options.retryAfterMs ?? 0) > 0, code === "BREAKER_OPEN");
      return error.code === code;
    });
    deepEqual(router.describe("echo", "run"), { plugin: "echo@1.0.0" });
    deepEqual([setup.life.cells.length, setup.life.records.length], counts);
    deepEqual([setup.entries, events], [[], []]);
  });
}

Deno.test("Router.check() throws of a suspended plugin, whose calls would wait, until it is resumed", async () => {
  await using setup = await setUp();
  await setup.wake(() => Promise.resolve(json(1)));
  await setup.act("suspend");
  throws(() => setup.router.check("echo", "run"), { code: "PLUGIN_STOPPED" });
  const waiting = setup.invoke({ job });
  await setup.act("resume");
  equal(setup.router.check("echo", "run").plugin, "echo@1.0.0");
  await waiting;
});

Deno.test("Router.check() and describe() throw of what is not there, by whatever name it is asked for", async () => {
  await using setup = await setUp();
  const names = [
    ["none", "run", "PLUGIN_NOT_FOUND"],
    ["__proto__", "run", "PLUGIN_NOT_FOUND"],
    ["echo", "walk", "ACTION_NOT_FOUND"],
    ["echo", "constructor", "ACTION_NOT_FOUND"],
    ["echo", "__proto__", "ACTION_NOT_FOUND"],
  ] as const;
  for (const [plugin, action, code] of names) {
    throws(() => setup.router.check(plugin, action), { code });
    throws(() => setup.router.describe(plugin, action), { code });
  }
  const error = new ProblemError("PLUGIN_REJECTED", "Cannot admit");
  setup.life.world.inFolder = { kind: "rejected", id: "echo", folder: "/f", error, isCritical: false };
  await setup.act("unload");
  await rejects(setup.act("load"), { code: "PLUGIN_REJECTED" });
  throws(() => setup.router.check("echo", "run"), { code: "PLUGIN_REJECTED" });
  throws(() => setup.router.describe("echo", "run"), { code: "PLUGIN_REJECTED" });
});

Deno.test("Router.invoke() records no refusal of a job's call, and takes nothing from its actor's budget", async () => {
  await using setup = await setUp();
  openBreaker(setup);
  for (const more of [{}, { plugin: "none" }, { action: "walk" }]) {
    await rejects(setup.invoke({ job, ...more }), ProblemError);
  }
  deepEqual([setup.entries, setup.counted], [[], []]);
  await rejects(setup.invoke(), { code: "BREAKER_OPEN" });
  deepEqual(setup.entries.map(({ type }) => type), ["call.refused"]);
});

Deno.test("Router.invoke() hands the job and the grace to the cell, and its caller's deadline beside its own", async () => {
  await using setup = await setUp({ actions, limits: { wallMs: 900 } });
  const calls: CellsCall[] = [];
  await setup.wake((call) => {
    calls.push(call);
    return Promise.resolve(json(1));
  });
  await setup.invoke();
  for (const wallMsMax of [100, 10_000]) await setup.invoke({ job, wallMsMax, cancelGraceMs: 70 });
  deepEqual(calls.map((call) => [call.job, call.wallMs, call.soft?.wallMs, call.cancelGraceMs]), [
    [undefined, 500, undefined, undefined],
    [job, 500, 100, 70],
    [job, 500, undefined, 70],
  ]);
});

/** What a call ends with whose caller had no more patience; see `PendingCalls`. */
function outwaited(): ProblemError {
  return new ProblemError("LIMIT_WALL", "Cannot call", {
    cause: new ProblemError("CANCELLED", "Cannot call"),
  });
}

for (const reuse of ["warm", "per-call"] as const) {
  Deno.test(`Router.invoke() keeps the place of a ${reuse} action that goes on without its caller`, async () => {
    await using setup = await setUp({ actions: { run: { concurrency: 1 } }, reuse });
    const ended = Promise.withResolvers<void>();
    const cell = await setup.wake(({ soft }) => {
      soft?.onLeft(ended.promise);
      return Promise.reject(outwaited());
    });
    await rejects(setup.invoke({ job, wallMsMax: 10 }), { code: "LIMIT_WALL" });
    // No place in line either: see callsPendingMax.
    await rejects(setup.invoke({ job }), { code: "QUEUE_FULL" });
    equal(cell.isAlive, true);
    const drained = setup.router.drain().then(() => setup.events.push("drained"));
    await rejects(setup.invoke({ job }), { code: "NOT_READY" });
    setup.events.push("ended");
    ended.resolve();
    await drained;
    deepEqual(setup.events.slice(-2), ["ended", "drained"]);
    equal(cell.isAlive, reuse === "warm");
  });
}

Deno.test("Router.invoke() gives the place of an action that went on to the next when it ends", async () => {
  await using setup = await setUp({ actions: { run: { concurrency: 1 } } });
  const ended = Promise.withResolvers<void>();
  const cell = await setup.wake(({ soft }) => {
    soft?.onLeft(ended.promise);
    return Promise.reject(outwaited());
  });
  await rejects(setup.invoke({ job, wallMsMax: 10 }), { code: "LIMIT_WALL" });
  cell.call = () => Promise.resolve(json(2));
  await rejects(setup.invoke({ job }), { code: "QUEUE_FULL" });
  ended.resolve();
  // The place is handed on in the turns of the loop that follow: nothing else is to wait for.
  await new Promise((resolve) => setTimeout(resolve));
  deepEqual((await setup.invoke({ job })).output, json(2));
  equal(setup.life.cells.length, 1);
});

Deno.test("Router.invoke() lets no caller of little patience open a breaker", async () => {
  await using setup = await setUp({ actions });
  await setup.wake(() => Promise.reject(outwaited()));
  for (let call = 0; call < 50; call++) {
    await rejects(setup.invoke({ job, wallMsMax: 10 }), { code: "LIMIT_WALL" });
  }
  equal(setup.life.plugins.find("echo").breaker.state, "closed");
  equal(setup.life.cells.length, 1);
});

Deno.test("Call.onAccepted() is told when the call is on disk, before the plugin sees the input", async () => {
  await using setup = await setUp();
  const written = Promise.withResolvers<void>();
  await setup.wake(() => {
    setup.events.push("seen");
    return Promise.resolve(json(1));
  });
  setup.disk.isFree = written.promise;
  const answer = setup.invoke({ job, onAccepted: (index) => setup.events.push(`accepted ${index}`) });
  deepEqual(setup.events, []);
  written.resolve();
  await answer;
  deepEqual(setup.events, ["call.accepted", "accepted 7", "seen", "call.completed"]);
});

Deno.test("Call.onAccepted() that throws keeps the input from the plugin, and the call has failed", async () => {
  await using setup = await setUp();
  await setup.wake(() => {
    setup.events.push("seen");
    return Promise.resolve(json(1));
  });
  const onAccepted = () => {
    throw new Error("the disk is full");
  };
  await rejects(setup.invoke({ job, onAccepted }), { code: "INTERNAL" });
  deepEqual(setup.events, ["call.accepted", "call.failed"]);
});

Deno.test("Call.onAccepted() is not told of a call whose plugin never gets to see it", async () => {
  await using setup = await setUp();
  const accepted: number[] = [];
  const onAccepted = (index: number) => void accepted.push(index);
  openBreaker(setup);
  await rejects(setup.invoke({ job, onAccepted }), { code: "BREAKER_OPEN" });
  await setup.act("reset");
  await setup.act("start");
  await setup.act("suspend");
  await rejects(setup.invoke({ job, onAccepted, wallMsMax: 1, signal: AbortSignal.abort() }), {
    code: "CANCELLED",
  });
  deepEqual([accepted, setup.events.slice(-2)], [[], ["call.accepted", "call.failed"]]);
});

Deno.test("Router.invoke() passes on what a call logs, which does not keep it from being made again", async () => {
  await using setup = await setUp({ actions });
  const told: string[] = [];
  const sink = {
    token: () => Promise.resolve(),
    progress() {},
    log: (level: string, text: string) => void told.push(`${level} ${text}`),
  };
  let attempts = 0;
  await setup.wake(({ sink }) => {
    sink?.log?.("info", `attempt ${++attempts}`);
    return attempts === 1
      ? Promise.reject(new ProblemError("PLUGIN_CRASHED", "Cannot call"))
      : Promise.resolve(json(1));
  });
  await setup.invoke({ sink });
  deepEqual(told, ["info attempt 1", "info attempt 2"]);
  deepEqual(setup.events, ["call.accepted", "call.retried", "call.completed"]);
});

Deno.test("Router.invoke() makes an attempt of a job once, for the job has others", async () => {
  await using setup = await setUp({ actions });
  let attempts = 0;
  await setup.wake(() => {
    attempts++;
    return Promise.reject(new ProblemError("PLUGIN_CRASHED", "Cannot call"));
  });
  await rejects(setup.invoke({ job }), { code: "PLUGIN_CRASHED" });
  deepEqual([attempts, setup.events], [1, ["call.accepted", "call.failed"]]);
});
