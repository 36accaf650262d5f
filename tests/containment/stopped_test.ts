/**
 * An operator's word holds for the calls that wait in line when it is given.
 *
 * @module
 */
import { deepEqual, equal } from "node:assert/strict";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";

// Each call of `slow` says that it has begun, and ends when there is a file: a plugin has no event of that.
const slow = `
export const actions = {
  async slow({ file }) {
    await Deno.writeTextFile(file + ".begun", "");
    for (;;) {
      try { return await Deno.readTextFile(file); } catch { await new Promise((resolve) => setTimeout(resolve, 5)); }
    }
  },
};
`;

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a call that waits in line does not wake a plugin that was stopped, disabled or unloaded", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    plugins: {
      slow: {
        "plugin.jsonc": manifest("slow", { actions: { slow: { concurrency: 1 } } }),
        "mod.ts": slow,
      },
    },
  });
  const path = "/v1/plugins/slow/actions/slow";
  const verbs = [
    ["stop", "start", "PLUGIN_STOPPED", "loaded"],
    ["disable", "enable", "PLUGIN_DISABLED", "loaded"],
    ["unload", "load", "PLUGIN_STOPPED", "unloaded"],
  ] as const;
  for (const [verb, undo, code, state] of verbs) {
    const file = `${airlock.dataDir}/plugins/slow/${verb}`;
    const first = airlock.call("slow", "slow", { file });
    await until("the first call is under way", () => exists(`${file}.begun`));
    const second = airlock.request<Problem>("POST", path, { file });
    const stopping = airlock.request<{ state: string; pid: number | null }>(
      "POST",
      `/v1/plugins/slow/${verb}`,
    );
    await Deno.writeTextFile(file, "done");
    equal(await first, "done");
    equal((await second).body.code, code);
    const { status, body } = await stopping;
    deepEqual([verb, status, body.state, body.pid], [verb, 200, state, null]);
    equal((await airlock.plugin("slow")).pid, null);
    equal((await airlock.request("POST", `/v1/plugins/slow/${undo}`)).status, 200);
  }
});
