import { deepEqual, equal, ok } from "node:assert/strict";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest } from "../support/airlock.ts";

/** Tree size of the checkpoint that came with an answer. */
function sizeOf(headers: Headers): number {
  const note = new TextDecoder().decode(Uint8Array.fromBase64(headers.get("airlock-checkpoint") ?? ""));
  return Number(note.split("\n")[1]);
}

Deno.test("every order of an operator has an entry in its name, covered by the answer's checkpoint", async () => {
  await using airlock = await Airlock.start();
  for (const verb of ["stop", "load", "start", "start", "disable", "enable", "unload"]) {
    const { status, headers } = await airlock.request("POST", `/v1/plugins/hello/${verb}`);
    equal(status, 200);
    const orders = (await airlock.records()).filter(({ type }) => type === "plugin.ordered");
    const last = orders.at(-1);
    deepEqual(last?.data, { verb });
    ok(last?.actor.startsWith("token:"));
    ok(sizeOf(headers) > (last?.seq ?? Infinity));
  }
  const started = (await airlock.records()).find(({ type }) => type === "plugin.started");
  ok(started?.actor.startsWith("token:"));
});

Deno.test("start is in the ledger before it is answered", async () => {
  await using airlock = await Airlock.start();
  const { headers } = await airlock.request("POST", "/v1/plugins/hello/start");
  const started = (await airlock.records()).find(({ type }) => type === "plugin.started");
  ok(sizeOf(headers) > (started?.seq ?? Infinity));
});

Deno.test("a drain ends a call that takes too long, and tells its caller and the ledger", async () => {
  await using airlock = await Airlock.start({
    config: { http: { drainTimeoutMs: 300 }, cells: { stopTimeoutMs: 300 } },
    plugins: {
      slow: {
        "plugin.jsonc": manifest("slow"),
        "mod.ts": "export const actions = { run() { return new Promise(() => {}); } };",
      },
    },
  });
  await airlock.request("POST", "/v1/plugins/slow/start");
  const answer = airlock.invoke("slow", "run");
  while (!(await airlock.records()).some(({ type }) => type === "call.accepted"));
  airlock.signal("SIGTERM");
  const { status, body } = await answer;
  ok(status >= 400);
  ok(["PLUGIN_STOPPED", "PLUGIN_CRASHED"].includes((body as Problem).code));
  equal((await airlock.ended()).code, 0);
  const types = [];
  for await (const { name } of Deno.readDir(`${airlock.dataDir}/ledger/log`)) {
    const lines = (await Deno.readTextFile(`${airlock.dataDir}/ledger/log/${name}`)).trimEnd().split("\n");
    types.push(...lines.map((line): string => JSON.parse(line).type));
  }
  ok(types.includes("call.failed"));
  equal(types.at(-1), "kernel.stopped");
});

Deno.test("--dev: grants are checked against the manifest that stands in the folder when the cell starts", async () => {
  await using airlock = await Airlock.start({
    args: ["--dev"],
    plugins: {
      draft: { "plugin.jsonc": manifest("draft"), "mod.ts": "export const actions = { run: () => 1 };" },
    },
  });
  equal(await airlock.call("draft", "run"), 1);
  const requests = manifest("draft", { capabilities: { net: ["*:443"] } });
  await Deno.writeTextFile(`${airlock.folder}/plugins/draft/plugin.jsonc`, requests);
  await airlock.request("POST", "/v1/plugins/draft/stop");
  await airlock.request("POST", "/v1/plugins/draft/start");
  const { status } = await airlock.request("PUT", "/v1/plugins/draft/grants", { net: ["example.com:443"] });
  equal(status, 200);
  const plugin = await airlock.plugin("draft");
  const started = (await airlock.records()).filter(({ type }) => type === "plugin.started").at(-1);
  equal(started?.data["packageSha256"], plugin.packageSha256);
});
