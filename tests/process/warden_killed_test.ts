import { equal, ok } from "node:assert/strict";
import {
  Airlock,
  isSealedAvailable,
  leftovers,
  manifest,
  temporaryFolder,
  until,
} from "../support/airlock.ts";
import { checkContinued, copyLedger } from "../support/ledger.ts";
import { descendantsOf, isAlive } from "../support/processes.ts";

const source = `export const actions = {
  run: () => "fine",
  loop() { while (true); },
  async hold(_input, ctx) { await Deno.writeTextFile(ctx.dataDir + "/held", "x"); await new Promise(() => {}); },
};`;
const actions = { run: {}, loop: {}, hold: {} };
const ids = ["idle", "busy", "held"];
const plugins = Object.fromEntries(
  [...ids, ...ids.map((id) => `${id}-low`)].map((
    id,
  ) => [id, { "plugin.jsonc": manifest(id, { actions }), "mod.ts": source }]),
);

/** What the run folder of every life of this data folder was called. */
function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a killed warden leaves no process, socket or folder behind, and the next start is clean", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  // The "-low" ones run in the process tier beside the sealed ones, where there are any.
  const config = { cells: { lower: ids.map((id) => `${id}-low`) } };
  await using airlock = await Airlock.start({ dataDir, plugins, config });
  const underWay: Promise<unknown>[] = [];
  for (const suffix of ["", "-low"]) {
    for (const id of ids) equal(await airlock.call(`${id}${suffix}`, "run"), "fine");
    underWay.push(airlock.invoke(`busy${suffix}`, "loop").catch(() => "lost"));
    underWay.push(airlock.invoke(`held${suffix}`, "hold").catch(() => "lost"));
  }
  await until("four calls in their cells", async () => {
    const records = await airlock.records();
    const held = ["held", "held-low"].every((id) => exists(`${airlock.dataDir}/plugins/${id}/held`));
    return held &&
      records.filter(({ type, data }) => type === "call.accepted" && data["action"] !== "run").length === 4;
  });
  if (await isSealedAvailable()) {
    equal((await airlock.plugin("busy")).isolation, "sealed");
    equal((await airlock.plugin("busy-low")).isolation, "process");
  }
  const before = await copyLedger(airlock);
  const { runFolder } = airlock;
  const pids = descendantsOf(airlock.pid);
  ok(pids.length >= 7 && exists(`${runFolder}/s`));

  const killedMs = performance.now();
  airlock.signal("SIGKILL");
  await until("every process gone", () => leftovers(dataDir).length === 0 && !pids.some(isAlive), 2_000);
  await until("the run folder gone", () => !exists(runFolder), 2_000 - (performance.now() - killedMs));
  await airlock.ended();
  await Promise.all(underWay);

  await using next = await Airlock.start({ dataDir, plugins, config });
  checkContinued(before, await copyLedger(next));
  equal(await next.call("busy", "run"), "fine");
  equal((await next.records()).some(({ type }) => type === "ledger.recovered"), false);
});

Deno.test("a warden that is killed while its cells start leaves none of them behind", async () => {
  const config = { cells: { lower: ids.map((id) => `${id}-low`) } };
  for (let round = 0; round < 8; round++) {
    await using airlock = await Airlock.start({ plugins, config });
    const wakes = Object.keys(plugins).map((id) => airlock.invoke(id, "run").catch(() => "lost"));
    // A start takes some tens of milliseconds: each round meets others of its moments.
    await new Promise((resolve) => setTimeout(resolve, 10 + 8 * round));
    Deno.kill(airlock.pid, "SIGKILL");
    await airlock.ended();
    await until("every process gone", () => leftovers(airlock.dataDir).length === 0, 10_000);
    await Promise.all(wakes);
  }
});
