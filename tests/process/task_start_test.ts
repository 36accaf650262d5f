import { deepEqual, equal } from "node:assert/strict";
import { Airlock, leftovers, manifest, until } from "../support/airlock.ts";

Deno.test("deno task start serves, and drains at Ctrl-C although it delivers the signal twice", async () => {
  await using airlock = await Airlock.start({
    command: [Deno.execPath(), "task", "start"],
    detached: true,
    plugins: {
      slow: {
        "plugin.jsonc": manifest("slow"),
        "mod.ts":
          `export const actions = { async run({ ms }) { await new Promise((done) => setTimeout(done, ms)); return "answered"; } };`,
      },
    },
  });
  await airlock.call("hello", "greet", { name: "x" });
  // Awake by now: an accepted call whose cell still starts would be refused by the drain.
  equal(await airlock.call("slow", "run", { ms: 0 }), "answered");
  const answer = airlock.call("slow", "run", { ms: 1_000 });
  await until("the call accepted", async () => (await airlock.records()).at(-1)?.type === "call.accepted");
  // What a terminal does: every process of the foreground group gets it.
  Deno.kill(-airlock.pid, "SIGINT");
  equal(await answer, "answered");
  equal((await airlock.ended()).code, 0, airlock.output.stderr);
  deepEqual(leftovers(airlock.dataDir), []);
});
