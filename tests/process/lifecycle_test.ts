import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import type { PluginView } from "../../schemas/api.ts";
import { Airlock, manifest, temporaryFolder, until } from "../support/airlock.ts";
import { isAlive } from "../support/processes.ts";
import { testInEachTier } from "../support/tiers.ts";

function act(airlock: Airlock, id: string, verb: string) {
  return airlock.request<PluginView>("POST", `/v1/plugins/${id}/${verb}`);
}

Deno.test("stop, unload and disable refuse calls, each with its code, and can be taken back", async () => {
  await using airlock = await Airlock.start();
  const greet = () => airlock.invoke("hello", "greet", { name: "x" });
  const turns: [away: string, code: string, back: string, state: string][] = [
    ["stop", "PLUGIN_STOPPED", "start", "loaded"],
    ["stop", "PLUGIN_STOPPED", "load", "loaded"],
    ["unload", "PLUGIN_STOPPED", "load", "unloaded"],
    ["unload", "PLUGIN_STOPPED", "start", "unloaded"],
    ["disable", "PLUGIN_DISABLED", "enable", "loaded"],
  ];
  for (const [away, code, back, state] of turns) {
    equal((await greet()).status, 200);
    const { pid } = await airlock.plugin("hello");
    ok(pid !== null);
    for (let time = 0; time < 2; time++) {
      const { status, body } = await act(airlock, "hello", away);
      deepEqual([status, body.state, body.pid, body.enabled], [200, state, null, away !== "disable"], away);
    }
    equal(isAlive(pid), false, "settled: its process has ended");
    const { status, body } = await greet();
    deepEqual([status, (body as { code: string }).code], [409, code]);
    for (let time = 0; time < 2; time++) equal((await act(airlock, "hello", back)).status, 200, back);
  }
  equal((await greet()).status, 200);
  const first = (await act(airlock, "hello", "start")).body;
  const again = (await act(airlock, "hello", "start")).body;
  deepEqual([first.state, again.state, again.pid], ["running", "running", first.pid]);
  const types = (await airlock.records()).filter(({ plugin }) => plugin.startsWith("hello@")).map((
    { type },
  ) => type);
  for (const type of ["stopped", "started", "unloaded", "loaded", "disabled", "enabled"]) {
    ok(types.includes(`plugin.${type}`), type);
  }
});

Deno.test("a call under way gets its answer when its plugin is stopped", async () => {
  await using airlock = await Airlock.start({
    plugins: {
      slow: {
        "plugin.jsonc": manifest("slow"),
        "mod.ts":
          `export const actions = { async run() { await new Promise((done) => setTimeout(done, 500)); return "answered"; } };`,
      },
    },
  });
  const answer = airlock.call("slow", "run");
  await until(
    "the call under way",
    async () =>
      (await airlock.plugin("slow")).state === "running" &&
      (await airlock.records()).some(({ data }) => data["action"] === "run"),
  );
  equal((await act(airlock, "slow", "stop")).body.state, "loaded");
  equal(await answer, "answered");
  equal((await airlock.fail("slow", "run")).code, "PLUGIN_STOPPED");
});

Deno.test("an operator's choice survives a restart", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const choices = { hello: "stop", notes: "disable", ngram: "unload" };
  const calls = {
    hello: ["greet", "PLUGIN_STOPPED"],
    notes: ["list", "PLUGIN_DISABLED"],
    ngram: ["model_info", "PLUGIN_STOPPED"],
  } as const;
  for (let start = 0; start < 2; start++) {
    await using airlock = await Airlock.start({ dataDir });
    if (start === 0) { for (const [id, verb] of Object.entries(choices)) await act(airlock, id, verb); }
    for (const [id, [action, code]] of Object.entries(calls)) {
      equal((await airlock.fail(id, action)).code, code, id);
    }
    deepEqual(
      await Promise.all(Object.keys(choices).map(async (id) => (await airlock.plugin(id)).status)),
      ["ready", "disabled", "disabled"],
    );
  }
  await using airlock = await Airlock.start({ dataDir });
  for (const [id, verb] of [["hello", "start"], ["notes", "enable"], ["ngram", "load"]] as const) {
    equal((await act(airlock, id, verb)).status, 200);
  }
  await airlock.call("hello", "greet", { name: "x" });
  await airlock.call("notes", "list");
  await airlock.call("ngram", "model_info");
});

const counting = `let calls = 0; export const actions = { run: () => ({ calls: ++calls, pid: Deno.pid }) };`;
interface Counted {
  calls: number;
  pid: number;
}

testInEachTier("an idle plugin falls asleep, its process gone, and wakes at the next call", async (tier) => {
  await using airlock = await Airlock.start({
    args: ["--tier", tier],
    plugins: { sleepy: { "plugin.jsonc": manifest("sleepy", { idleMs: 200 }), "mod.ts": counting } },
  });
  equal((await airlock.call<Counted>("sleepy", "run")).calls, 1);
  const { pid } = await airlock.plugin("sleepy");
  await until("it sleeps", async () => (await airlock.plugin("sleepy")).state === "sleeping");
  if (pid !== null) await until("its process gone", () => !isAlive(pid), 1_000);
  const { pid: none, status } = await airlock.plugin("sleepy");
  deepEqual([none, status], [null, "ready"]);
  equal((await airlock.call<Counted>("sleepy", "run")).calls, 1, "a fresh cell");
  const reasons = (await airlock.records()).filter(({ type }) => type === "plugin.stopped").map(({ data }) =>
    data["reason"]
  );
  ok(reasons.includes("idle"));
});

Deno.test("a plugin with reuse per-call gets a fresh process for each call, also of calls at once", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    plugins: { fresh: { "plugin.jsonc": manifest("fresh", { reuse: "per-call" }), "mod.ts": counting } },
  });
  const answers: Counted[] = [];
  for (let call = 0; call < 3; call++) answers.push(await airlock.call<Counted>("fresh", "run"));
  answers.push(...await Promise.all([1, 2, 3].map(() => airlock.call<Counted>("fresh", "run"))));
  deepEqual(answers.map(({ calls }) => calls), [1, 1, 1, 1, 1, 1]);
  equal(new Set(answers.map(({ pid }) => pid)).size, 6);
  for (const { pid } of answers) equal(isAlive(pid), false);
});

Deno.test("--dev reads a changed plugin again at its next start; without it a load does", async () => {
  for (const isDev of [true, false]) {
    const source = (word: string) => `export const actions = { run: () => "${word}" };`;
    await using airlock = await Airlock.start({
      args: isDev ? ["--dev"] : [],
      plugins: { edited: { "plugin.jsonc": manifest("edited"), "mod.ts": source("one") } },
    });
    equal(await airlock.call("edited", "run"), "one");
    const { packageSha256 } = await airlock.plugin("edited");
    await Deno.writeTextFile(`${airlock.folder}/plugins/edited/mod.ts`, source("two"));
    for (const verb of ["stop", "start"]) await act(airlock, "edited", verb);
    equal(await airlock.call("edited", "run"), isDev ? "two" : "one");
    if (!isDev) { for (const verb of ["unload", "load"]) await act(airlock, "edited", verb); }
    equal(await airlock.call("edited", "run"), "two");
    notEqual((await airlock.plugin("edited")).packageSha256, packageSha256);
    match((await airlock.plugin("edited")).packageSha256, /^[0-9a-f]{64}$/);
  }
});
