import { deepEqual, equal, match, notEqual } from "node:assert/strict";
import { Airlock, manifest, until } from "../support/airlock.ts";
import { checkContinued, copyLedger } from "../support/ledger.ts";
import { descendantsOf, isAlive } from "../support/processes.ts";

const plugins = {
  holding: {
    "plugin.jsonc": manifest("holding", { actions: { run: {}, hold: {} } }),
    "mod.ts": `export const actions = { run: () => "fine", hold: () => new Promise(() => {}) };`,
  },
};

Deno.test("a killed kernel is back on the same port within three seconds, with its ledger, again and again", async () => {
  await using airlock = await Airlock.start({ plugins });
  const { body: token } = await airlock.request<{ token: string }>("POST", "/v1/tokens", {
    name: "ci",
    role: "invoker",
  });
  for (let kill = 0; kill < 3; kill++) {
    equal(await airlock.call("holding", "run"), "fine");
    const held = airlock.invoke("holding", "hold").catch(() => "lost");
    await until(
      "the call under way",
      async () => (await airlock.records()).at(-1)?.data["action"] === "hold",
    );
    const before = await copyLedger(airlock);
    const { runFolder } = airlock;
    const pid = await airlock.kernelPid();
    const others = descendantsOf(airlock.pid);
    Deno.kill(pid, "SIGKILL");
    const next = await until("the kernel back", async () => {
      try {
        return await airlock.kernelPid();
      } catch {
        return false; // nobody listens between two lives
      }
    }, 3_000);
    notEqual(next, pid);
    equal(await held, "lost");
    equal(others.some(isAlive), false, "the cells of the old kernel are gone");
    notEqual(airlock.runFolder, runFolder);
    checkContinued(before, await copyLedger(airlock));
    const headers = { authorization: `Bearer ${token.token}` };
    equal(
      (await airlock.request("POST", "/v1/plugins/hello/actions/greet", { name: "x" }, headers)).status,
      200,
    );
  }
  match(airlock.output.stderr, /The kernel died after \d+ ms \(SIGKILL\): back in \d+ ms/);
  deepEqual(airlock.output.stdout.match(/^airlock listening on /gm)?.length, 1, "it is announced once");
});
