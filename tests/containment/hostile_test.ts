/**
 * A hostile plugin harms its own call, at most its own cell, and nobody else.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Isolation } from "../../schemas/capabilities.ts";
import type { ProblemCode } from "../../schemas/problem.ts";
import { Airlock, manifest } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";
import { actions as hostileActions } from "./hostile/mod.ts";
import { pluginSource } from "./support.ts";

/** What ends the cell, and the code of the call that did it. */
const fatal: readonly (readonly [keyof typeof hostileActions, ProblemCode])[] = [
  ["loop", "LIMIT_WALL"],
  ["microtasks", "LIMIT_WALL"],
  ["wait", "LIMIT_WALL"],
  ["thenable", "LIMIT_WALL"],
  ["allocate", "LIMIT_MEMORY"],
  ["buffers", "LIMIT_MEMORY"],
  ["kill", "PLUGIN_CRASHED"],
  // They end the Worker and not the process, which would leave nobody to answer: it says so on its way out.
  ["exit", "PLUGIN_CRASHED"],
  ["processExit", "PLUGIN_CRASHED"],
  ["close", "PLUGIN_CRASHED"],
  ["stopSelf", "LIMIT_WALL"],
  ["rejection", "PLUGIN_CRASHED"],
  ["later", "PLUGIN_CRASHED"],
];

async function start(tier: Isolation): Promise<Airlock> {
  const overdue = new Set<string>(
    fatal.filter(([, code]) => code === "LIMIT_WALL").map(([action]) => action),
  );
  const actions = Object.fromEntries(
    Object.keys(hostileActions).map((name) => [name, overdue.has(name) ? { timeoutMs: 300 } : {}]),
  );
  return await Airlock.start({
    args: ["--tier", tier],
    config: {
      cells: { stopTimeoutMs: 300, breakerFailures: 1_000, restartBackoffMs: 10, restartBackoffMaxMs: 50 },
    },
    plugins: {
      hostile: {
        // It fails more often than any plugin that is not given up.
        "plugin.jsonc": manifest("hostile", { actions, limits: { memoryMb: 48 }, restart: { max: 1_000 } }),
        "mod.ts": pluginSource("hostile"),
      },
    },
  });
}

/** Calls a neighbour and `/healthz` until `attack` is over; both must answer throughout. */
async function watchNeighbours(airlock: Airlock, attack: Promise<unknown>): Promise<void> {
  let isOver = false;
  void attack.then(() => isOver = true, () => isOver = true);
  let answers = 0;
  do {
    equal((await airlock.request("GET", "/healthz")).status, 200);
    await airlock.call("hello", "greet", { name: "a neighbour" });
    answers++;
  } while (!isOver);
  ok(answers > 0);
}

testInEachTier("a plugin that ruins its cell fails its own call, and its next one works", async (tier) => {
  await using airlock = await start(tier);
  const kernelPid = await airlock.kernelPid();
  for (const [action, code] of fatal) {
    const attack = airlock.fail("hostile", action);
    await watchNeighbours(airlock, attack);
    const problem = await attack;
    deepEqual({ action, code: problem.code }, { action, code }, problem.detail);
    match(problem.detail, /^Cannot call plugin "hostile": /);
    equal(await airlock.call("hostile", "run"), "fine", action);
  }
  equal(await airlock.kernelPid(), kernelPid);
  const failed = (await airlock.records()).filter(({ type }) => type === "call.failed");
  deepEqual(failed.map(({ data }) => [data["action"], data["code"]]), fatal);
});

testInEachTier("a plugin that fails in odd ways keeps its cell", async (tier) => {
  await using airlock = await start(tier);
  const { pid } = await (airlock.call("hostile", "run").then(() => airlock.plugin("hostile")));
  const odd = ["null", "undefined", "symbol", "bare", "function", "proxy", "getter", "name", "long"];
  for (const what of odd) {
    const problem = await airlock.fail("hostile", "throwing", { what });
    equal(problem.code, "ACTION_FAILED", what);
    ok(problem.detail.length <= 4_096, what);
  }
  for (const action of ["recursion", "circular", "bigint", "abort"]) {
    equal((await airlock.fail("hostile", action)).code, "ACTION_FAILED", action);
  }
  const fine = { nothing: null, garbage: "sent", output: "written", log: "logged", signals: "deaf" };
  for (const [action, output] of Object.entries(fine)) {
    equal(await airlock.call("hostile", action), output, action);
  }
  equal(await airlock.call("hostile", "run"), "fine");
  equal((await airlock.plugin("hostile")).pid, pid);
  await airlock.call("hello", "greet", { name: "a neighbour" });
});

testInEachTier("a plugin that patches its globals breaks itself alone", async (tier) => {
  await using airlock = await start(tier);
  const { status } = await airlock.invoke("hostile", "globals");
  ok([200, 502, 504].includes(status), `${status}`);
  const { status: after } = await airlock.invoke("hostile", "run");
  ok([200, 502, 504].includes(after), `${after}`);
  await airlock.call("hello", "greet", { name: "a neighbour" });
  for (const verb of ["stop", "start"]) {
    equal((await airlock.request("POST", `/v1/plugins/hostile/${verb}`)).status, 200);
  }
  equal(await airlock.call("hostile", "run"), "fine");
});

testInEachTier("a plugin that does not stop is killed at its deadline", async (tier) => {
  await using airlock = await start(tier);
  await airlock.call("hostile", "signals");
  await airlock.call("hostile", "stubborn");
  const { status, body } = await airlock.request<{ state: string; pid: number | null }>(
    "POST",
    "/v1/plugins/hostile/stop",
  );
  deepEqual([status, body.state, body.pid], [200, "loaded", null]);
  const killed = (await airlock.records()).filter(({ type }) => type === "plugin.killed");
  equal(killed.length, 1);
});
