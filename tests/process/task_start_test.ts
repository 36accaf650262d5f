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
          `export const actions = { async run() { await new Promise((done) => setTimeout(done, 1_000)); return "answered"; } };`,
      },
    },
  });
  await airlock.call("hello", "greet", { name: "x" });
  const answer = airlock.call("slow", "run");
  await until("the call accepted", async () => (await airlock.records()).at(-1)?.data["action"] === "run");
  // What a terminal does: every process of the foreground group gets it.
  Deno.kill(-airlock.pid, "SIGINT");
  equal(await answer, "answered");
  equal((await airlock.ended()).code, 0, airlock.output.stderr);
  deepEqual(leftovers(airlock.dataDir), []);
});
