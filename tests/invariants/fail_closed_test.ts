/**
 * Invariant: fail closed. Time-out, crash, bad output, unknown message: refused, recorded, nothing lost.
 *
 * @module
 */
import { deepEqual, equal } from "node:assert/strict";
import type { ProblemCode } from "../../schemas/problem.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const output = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };

/** Action → its failure. Each call is alone in its action; `run` is called beside each. */
const failures: [action: string, code: ProblemCode, more: Record<string, unknown>][] = [
  ["late", "LIMIT_WALL", { timeoutMs: 200 }],
  ["busy", "LIMIT_WALL", { timeoutMs: 200 }],
  ["never", "LIMIT_WALL", { timeoutMs: 200 }],
  ["crash", "PLUGIN_CRASHED", {}],
  ["rejects", "PLUGIN_CRASHED", {}],
  ["kill", "PLUGIN_CRASHED", {}],
  ["close", "PLUGIN_CRASHED", { timeoutMs: 200 }],
  ["wrong", "OUTPUT_INVALID", { output }],
  ["circular", "ACTION_FAILED", {}],
  ["large", "LIMIT_OUTPUT", {}],
  ["throws", "ACTION_FAILED", {}],
  ["thrower", "ACTION_FAILED", {}],
  ["garbage", "OUTPUT_INVALID", { output }],
];

const failing = `
const forever = () => new Promise(() => {});
export const actions = {
  run: () => "fine",
  late: () => new Promise((resolve) => setTimeout(() => resolve("too late"), 10_000)),
  busy() { while (true); },
  never: forever,
  crash() { setTimeout(() => { throw new Error("uncaught"); }); return forever(); },
  rejects() { void Promise.reject(new Error("unhandled")); return forever(); },
  kill() { Deno.kill(Deno.pid, "SIGKILL"); return forever(); },
  close() { self.close(); return forever(); },
  hang: forever,
  wrong: () => ({ n: "one" }),
  circular() { const value = {}; value.value = value; return value; },
  large: () => "x".repeat(17 * 1_048_576),
  throws() { throw new Error("no"); },
  thrower() { throw { get message() { throw new Error("again"); }, toString() { throw new Error("and again"); } }; },
  garbage() {
    self.postMessage([{ type: "unknown" }, { type: "result", id: 1, json: "not JSON" }, { type: "result", id: 2, json: "{" }, { type: "result", id: 3, json: "{} {}" }]);
    return "not an object";
  },
};
`;
const actions = Object.fromEntries(failures.map(([action, , more]) => [action, more]));
const plugins = {
  failing: {
    "plugin.jsonc": manifest("failing", {
      actions: { run: {}, hang: { concurrency: 7 }, ...actions },
      limits: { memoryMb: 256 },
      restart: { max: 1_000 },
    }),
    "mod.ts": failing,
  },
  broken: { "plugin.jsonc": manifest("broken"), "mod.ts": `throw new Error("at load");` },
  absent: { "plugin.jsonc": manifest("absent"), "mod.ts": `export const actions = {};` },
  stuck: {
    "plugin.jsonc": manifest("stuck"),
    "mod.ts": `while (true); export const actions = { run() {} };`,
  },
};

testInEachTier("fail closed: each failure is told, recorded, and nothing else is lost", async (tier) => {
  const config = { cells: { startTimeoutMs: 2_000, restartBackoffMs: 10, restartBackoffMaxMs: 50 } };
  await using airlock = await Airlock.start({ plugins, config, args: ["--tier", tier] });
  for (const [action, code] of failures) {
    equal(await airlock.call("failing", "run"), "fine", `before ${action}`);
    const [problem] = await Promise.all([
      airlock.fail("failing", action),
      airlock.call("hello", "greet", { name: "a neighbour" }),
    ]);
    deepEqual([action, problem.code], [action, code], problem.detail);
  }
  equal(await airlock.call("failing", "run"), "fine");
  for (const id of ["broken", "absent", "stuck"]) {
    equal((await airlock.fail(id, "run")).code, "PLUGIN_START_FAILED", id);
  }

  const records = await airlock.records();
  const accepted = records.filter(({ type }) => type === "call.accepted");
  const ended = records.filter(({ type }) => type === "call.completed" || type === "call.failed");
  deepEqual(ended.map(({ data }) => data["accepted"]).sort(), accepted.map(({ seq }) => seq).sort());
  for (const [action, code] of failures) {
    const failed = records.filter(({ type, data }) => type === "call.failed" && data["action"] === action);
    deepEqual(failed.map(({ data }) => data["code"]), [code]);
  }
});

Deno.test("fail closed: a cell that dies takes its calls with it, and each is answered and recorded", async () => {
  await using airlock = await Airlock.start({ plugins });
  const calls = Array.from({ length: 7 }, () => airlock.fail("failing", "hang"));
  const pid = await until("the calls under way", async () => {
    const accepted = (await airlock.records()).filter(({ type }) => type === "call.accepted");
    return accepted.length === 7 && (await airlock.plugin("failing")).pid;
  });
  Deno.kill(pid, "SIGKILL");
  deepEqual((await Promise.all(calls)).map(({ code }) => code), Array(7).fill("PLUGIN_CRASHED"));
  equal(await airlock.call("failing", "run"), "fine");
  const records = await airlock.records();
  equal(records.filter(({ type }) => type === "call.failed").length, 7);
  equal(records.some(({ type }) => type === "plugin.crashed" || type === "plugin.killed"), true);
});
