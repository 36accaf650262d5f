/**
 * Rounds in which the kernel is killed at a random moment: while it works, or while it is still starting. The
 * warden brings it back; nothing of the life before is left over, and the ledger holds all that was answered.
 *
 *     deno task soak         500 rounds, several Airlocks at once: the warden pauses between two lives
 *     deno task test         a few
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock, isSealedAvailable, manifest, temporaryFolder, until } from "../support/airlock.ts";
import { commandLineOf, descendantsOf, isAlive } from "../support/processes.ts";
import { LedgerFollower } from "./ledger_follower.ts";
import {
  anonymousMb,
  checkNothingLeft,
  isLongRun,
  riseMb,
  roundsAsked,
  serveCommandTight,
  tell,
  tightMemory,
  type Traces,
  tracesOf,
} from "./traces.ts";

const rounds = roundsAsked(8);
/** The rounds are shared out among so many. */
const airlocks = isLongRun ? 4 : 1;
/** The moment of the kill, in a kernel that works and in one that is starting. */
const latestMs = { working: 700, starting: 500 } as const;
const backTimeoutMs = 20_000;
/** What the memory of the warden may rise by: what a hundred lives that are kept take is more. */
const riseMbMax = 4;

const source = `
export const actions = {
  run: (input) => input,
  fail() { setTimeout(() => { throw new Error("on purpose"); }, 0); return new Promise(() => {}); },
};
`;

Deno.test(`${rounds} kernels killed at a random moment leave nothing over`, async () => {
  const each = Math.ceil(rounds / airlocks);
  const lines = await Promise.all(Array.from({ length: airlocks }, (_, index) => soak(index, each)));
  for (const line of lines) tell(line);
});

async function soak(index: number, rounds: number): Promise<string> {
  await using temporary = await temporaryFolder();
  const plugins = await isSealedAvailable() ? ["low", "high"] : ["low"];
  const files = (id: string) => ({
    "plugin.jsonc": manifest(id, { actions: { run: {}, fail: {} }, restart: { max: 1_000 } }),
    "mod.ts": source,
  });
  await using airlock = await Airlock.start({
    plugins: Object.fromEntries(plugins.map((id) => [id, files(id)])),
    config: {
      cells: { lower: ["low"], restartBackoffMs: 1, restartBackoffMaxMs: 1, breakerFailures: 1_000_000 },
    },
    env: { TMPDIR: temporary.path, ...tightMemory },
    command: serveCommandTight,
  });
  const ledger = new LedgerFollower();
  const memory: number[] = [];
  let expected: Traces | undefined;
  for (let round = 0; round < rounds; round++) {
    const isStarting = round % 2 === 1;
    const kernel = await until("a kernel", () => kernelOf(airlock), backTimeoutMs);
    if (!isStarting) {
      await ready(airlock, plugins);
      await ledger.check(airlock);
      for (const id of plugins) await airlock.request("POST", `/v1/plugins/${id}/stop`);
      // What is there after the first life is there after each.
      if (round === 2) expected = await tracesOf(airlock);
      if (expected !== undefined) await checkNothingLeft(airlock, expected, temporary.path);
      memory.push(anonymousMb(airlock.pid));
      for (const id of plugins) await airlock.request("POST", `/v1/plugins/${id}/start`);
    }
    const afterMs = Math.random() * (isStarting ? latestMs.starting : latestMs.working);
    await killDuring(airlock, kernel, afterMs, isStarting ? [] : plugins, ledger);
    if (round % 50 === 0) tell(`Airlock ${index}, round ${round}: ${ledger.checkedCount} answers checked`);
  }
  await ready(airlock, plugins);
  await ledger.check(airlock);
  ok(ledger.checkedCount > 0);
  const rise = riseMb(memory);
  if (isLongRun) ok(rise <= riseMbMax, `the memory of the warden rose by ${rise} MB`);
  return `Airlock ${index}: ${rounds} kernels killed, ${ledger.checkedCount} answers in the ledger, ` +
    `the memory of the warden rose by ${rise.toFixed(1)} MB`;
}

/** Works through `plugins` until the kernel is killed after `afterMs`; then nothing of its life is there. */
async function killDuring(
  airlock: Airlock,
  kernel: number,
  afterMs: number,
  plugins: readonly string[],
  ledger: LedgerFollower,
): Promise<void> {
  let isKilled = false;
  const work = Promise.all(plugins.map((id) => keepBusy(airlock, id, ledger, () => isKilled)));
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  const life = [kernel, ...descendantsOf(airlock.pid)];
  isKilled = true;
  Deno.kill(kernel, "SIGKILL");
  await work;
  await until("the end of a life", () => !life.some(isAlive), backTimeoutMs);
}

/** Calls, and lets cells crash and start, until the kernel is killed. Only that excuses a lost answer. */
async function keepBusy(
  airlock: Airlock,
  id: string,
  ledger: LedgerFollower,
  isKilled: () => boolean,
): Promise<void> {
  try {
    for (let call = 1; !isKilled(); call++) {
      if (call % 20 === 0) equal((await airlock.fail(id, "fail")).code, "PLUGIN_CRASHED");
      const answer = await airlock.invoke(id, "run", { call });
      equal(answer.status, 200, JSON.stringify(answer.body));
      ledger.acknowledge(answer);
    }
  } catch (error) {
    if (!isKilled() || !(error instanceof TypeError)) throw error;
  }
}

/** It listens, and both its plugins answer. */
async function ready(airlock: Airlock, plugins: readonly string[]): Promise<void> {
  await until("the kernel back", async () => {
    try {
      return (await airlock.request("GET", "/readyz")).status === 200;
    } catch {
      return false; // nobody listens between two lives
    }
  }, backTimeoutMs);
  for (const id of plugins) deepEqual(await airlock.call(id, "run", { id }), { id });
}

function kernelOf(airlock: Airlock): number | undefined {
  return descendantsOf(airlock.pid).find((pid) => isAlive(pid) && commandLineOf(pid).at(-1) === "kernel");
}
