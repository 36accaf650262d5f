/**
 * Cells killed at random while many jobs run. In one run their plugin is never given up; in another it is
 * quarantined again and again, its jobs wait at no cost, and a reset lets them go on. When all have ended, each has
 * ended exactly as its policy says, see `jobs_check.ts`.
 *
 *     deno task soak         1,000 jobs
 *     deno task test         200
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import { Airlock, temporaryFolder, until } from "../support/airlock.ts";
import { isAlive } from "../support/processes.ts";
import { checkWorld, hasEnded, tracesAtRest } from "./jobs_check.ts";
import { jobsPlugin } from "./jobs_plugin.ts";
import { JobsWorld } from "./jobs_world.ts";
import { checkNothingLeft, isLongRun, tell } from "./traces.ts";

const jobs = isLongRun ? 1_000 : 200;
const batch = 50;
const interruptionsMax = 40;
/** Between two kills; a cell is up by then, or just not. */
const latestMs = 400;
/** Given up, it is killed no more until it is reset: what waits then is over soon after. */
const killsMin = { alive: 5, quarantined: 3 } as const;
const resetsMax = isLongRun ? 10 : 3;
const timeoutMs = 600_000;

Deno.test(`cells killed at random leave each of ${jobs} jobs to end once, as its policy says`, async () => {
  await soak({ restartMax: 1_000, resets: 0 });
});

Deno.test(`quarantine and reset under ${jobs} jobs leave each to end once, as its policy says`, async () => {
  await soak({ restartMax: 3, resets: resetsMax });
});

async function soak({ restartMax, resets }: { restartMax: number; resets: number }): Promise<void> {
  const startedMs = performance.now();
  await using temporary = await temporaryFolder();
  await using airlock = await Airlock.start({
    plugins: { steady: jobsPlugin("steady", restartMax) },
    config: {
      jobs: { interruptionsMax, backoffMaxMs: 200, pauseMs: 50 },
      cells: { restartBackoffMs: 1, restartBackoffMaxMs: 20, breakerFailures: 1_000_000 },
    },
    env: { TMPDIR: temporary.path },
  });
  const world = new JobsWorld(airlock, { plugins: ["steady"], crashing: undefined, workMsMax: 60 });
  const expected = await tracesAtRest(world);
  for (let count = 0; count < jobs; count += batch) await world.enqueue(world.jobs(batch), "batch");
  let kills = 0;
  let quarantines = 0;
  await until("the last job", async () => {
    if (await hasEnded(airlock)) return true;
    const { state } = await airlock.plugin("steady");
    if (state === "quarantined") {
      if (quarantines < resets) await checkWaiting(airlock);
      quarantines++;
      equal((await airlock.request("POST", "/v1/plugins/steady/reset")).status, 200);
    } else if (resets === 0 || quarantines < resets) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * latestMs));
      kills += Number(await killCell(airlock));
    }
    return false;
  }, timeoutMs);
  const figures = await checkWorld(world, interruptionsMax);
  ok(figures.acknowledged >= jobs, `${figures.acknowledged} jobs`);
  ok(kills >= (resets === 0 ? killsMin.alive : killsMin.quarantined), `${kills} cells were killed`);
  ok(quarantines >= Math.min(resets, 1), "it was quarantined");
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  tell(`${kills} cells killed, ${quarantines} quarantines, ${seconds} s: ${JSON.stringify(figures)}`);
  await world.stop();
  await checkNothingLeft(airlock, expected, temporary.path);
}

/** False when there is none at this moment. */
async function killCell(airlock: Airlock): Promise<boolean> {
  const { pid } = await airlock.plugin("steady");
  if (pid === null || !isAlive(pid)) return false;
  try {
    Deno.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false; // it has just ended
  }
}

/** While its plugin is quarantined no job begins, none runs, and none ends by that. */
async function checkWaiting(airlock: Airlock): Promise<void> {
  const count = async () => {
    const { body } = await airlock.request<{ items: JobView[] }>("GET", "/v1/jobs?limit=1000");
    return body.items.reduce((sum, { attempt }) => sum + attempt, 0);
  };
  // What was under way when the last cell ended is settled first.
  await until("nothing runs", async () => {
    const { body } = await airlock.request<{ items: JobView[] }>("GET", "/v1/jobs?state=running&limit=1");
    return body.items.length === 0;
  }, timeoutMs);
  const before = await count();
  // Long enough for the lanes to be looked at again.
  await new Promise((resolve) => setTimeout(resolve, 200));
  equal(await count(), before, "attempts that were begun under quarantine");
}
