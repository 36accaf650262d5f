/**
 * Invariant: the host's version is checked before a plugin is loaded.
 *
 * @module
 */
import { deepEqual, equal, match } from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import { Airlock, manifest } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const evaluated = "the module was evaluated";
const source = `console.log("${evaluated}"); export const actions = { run: () => "${evaluated}" };`;

testInEachTier("host version before load: a package for another Airlock is never evaluated", async (tier) => {
  const plugins = { newer: { "plugin.jsonc": manifest("newer", { airlock: ">=9.0.0" }), "mod.ts": source } };
  await using airlock = await Airlock.start({ plugins, args: ["--tier", tier] });
  const { standing, status, state, pid, lastError, packageSha256 } = await airlock.plugin("newer");
  deepEqual({ standing, status, state, pid, packageSha256 }, {
    ...{ standing: "rejected", status: "error", state: "unloaded", pid: null, packageSha256: "" },
  });
  const words = JSON.stringify(lastError);
  match(words, />=9\.0\.0/);
  match(words, new RegExp(denoJson.version.replaceAll(".", "\\.")));
  match(words, /[Uu]pgrade Airlock/);

  for (const verb of ["start", "load"]) {
    equal(
      (await airlock.request<{ code: string }>("POST", `/v1/plugins/newer/${verb}`)).body.code,
      "PLUGIN_REJECTED",
    );
  }
  equal((await airlock.fail("newer", "run")).code, "PLUGIN_REJECTED");
  const records = (await airlock.records()).filter(({ type }) => /^(?:plugin|call)\./.test(type));
  equal(records.some(({ type }) => type === "plugin.rejected"), true);
  equal(records.some(({ type }) => type === "plugin.started" || type === "call.accepted"), false);
  // Not a byte of it stands where packages run from.
  const stored = await Array.fromAsync(Deno.readDir(`${airlock.dataDir}/packages`), async ({ name }) => {
    try {
      return await Deno.readTextFile(`${airlock.dataDir}/packages/${name}/mod.ts`);
    } catch {
      return "";
    }
  });
  equal(stored.some((text) => text.includes(evaluated)), false);

  // Mended, it loads.
  await Deno.writeTextFile(`${airlock.folder}/plugins/newer/plugin.jsonc`, manifest("newer"));
  equal((await airlock.request("POST", "/v1/plugins/newer/load")).status, 200);
  equal(await airlock.call("newer", "run"), evaluated);
});
