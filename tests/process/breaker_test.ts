/**
 * Calls that fail: the breaker's three states, and another attempt for what is idempotent, over HTTP.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const shaky = `
import { existsSync, writeFileSync } from "node:fs";
const forever = () => new Promise(() => {});
const crash = () => { setTimeout(() => { throw new Error("crashed"); }); return forever(); };
export const actions = {
  run: () => "fine",
  fail() { throw new Error("no"); },
  crash,
  /** Fails its first cell, and not the second. */
  once(input, ctx) {
    const mark = ctx.dataDir + "/" + input.mark;
    if (existsSync(mark)) return "the second time";
    writeFileSync(mark, "");
    return crash();
  },
  async *stream(input, ctx) {
    yield "a token";
    return await actions.once(input, ctx);
  },
};
`;
const openMs = 700;

function start(tier: string): Promise<Airlock> {
  const idempotent = { idempotent: true };
  const actions = {
    ...{ run: {}, fail: {}, crash: idempotent },
    ...{ once: idempotent, stream: { ...idempotent, stream: true } },
  };
  return Airlock.start({
    args: ["--tier", tier],
    config: {
      cells: { breakerFailures: 3, breakerOpenMs: openMs, restartBackoffMs: 10, restartBackoffMaxMs: 20 },
    },
    plugins: {
      shaky: {
        "plugin.jsonc": manifest("shaky", { actions, restart: { max: 1_000 } }),
        "mod.ts": shaky,
      },
    },
  });
}

const stateShown = async (airlock: Airlock) => {
  const { breaker } = await airlock.plugin("shaky");
  const metrics = (await airlock.request<string>("GET", "/metrics")).body;
  return [breaker, /airlock_breaker_state\{plugin="shaky"\} ([0-9])/.exec(metrics)?.[1] ?? "0"];
};

testInEachTier("a breaker opens, lets a trial through, and closes, for all to see", async (tier) => {
  await using airlock = await start(tier);
  for (let call = 0; call < 3; call++) equal((await airlock.fail("shaky", "fail")).code, "ACTION_FAILED");
  deepEqual(await stateShown(airlock), ["open", "2"]);

  const refused = await airlock.request<Problem>("POST", "/v1/plugins/shaky/actions/run", {});
  deepEqual([refused.status, refused.body.code], [503, "BREAKER_OPEN"]);
  equal(refused.headers.get("retry-after"), "1");

  await until("half open", async () => (await airlock.plugin("shaky")).breaker === "half_open");
  equal((await airlock.fail("shaky", "fail")).code, "ACTION_FAILED");
  equal((await airlock.plugin("shaky")).breaker, "open", "a trial that fails opens it anew");

  await until("half open again", async () => (await airlock.plugin("shaky")).breaker === "half_open");
  equal(await airlock.call("shaky", "run"), "fine");
  deepEqual(await stateShown(airlock), ["closed", "0"]);

  // The last entry is on its way when the trial is answered.
  const states = async () =>
    (await airlock.records()).flatMap(({ type, data }) => type === "breaker.changed" ? [data["state"]] : []);
  await until("five changes", async () => (await states()).length >= 5);
  deepEqual(await states(), ["open", "half_open", "open", "half_open", "closed"]);
});

testInEachTier("an operator's reset closes a breaker", async (tier) => {
  await using airlock = await start(tier);
  for (let call = 0; call < 3; call++) await airlock.fail("shaky", "fail");
  equal((await airlock.fail("shaky", "run")).code, "BREAKER_OPEN");
  equal((await airlock.request("POST", "/v1/plugins/shaky/reset")).status, 200);
  equal(await airlock.call("shaky", "run"), "fine");
});

testInEachTier(
  "an idempotent call is made once more when its cell ends, and that is recorded",
  async (tier) => {
    await using airlock = await start(tier);
    equal(await airlock.call("shaky", "once", { mark: "a" }), "the second time");
    equal((await airlock.fail("shaky", "crash")).code, "PLUGIN_CRASHED", "but not for ever");

    const calls = (await airlock.records()).filter(({ type }) => type.startsWith("call."));
    deepEqual(calls.map(({ type, data }) => [type, data["action"]]), [
      ...[["call.accepted", "once"], ["call.retried", "once"], ["call.completed", "once"]],
      ...[["call.accepted", "crash"], ["call.retried", "crash"], ["call.failed", "crash"]],
    ]);
    const [accepted, retried, completed] = calls;
    ok(accepted !== undefined && retried !== undefined && completed !== undefined);
    deepEqual([retried.data["accepted"], completed.data["accepted"]], [accepted.seq, accepted.seq]);
    equal(retried.data["code"], "PLUGIN_CRASHED");
  },
);

// What its reader has seen cannot be unseen: the tokens would come twice.
testInEachTier("a stream that has begun is not made again", async (tier) => {
  await using airlock = await start(tier);
  const events = [];
  for await (const { event, data } of await airlock.stream("shaky", "stream", { mark: "b" })) {
    events.push(event === "ERROR" ? (data as Problem).code : event);
  }
  deepEqual(events, ["TOKEN", "PLUGIN_CRASHED"]);
});
