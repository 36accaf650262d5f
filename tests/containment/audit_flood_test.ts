/**
 * A plugin that asks and asks, each time for something else: it pays for its audit with its own time, no check of
 * it is lost, and ledger, disk and neighbours have little of it.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { AuditView } from "../../schemas/audit.ts";
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const floodMs = 3_000;
const answerMsMax = 2_000;
const toldMs = 20_000;
const megabyte = 1_048_576;
/** See `audit` in the configuration, as it is by itself. */
const resourcesMax = 1_000;
const refusalsMax = 100;

const flooder = `
let at = 0;
export const actions = {
  flood({ ms }) {
    const endsMs = performance.now() + ms;
    let made = 0;
    for (; performance.now() < endsMs; made++) {
      try { Deno.statSync("/flood/" + at++ + "x".repeat(200)); } catch { /* refused */ }
    }
    return made;
  },
};`;

/** Bytes of all files below. */
function bytesIn(folder: string): number {
  return [...Deno.readDirSync(folder)].reduce((bytes, { name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return bytes + (isDirectory ? bytesIn(path) : Deno.lstatSync(path).size);
  }, 0);
}

function rssOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`)) ?? [];
  return Number(kilobytes) * 1_024;
}

async function entriesOf(airlock: Airlock, type: string): Promise<LedgerRecord[]> {
  const path = `/v1/ledger/entries?type=${type}&limit=1000`;
  const { body } = await airlock.request<{ items: { line: string }[] }>("GET", path);
  return body.items.map(({ line }) => JSON.parse(line));
}

testInEachTier(
  "a flood of permission checks costs the plugin that makes them, and is told whole",
  async (tier) => {
    await using airlock = await Airlock.start({
      args: ["--tier", tier],
      plugins: {
        flooder: {
          "plugin.jsonc": manifest("flooder", {
            actions: { flood: {} },
            limits: { cpuPercent: 100, cpuMs: 60_000 },
          }),
          "mod.ts": flooder,
        },
        fine: { "plugin.jsonc": manifest("fine"), "mod.ts": `export const actions = { run: () => "fine" };` },
      },
    });
    await airlock.call("flooder", "flood", { ms: 1 });
    equal(await airlock.call("fine", "run"), "fine");
    const kernel = await airlock.kernelPid();
    const before = { disk: bytesIn(airlock.dataDir), rss: rssOf(kernel) };
    const flooding = airlock.call<number>("flooder", "flood", { ms: floodMs });
    let isOver = false;
    void flooding.finally(() => isOver = true);
    while (!isOver) {
      const startedMs = performance.now();
      equal(await airlock.call("fine", "run"), "fine");
      const tookMs = performance.now() - startedMs;
      ok(tookMs < answerMsMax, `the neighbour's answer took ${tookMs} ms`);
    }
    const made = await flooding;
    ok(made > resourcesMax + 200, `only ${made} checks were made`);

    // The first call made a few, too; and what it asked for last may still be in its pipe, read at its pace.
    const { items } = await until("all of it is told", async () => {
      const path = "/v1/plugins/flooder/audit?limit=1000";
      const { body } = await airlock.request<AuditView>("GET", path);
      const told = body.items.reduce((sum, { count }) => sum + count, body.untold);
      ok(told < made + 1_000, `${told} told of ${made} checks`);
      return told >= made && body;
    }, toldMs);
    equal(items.length, resourcesMax);
    equal(
      items.every(({ outcome, resource }) => outcome === "refused" && resource?.startsWith("/flood/")),
      true,
    );

    const entries = await entriesOf(airlock, "permission.refused");
    ok(entries.length > 0 && entries.length <= refusalsMax, `${entries.length} entries`);
    equal(JSON.stringify(entries).includes("flood/"), false);
    const disk = bytesIn(airlock.dataDir) - before.disk;
    ok(disk < 8 * megabyte, `${disk} bytes more on the disk`);
    const rss = rssOf(kernel) - before.rss;
    ok(rss < 64 * megabyte, `${rss} bytes more in the kernel`);
  },
);
