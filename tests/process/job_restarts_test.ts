/**
 * Jobs over the ends of Airlock: drained, and killed. What was accepted is there in the next life, and ends once.
 *
 * @module
 */
import { deepEqual, equal, match } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import { Airlock, killKernel, leftovers, temporaryFolder, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  endedAll,
  enqueue,
  eventsOf,
  open,
  order,
  patienceMs,
  run,
  traced,
  traceOf,
  workerPackage,
} from "../support/jobs.ts";

const start = (dataDir: string) =>
  Airlock.start({
    dataDir,
    args: ["--tier", "process"],
    config: {
      http: { drainTimeoutMs: 300 },
      cells: { stopTimeoutMs: 300, restartBackoffMs: 10 },
      jobs: { pauseMs: 20 },
    },
    plugins: { worker: workerPackage("worker", { restart: { max: 1_000 } }) },
  });

interface Life {
  /** Of no idempotent action, and of one. */
  readonly running: readonly [JobView, JobView];
  /** They wait: for their turn, for the time, for others. */
  readonly waiting: readonly JobView[];
  readonly over: readonly JobView[];
}

/** Jobs in every state. */
async function enqueueAll(airlock: Airlock, name: string): Promise<Life> {
  const gated = await enqueue(airlock, "gated", { name: `${name} gated`, gate: name });
  const again = await enqueue(airlock, "again", { name: `${name} again`, gate: name });
  const single = await enqueue(airlock, "single", { name: `${name} single`, gate: name }, {
    retry: { attempts: 2, backoffMs: 1, codes: ["JOB_INTERRUPTED"] },
  });
  await Promise.all(["gated", "again", "single"].map((one) => traced(airlock, `+${name} ${one}`)));
  const waiting = [
    single,
    await enqueue(airlock, "single", { name: `${name} next`, gate: name }),
    await enqueue(airlock, "echo", {}, { delayMs: 200, idempotencyKey: name }),
    await enqueue(airlock, "echo", {}, { dependsOn: [again.id] }),
  ];
  const cancelled = await order(airlock, "cancel", await enqueue(airlock, "echo", {}, { delayMs: 600_000 }));
  const over = [await run(airlock, "echo", "before"), await run(airlock, "fail"), cancelled];
  return { running: [gated, again], waiting, over };
}

/** In the life after: what could be lost is not, and nothing is done twice that must not be. */
async function checkCarriedOver(
  airlock: Airlock,
  { running, waiting, over }: Life,
  name: string,
): Promise<void> {
  open(airlock, name);
  const [gated, again] = await endedAll(airlock, running);
  deepEqual([gated?.state, gated?.attempt], ["failed", 1]);
  equal(gated?.error?.code, "JOB_INTERRUPTED");
  match(gated?.error?.message ?? "", /^Cannot /);
  deepEqual([again?.state, again?.attempt, again?.output], ["completed", 2, `${name} again`]);
  const rest = await endedAll(airlock, waiting);
  deepEqual(rest.map(({ state, attempt }) => [state, attempt]), [
    ...[["completed", 2], ["completed", 1], ["completed", 1], ["completed", 1]],
  ]);
  deepEqual(await endedAll(airlock, over), over, "what had ended is as it was");
  equal((await enqueue(airlock, "echo", {}, { delayMs: 200, idempotencyKey: name })).id, waiting[2]?.id);
  const begun = traceOf(airlock).filter((line) => line === `+${name} gated`);
  equal(begun.length, 1, "what is not idempotent is not made twice");
  for (const job of [...running, ...waiting]) {
    const events = await eventsOf(airlock, job);
    const numbers = events.map(({ id }) => Number(id));
    deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
    equal(events.filter(({ event }) => event === "JOB_COMPLETED").length <= 1, true);
  }
  await checkLedger(airlock, [gated!, again!, ...rest, ...over]);
}

Deno.test("jobs: drained, they go on in the next life as their policies say", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  let life: Life;
  {
    await using airlock = await start(dataDir);
    life = await enqueueAll(airlock, "drained");
    airlock.signal("SIGTERM");
    equal((await airlock.ended()).code, 0, airlock.output.stderr);
  }
  await using airlock = await start(dataDir);
  await checkCarriedOver(airlock, life, "drained");
  equal((await ended(airlock, life.running[1])).interruptions, 0, "a stop in good order costs nothing");
});

Deno.test("jobs: when the kernel is killed, they go on in the next life as their policies say", async () => {
  await using folder = await temporaryFolder();
  await using airlock = await start(`${folder.path}/data`);
  for (const name of ["killed", "killed again"]) {
    const life = await enqueueAll(airlock, name);
    await killKernel(airlock, patienceMs);
    await checkCarriedOver(airlock, life, name);
    equal((await ended(airlock, life.running[1])).interruptions, 1);
  }
});

Deno.test("jobs: what was accepted before a power cut of everything is there, and ends once", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const accepted: JobView[] = [];
  {
    await using airlock = await start(dataDir);
    await run(airlock, "echo");
    const kernel = await airlock.kernelPid();
    const caller = async () => {
      try {
        for (;;) {
          accepted.push(await enqueue(airlock, "again", { name: "load", gate: "load" }));
          if (accepted.length === 60) {
            Deno.kill(kernel, "SIGKILL");
            airlock.signal("SIGKILL");
          }
        }
      } catch {
        // The kernel is gone.
      }
    };
    await Promise.all(Array.from({ length: 8 }, caller));
    await airlock.ended();
    await until("all of it ended", async () => {
      await Deno.remove(airlock.runFolder, { recursive: true }).catch(() => {});
      return leftovers(dataDir).length === 0;
    }, patienceMs);
  }
  await using airlock = await start(dataDir);
  open(airlock, "load");
  const done = await endedAll(airlock, accepted);
  deepEqual(new Set(done.map(({ state }) => state)), new Set(["completed"]));
  await checkLedger(airlock, done);
});
