import { equal, match } from "node:assert/strict";
import { Airlock, manifest } from "../support/airlock.ts";

const vandal = `
export const actions = {
  run(_input, ctx) {
    Deno.removeSync(ctx.dataDir, { recursive: true });
    Deno.writeTextFileSync(ctx.dataDir, "not a folder");
    return "done";
  },
};
`;

Deno.test("a plugin that puts a file in the place of its private folder loses its own start only (process)", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    plugins: { vandal: { "plugin.jsonc": manifest("vandal"), "mod.ts": vandal } },
  });
  equal(await airlock.call("vandal", "run"), "done");
  await airlock.request("POST", "/v1/plugins/vandal/stop");
  const { status, body } = await airlock.request<{ code: string; detail: string }>(
    "POST",
    "/v1/plugins/vandal/start",
  );
  equal(status, 502);
  equal(body.code, "PLUGIN_START_FAILED");
  match(body.detail, /private folder/);
  await airlock.call("hello", "greet", { name: "a neighbour" });
});
