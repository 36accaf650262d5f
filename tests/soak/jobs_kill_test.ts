/**
 * Rounds in which the kernel, and now and then the warden with it, is killed while clients enqueue jobs with every
 * mix of policy, cancel them and try them again. Some kills come while the kernel is starting. When all jobs have
 * ended, each has ended exactly as its policy says, and store, events, ledger, and what was really done, agree.
 *
 *     deno task soak         500 rounds, several Airlocks at once: the warden pauses between two lives
 *     deno task test         a few
 *
 * @module
 */
import { ok } from "node:assert/strict";
import { Airlock, leftovers, temporaryFolder, until } from "../support/airlock.ts";
import { commandLineOf, descendantsOf, isAlive } from "../support/processes.ts";
import { checkWorld, type Figures, tracesAtRest } from "./jobs_check.ts";
import { jobsPlugin } from "./jobs_plugin.ts";
import { chance } from "./jobs_requests.ts";
import { JobsWorld } from "./jobs_world.ts";
import { checkNothingLeft, isLongRun, roundsAsked, tell } from "./traces.ts";

const rounds = roundsAsked(6);
/** The rounds are shared out among so many. */
const airlocks = isLongRun ? 4 : 1;
const clients = 4;
/** Requests of each client in a round. */
const actsMax = isLongRun ? 12 : 6;
/** The moment of the kill, from the first answer under load, and from the start of a kernel. */
const latestMs = { working: 800, starting: 600, settling: 100 } as const;
/** Every so many rounds the warden is killed, and Airlock started again. */
const wardenEvery = 5;
/** Every so many rounds the kernel that comes back is killed while it starts. */
const startingEvery = 3;
const backTimeoutMs = 60_000;
const interruptionsMax = 12;
const plugins = { steady: jobsPlugin("steady", 1_000), shaky: jobsPlugin("shaky", 1_000) };
const config = {
  jobs: { interruptionsMax, backoffMaxMs: 200, pauseMs: 50, cancelGraceMs: 2_000 },
  cells: { restartBackoffMs: 1, restartBackoffMaxMs: 20, breakerFailures: 1_000_000 },
};

Deno.test(`${rounds} kills under load leave every job to end once, as its policy says`, async () => {
  const startedMs = performance.now();
  const each = Math.ceil(rounds / airlocks);
  const all = await Promise.all(
    Array.from({ length: airlocks }, (_, index) => soak(index, each).catch(tellFirst)),
  );
  for (const figures of all) tell(JSON.stringify(figures));
  tell(`${rounds} rounds in ${Math.round((performance.now() - startedMs) / 1_000)} s`);
});

/** What went wrong first, and not what the cleaning up after it met. */
function tellFirst(error: unknown): never {
  while (error instanceof SuppressedError) {
    tell(`Cannot clean up: ${error.error}`);
    error = error.suppressed;
  }
  throw error;
}

async function soak(index: number, rounds: number): Promise<Figures> {
  await using folder = await temporaryFolder();
  await using temporary = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  await using lives = new AsyncDisposableStack();
  const env = { TMPDIR: temporary.path };
  const start = async () => lives.use(await Airlock.start({ dataDir, plugins, config, env }));
  const mix = { plugins: ["steady", "shaky"], crashing: "shaky", workMsMax: 60 };
  const world = new JobsWorld(await start(), mix);
  const expected = await tracesAtRest(world);
  for (let round = 1; round <= rounds; round++) {
    const isWarden = round % wardenEvery === 0;
    const pid = isWarden ? world.airlock.pid : await world.airlock.kernelPid();
    await killUnderLoad(world, pid);
    if (isWarden) {
      await world.airlock.ended();
      await until("every process gone", () => leftovers(dataDir).length === 0, backTimeoutMs);
      world.airlock = await start();
    } else if (round % startingEvery === 0) {
      await killStarting(world.airlock, pid);
    }
    await world.ready();
    await world.settleDoubts();
    if (round % 10 === 0) tell(`Airlock ${index}, round ${round}: ${world.acknowledged.size} jobs`);
  }
  const figures = await checkWorld(world, interruptionsMax);
  ok(figures.acknowledged > rounds, `${figures.acknowledged} jobs in ${rounds} rounds`);
  await world.stop();
  await checkNothingLeft(world.airlock, expected, temporary.path);
  return figures;
}

/** Has clients at work, and kills `pid` at a random moment of it. */
async function killUnderLoad(world: JobsWorld, pid: number): Promise<void> {
  let isKilled = false;
  const answered = Promise.withResolvers<void>();
  const work = Promise.all(Array.from({ length: clients }, async () => {
    try {
      for (let act = 0; act < actsMax && !isKilled; act++) {
        await world.act();
        answered.resolve();
      }
    } catch (error) {
      // Only the kill excuses an answer that did not come.
      if (!isKilled || !(error instanceof TypeError)) throw error;
    }
  }));
  await Promise.race([answered.promise, work]);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * latestMs.working));
  isKilled = true;
  Deno.kill(pid, "SIGKILL");
  await work;
}

/**
 * Kills the next kernel at a random moment of its start: half of the times just after its first entry is in the
 * ledger, when it has not settled yet what the life before it left.
 */
async function killStarting(airlock: Airlock, before: number): Promise<void> {
  await until("the end of the one before", () => !isAlive(before), backTimeoutMs);
  const kernel = await until("a kernel", () => kernelOf(airlock), backTimeoutMs);
  if (chance(0.5)) {
    const bytes = logBytes(airlock);
    await until("its first entry", () => !isAlive(kernel) || logBytes(airlock) !== bytes, backTimeoutMs);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * latestMs.settling));
  } else {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * latestMs.starting));
  }
  Deno.kill(kernel, "SIGKILL");
  await until("its end", () => !isAlive(kernel), backTimeoutMs);
}

function logBytes({ dataDir }: Airlock): number {
  const folder = `${dataDir}/ledger/log`;
  return [...Deno.readDirSync(folder)].reduce(
    (sum, { name }) => sum + Deno.statSync(`${folder}/${name}`).size,
    0,
  );
}

function kernelOf(airlock: Airlock): number | undefined {
  return descendantsOf(airlock.pid).find((pid) => isAlive(pid) && commandLineOf(pid).at(-1) === "kernel");
}
