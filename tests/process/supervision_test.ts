/**
 * Supervision over HTTP, of real cells: restarts, quarantine, suspension, health, readiness, grants.
 *
 * @module
 */
import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import type { PluginView } from "../../schemas/api.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest, temporaryFolder, until } from "../support/airlock.ts";
import { isAlive } from "../support/processes.ts";
import { testInEachTier } from "../support/tiers.ts";

function act(airlock: Airlock, id: string, verb: string) {
  return airlock.request<PluginView & Pick<Problem, "code">>("POST", `/v1/plugins/${id}/${verb}`);
}

async function inState(airlock: Airlock, id: string, state: string): Promise<PluginView> {
  return await until(`"${id}" is ${state}`, async () => {
    const view = await airlock.plugin(id);
    return view.state === state && view;
  }, 20_000);
}

async function typesOf(airlock: Airlock, id: string): Promise<string[]> {
  return (await airlock.records()).filter(({ plugin }) => plugin.startsWith(`${id}@`)).map(({ type }) =>
    type
  );
}

/** Asks until somebody listens. */
async function kernelBack(airlock: Airlock, former: number): Promise<void> {
  await until("the kernel back", async () => {
    try {
      return await airlock.kernelPid() !== former;
    } catch {
      return false; // nobody listens between two lives
    }
  }, 10_000);
}

const unstable = {
  "plugin.jsonc": manifest("unstable", { actions: { run: {}, crash: {} } }),
  "mod.ts": `export const actions = {
    run: () => "fine",
    crash: () => new Promise(() => { Promise.reject(new Error("on purpose")); }),
  };`,
};

testInEachTier("a crash loop ends in quarantine, which outlives the kernel, until a reset", async (tier) => {
  await using airlock = await Airlock.start({
    args: ["--tier", tier],
    config: { cells: { restartBackoffMs: 50 } },
    plugins: { unstable },
  });
  const pids = new Set<number | null>();
  for (let crash = 1; crash <= 3; crash++) {
    equal(await airlock.call("unstable", "run"), "fine");
    pids.add((await airlock.plugin("unstable")).pid);
    equal((await airlock.fail("unstable", "crash")).code, "PLUGIN_CRASHED");
    if (crash < 3) equal((await inState(airlock, "unstable", "running")).restarts, crash, "by itself");
  }
  if (!pids.has(null)) equal(pids.size, 3);
  const quarantined = async (): Promise<void> => {
    const { state, status, pid, lastError } = await airlock.plugin("unstable");
    deepEqual([state, status, pid], ["quarantined", "error", null]);
    match(lastError?.message ?? "", /on purpose/);
    const { status: code, body } = await airlock.invoke("unstable", "run");
    deepEqual([code, (body as Problem).code], [503, "PLUGIN_QUARANTINED"]);
    match((body as Problem).detail, /3 times.*on purpose.*\/v1\/plugins\/unstable\/reset/);
    equal((await act(airlock, "unstable", "start")).body.code, "PLUGIN_QUARANTINED");
  };
  await quarantined();
  const former = await airlock.kernelPid();
  Deno.kill(former, "SIGKILL");
  await kernelBack(airlock, former);
  await quarantined();
  const { status, body } = await act(airlock, "unstable", "reset");
  deepEqual([status, body.state], [200, "loaded"]);
  equal(await airlock.call("unstable", "run"), "fine");
  equal((await act(airlock, "unstable", "reset")).body.state, "running", "repeating it succeeds");
  const records = (await airlock.records()).filter(({ type }) => type === "plugin.quarantined");
  deepEqual(records.map(({ data }) => [data["code"], data["failures"], data["windowMs"]]), [
    ["PLUGIN_CRASHED", 3, 60_000],
  ]);
  const ends = (await typesOf(airlock, "unstable")).filter((type) => /crashed|killed|stopped/.test(type));
  deepEqual(ends, ["plugin.crashed", "plugin.crashed", "plugin.crashed"]);
});

Deno.test("a plugin that cannot be started is quarantined, and mended files lift that", async () => {
  await using airlock = await Airlock.start({
    config: { cells: { restartBackoffMs: 50 } },
    plugins: { broken: { "plugin.jsonc": manifest("broken"), "mod.ts": "throw new Error('not today');" } },
  });
  equal((await airlock.fail("broken", "run")).code, "PLUGIN_START_FAILED");
  await inState(airlock, "broken", "quarantined");
  await until(
    "three entries",
    async () => (await typesOf(airlock, "broken")).filter((type) => type === "plugin.failed").length === 3,
  );
  await Deno.writeTextFile(
    `${airlock.folder}/plugins/broken/mod.ts`,
    "export const actions = { run: () => 1 };",
  );
  await act(airlock, "broken", "unload");
  equal((await act(airlock, "broken", "load")).body.state, "loaded");
  equal(await airlock.call("broken", "run"), 1);
  ok((await typesOf(airlock, "broken")).includes("plugin.reset"));
});

Deno.test("--dev quarantines nobody: a file that was broken many times works once it is mended", async () => {
  await using airlock = await Airlock.start({
    args: ["--dev"],
    config: { cells: { restartBackoffMs: 10 } },
    plugins: { draft: { "plugin.jsonc": manifest("draft"), "mod.ts": "throw new Error('a draft');" } },
  });
  for (let attempt = 0; attempt < 6; attempt++) {
    equal((await airlock.fail("draft", "run")).code, "PLUGIN_START_FAILED");
  }
  await Deno.writeTextFile(
    `${airlock.folder}/plugins/draft/mod.ts`,
    "export const actions = { run: () => 1 };",
  );
  await until("it works", async () => (await airlock.invoke("draft", "run")).status === 200);
});

testInEachTier("calls of a suspended plugin wait in a bounded line until it is resumed", async (tier) => {
  await using airlock = await Airlock.start({
    args: ["--tier", tier],
    config: { cells: { callsPendingMax: 2 } },
    plugins: {
      counting: {
        "plugin.jsonc": manifest("counting", {
          actions: { run: { concurrency: 1 }, brief: { timeoutMs: 200 } },
        }),
        "mod.ts": "let count = 0; export const actions = { run: () => ++count, brief: () => ++count };",
      },
    },
  });
  equal((await act(airlock, "counting", "suspend")).body.code, "CONFLICT", "there is no cell");
  equal(await airlock.call("counting", "run"), 1);
  const { pid } = await airlock.plugin("counting");
  for (let time = 0; time < 2; time++) {
    const { status, body } = await act(airlock, "counting", "suspend");
    deepEqual([status, body.state, body.pid, body.status], [200, "suspended", pid, "ready"]);
  }
  // One has the plugin to itself, two may stand in line.
  const calls = [1, 2, 3, 4].map(() => airlock.invoke<number>("counting", "run"));
  const refused = await Promise.race(calls);
  deepEqual([refused.status, (refused.body as Problem).code], [503, "QUEUE_FULL"]);
  ok(refused.headers.has("retry-after"));
  const late = await airlock.invoke("counting", "brief");
  deepEqual([late.status, (late.body as Problem).code], [503, "QUEUE_FULL"]);
  equal((await act(airlock, "counting", "start")).body.code, "CONFLICT");
  for (let time = 0; time < 2; time++) {
    const { status, body } = await act(airlock, "counting", "resume");
    deepEqual([status, body.state, body.pid], [200, "running", pid]);
  }
  const answered = (await Promise.all(calls)).filter(({ status }) => status === 200);
  deepEqual(
    answered.map(({ body }) => (body as { output: number }).output).toSorted(),
    [2, 3, 4],
    "no cell was lost",
  );
  const types = await typesOf(airlock, "counting");
  deepEqual(types.filter((type) => /suspended|resumed/.test(type)), ["plugin.suspended", "plugin.resumed"]);
});

Deno.test("a call that runs out of time while its plugin is suspended ends then, and resume takes a new cell", async () => {
  await using airlock = await Airlock.start({
    plugins: {
      slow: {
        "plugin.jsonc": manifest("slow", { actions: { run: {}, wait: { timeoutMs: 1_000 } } }),
        "mod.ts": "export const actions = { run: () => 'fine', wait: () => new Promise(() => {}) };",
      },
    },
  });
  equal(await airlock.call("slow", "run"), "fine");
  const { pid } = await airlock.plugin("slow");
  const answer = airlock.fail("slow", "wait");
  await until("the call under way", async () => (await airlock.records()).at(-1)?.data["action"] === "wait");
  equal((await act(airlock, "slow", "suspend")).status, 200);
  equal((await answer).code, "LIMIT_WALL");
  equal((await airlock.plugin("slow")).state, "suspended");
  const { status, body } = await act(airlock, "slow", "resume");
  deepEqual([status, body.state, body.restarts], [200, "running", 0]);
  notEqual(body.pid, pid);
  equal(await airlock.call("slow", "run"), "fine");
});

testInEachTier("a suspended plugin gives way to stop, unload, other grants and a drain", async (tier) => {
  await using airlock = await Airlock.start({
    args: ["--tier", tier],
    plugins: {
      calm: { "plugin.jsonc": manifest("calm"), "mod.ts": "export const actions = { run: () => 'fine' };" },
    },
  });
  const orders: [order: () => Promise<unknown>, back: string][] = [
    [() => act(airlock, "calm", "stop"), "start"],
    [() => act(airlock, "calm", "unload"), "load"],
    [() => airlock.request("PUT", "/v1/plugins/calm/grants", {}), "load"],
  ];
  for (const [order, back] of orders) {
    equal(await airlock.call("calm", "run"), "fine");
    const { pid } = await airlock.plugin("calm");
    equal((await act(airlock, "calm", "suspend")).status, 200);
    await order();
    notEqual((await airlock.plugin("calm")).state, "suspended");
    if (pid !== null) equal(isAlive(pid), false);
    equal((await act(airlock, "calm", back)).status, 200);
  }
  equal(await airlock.call("calm", "run"), "fine");
  equal((await act(airlock, "calm", "suspend")).status, 200);
});

Deno.test("a plugin whose own health check fails again and again is killed for that and comes back", async () => {
  await using airlock = await Airlock.start({
    config: { cells: { restartBackoffMs: 50, healthFailuresMax: 2 } },
    plugins: {
      ill: {
        "plugin.jsonc": manifest("ill", {
          actions: { run: {}, sicken: {} },
          health: { intervalMs: 100, timeoutMs: 1_000 },
        }),
        "mod.ts": `let isIll = false;
          export const actions = { run: () => "fine", sicken: () => { isIll = true; return "ill"; } };
          export function health() { if (isIll) throw new Error("the model is gone"); }`,
      },
    },
  });
  equal(await airlock.call("ill", "run"), "fine");
  await until("healthy", async () => (await airlock.plugin("ill")).health?.status === "healthy");
  await airlock.call("ill", "sicken");
  const killed = await until(
    "killed",
    async () => (await airlock.records()).find(({ type }) => type === "plugin.killed"),
    20_000,
  );
  equal(killed.data["code"], "PLUGIN_UNHEALTHY");
  match((await airlock.plugin("ill")).lastError?.message ?? "", /the model is gone/);
  await inState(airlock, "ill", "running");
  equal(await airlock.call("ill", "run"), "fine");
});

Deno.test("a critical plugin starts with the kernel, and Airlock is not ready without it", async () => {
  const source = "export const actions = { run: () => 'fine' };";
  await using airlock = await Airlock.start({
    config: { cells: { restartBackoffMs: 50 } },
    plugins: {
      gate: { "plugin.jsonc": manifest("gate", { critical: true, idleMs: 300 }), "mod.ts": source },
      other: { "plugin.jsonc": manifest("other"), "mod.ts": source },
    },
  });
  const readiness = () => airlock.request<Problem>("GET", "/readyz");
  await until("it is ready", async () => (await readiness()).status === 200, 20_000);
  equal((await airlock.plugin("other")).state, "loaded");
  await inState(airlock, "gate", "sleeping");
  equal((await readiness()).status, 200, "asleep is up");
  await act(airlock, "gate", "stop");
  const { status, body } = await readiness();
  deepEqual([status, body.code], [503, "NOT_READY"]);
  match(body.detail, /1 critical plugin is not up/);
  equal(await airlock.call("other", "run"), "fine", "others are served");
  await act(airlock, "gate", "load");
  await until("it is ready again", async () => (await readiness()).status === 200, 20_000);
  await act(airlock, "gate", "disable");
  equal((await readiness()).status, 200, "a disabled one is not missed");
});

testInEachTier(
  "a path that is a link, passes through one or does not exist is refused when granted",
  async (tier) => {
    await using folder = await temporaryFolder();
    await Deno.mkdir(`${folder.path}/real`);
    await Deno.writeTextFile(`${folder.path}/real/file`, "x");
    await Deno.symlink(`${folder.path}/real`, `${folder.path}/link`);
    await using airlock = await Airlock.start({
      args: ["--tier", tier],
      config: { cells: { restartBackoffMs: 50 } },
      plugins: {
        reader: {
          "plugin.jsonc": manifest("reader", { capabilities: { read: ["*"] } }),
          "mod.ts": `export const actions = { run: ({ path }) => Deno.readTextFileSync(path) };`,
        },
      },
    });
    const grant = (path: string) =>
      airlock.request<Problem>("PUT", "/v1/plugins/reader/grants", { read: [path] });
    const refused = [
      [`${folder.path}/link`, /leads to/],
      [`${folder.path}/link/file`, /leads to/],
      [`${folder.path}/none`, /does not exist/],
      [`${airlock.dataDir}/ledger`, /Airlock's/],
    ] as const;
    for (const [path, why] of refused) {
      const { status, body } = await grant(path);
      deepEqual([path, status, body.code], [path, 422, "GRANT_REFUSED"]);
      match(body.detail, why);
    }
    const given = (await airlock.records()).filter(({ type, plugin }) =>
      type === "grant.given" && plugin === "reader@1.0.0"
    );
    equal(given.length, 1, "what it has by default");
    equal((await grant(`${folder.path}/real/file`)).status, 200);
    const read = () => airlock.invoke("reader", "run", { path: `${folder.path}/real/file` });
    equal((await read()).status, 200);
    // Turned into a link after it was granted: the next start is refused.
    await act(airlock, "reader", "stop");
    await Deno.rename(`${folder.path}/real`, `${folder.path}/moved`);
    await Deno.symlink(`${folder.path}/moved`, `${folder.path}/real`);
    equal((await act(airlock, "reader", "start")).body.code, "PLUGIN_START_FAILED");
    await inState(airlock, "reader", "quarantined");
  },
);
