/**
 * The plugins of a kernel over a store and a ledger in memory, with cells that do what a test says. Only
 * `*_test.ts` files import this.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import { configSchema } from "../../schemas/config.ts";
import { manifestSchema } from "../../schemas/manifest.ts";
import type { Ledger, LedgerEventInput } from "../ledger/ledger.ts";
import type { AdmittedPlugin, ScannedPlugin } from "../registry/registry.ts";
import { openStore, type Store } from "../store/store.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { Plugins } from "./plugins.ts";
import { FakeCell, releaseOf } from "./testing_plugin.ts";

export const digest = "ab".repeat(32);
export const otherDigest = "cd".repeat(32);

export function scan(id: string, more: Record<string, unknown> = {}, packageDigest = digest): AdmittedPlugin {
  const minimal = { id, version: "1.0.0", airlock: "*", entrypoint: "mod.ts", actions: { run: {} } };
  const manifest = manifestSchema.parse({ ...minimal, ...more });
  return { kind: "admitted", folder: `/f/${id}`, manifest, digest: packageDigest, packageFolder: "/p" };
}

interface LifeOptions {
  readonly dev?: boolean;
  readonly found?: readonly ScannedPlugin[];
  readonly awakeMax?: number;
  readonly changed?: (id: string) => void;
}

interface World {
  /** What the warden has against a cell. */
  fault: string | null;
  inFolder: ScannedPlugin;
  /** By type: entries that are durable only when this resolves. */
  readonly delays: Map<string, Promise<unknown>>;
  /** Types of entries, as they became so. */
  readonly durable: string[];
}

/** One life of a kernel over a data folder. */
export function live(
  dataDir: string,
  store: Store,
  { dev = false, found = [scan("echo")], awakeMax = 256, changed }: LifeOptions = {},
) {
  const cells: FakeCell[] = [];
  const records: LedgerEventInput[] = [];
  const background: Promise<unknown>[] = [];
  const warnings: string[] = [];
  const timing = new TestingClock();
  const world: World = { fault: null, inFolder: scan("echo"), delays: new Map(), durable: [] };
  const ledger: Pick<Ledger, "append" | "checkpointBase64"> = {
    async append(event) {
      records.push(event);
      const appended = { index: 0, size: records.length, checkpoint: "" };
      await world.delays.get(event.type);
      world.durable.push(event.type);
      return appended;
    },
    checkpointBase64: () => "",
  };
  const plugins = new Plugins<FakeCell>({
    config: configSchema.parse({ dev, cells: { restartBackoffMs: 100, awakeMax } }),
    ...{ tier: "process", dataDir, forbidden: [dataDir], store, timing, metrics: createMetrics() },
    ledger: ledger as Ledger,
    sandbox: {
      start() {
        const cell = new FakeCell(releaseOf(), 100 + cells.length, true);
        cells.push(cell);
        return Promise.resolve(cell);
      },
    },
    audit: { take() {} },
    checkDescription: () => Promise.resolve(world.fault),
    random: () => 1,
    nowMs: () => 1_000,
    warn: (message) => warnings.push(message),
    ...(changed === undefined ? {} : { changed }),
    track: (work) => background.push(work),
    fatal: (error) => {
      throw error;
    },
    readPackage: () => Promise.resolve(world.inFolder),
    verifyPackage: () => Promise.resolve(),
  });
  return {
    ...{ plugins, cells, records, timing, world, warnings },
    types: () => records.map(({ type }) => type),
    start: () => plugins.install(found),
    async crashUntil(state: string) {
      for (let crash = 0; crash < 5 && plugins.get("echo").state !== state; crash++) {
        await plugins.find("echo").plugin.awake();
        cells.at(-1)?.end("crashed");
        await settle();
        // The pause is over before the next call.
        await timing.pass(0);
        if (plugins.get("echo").state === "error") await plugins.act("echo", "start", "token:1");
      }
      equal(plugins.get("echo").state, state);
    },
    async [Symbol.asyncDispose]() {
      await plugins.shutdown();
      await Promise.all(background);
      equal(cells.filter(({ isAlive }) => isAlive).length, 0);
      deepEqual(timing.pendingMs, []);
    },
  };
}

/** What goes on in the background makes folders. */
export async function until(condition: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!condition()) {
    ok(performance.now() - startedMs < 5_000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export async function createFolder() {
  const dataDir = await Deno.makeTempDir();
  const store = openStore({ file: `${dataDir}/airlock.db` });
  return {
    ...{ dataDir, store },
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}
