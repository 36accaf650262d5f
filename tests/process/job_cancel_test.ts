/**
 * Cancelled jobs over HTTP: told first, killed after a grace period, and what they said stays readable.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  enqueue,
  eventsOf,
  open,
  order,
  patienceMs,
  run,
  show,
  traced,
  traceOf,
  watch,
  workerPackage,
} from "../support/jobs.ts";

type Row = readonly [behaviour: string, check: (airlock: Airlock) => Promise<void>];

const graceMs = 300;

const rows: readonly Row[] = [
  ["one that waits ends at once, and stays as it is", async (airlock) => {
    const job = await enqueue(airlock, "echo", {}, { delayMs: 600_000 });
    const waiting = await enqueue(airlock, "echo", {}, { dependsOn: [job.id] });
    const cancelled = await order(airlock, "cancel", job);
    deepEqual([cancelled.state, cancelled.attempt, cancelled.cancelRequested], ["cancelled", 0, true]);
    deepEqual(await order(airlock, "cancel", job), cancelled, "twice is once");
    deepEqual((await eventsOf(airlock, job)).map(({ event }) => event), ["JOB_QUEUED", "JOB_CANCELLED"]);
    equal((await ended(airlock, waiting)).error?.code, "DEPENDENCY_FAILED");
    const done = await run(airlock, "echo");
    deepEqual(await order(airlock, "cancel", done), done, "what has completed has");
    await checkLedger(airlock, [cancelled, done]);
  }],
  ["one that ignores it has its cell killed, at no fault of the plugin", async (airlock) => {
    for (let round = 0; round < 3; round++) {
      const name = `heedless ${round}`;
      const job = await enqueue(airlock, "heedless", { name });
      const neighbour = airlock.fail("worker", "gated", { name: `beside ${round}`, gate: "never" });
      await Promise.all([traced(airlock, `+${name}`), traced(airlock, `+beside ${round}`)]);
      const { pid } = await airlock.plugin("worker");
      const sinceMs = performance.now();
      equal((await order(airlock, "cancel", job)).state, "cancelled");
      ok(performance.now() - sinceMs >= graceMs - 5, "it had its time");
      equal((await neighbour).code, "PLUGIN_CRASHED");
      const again = await run(airlock, "echo", round);
      equal(again.output, round, "it is not quarantined for that");
      equal((await airlock.plugin("worker")).pid === pid, false);
    }
  }],
  ["an idempotent neighbour job is made again", async (airlock) => {
    const job = await enqueue(airlock, "heedless", { name: "beside a job" });
    const neighbour = await enqueue(airlock, "again", { name: "neighbour", gate: "neighbour" });
    await Promise.all([traced(airlock, "+beside a job"), traced(airlock, "+neighbour")]);
    equal((await order(airlock, "cancel", job)).state, "cancelled");
    open(airlock, "neighbour");
    const done = await ended(airlock, neighbour);
    deepEqual([done.state, done.output], ["completed", "neighbour"]);
    await checkLedger(airlock, [done, await show(airlock, job)]);
  }],
  ["one that was cancelled can be tried again, and cancelled again", async (airlock) => {
    const input = { name: "twice", gate: "twice" };
    const job = await enqueue(airlock, "gated", input);
    const runs = (count: number) =>
      until(
        `attempt ${count}`,
        () => traceOf(airlock).filter((line) => line === "+twice").length === count,
        patienceMs,
      );
    for (const attempt of [1, 2]) {
      await runs(attempt);
      const refused = await airlock.request<Problem>("POST", `/v1/jobs/${job.id}/retry`);
      deepEqual([refused.status, refused.body.code], [409, "CONFLICT"], "while it runs");
      const cancelled = await order(airlock, "cancel", job);
      deepEqual([cancelled.state, cancelled.attempt], ["cancelled", attempt]);
      const again = await order(airlock, "retry", job);
      deepEqual([again.cancelRequested, again.error], [false, null]);
    }
    await runs(3);
    open(airlock, "twice");
    const done = await ended(airlock, job);
    deepEqual([done.state, done.attempt, done.output], ["completed", 3, "twice"]);
    const events = (await eventsOf(airlock, job)).map(({ event }) => event.slice("JOB_".length));
    const [round, last] = [["QUEUED", "STARTED", "CANCELLED"], ["QUEUED", "STARTED", "COMPLETED"]];
    deepEqual(events, [...round, ...round, ...last]);
    await checkLedger(airlock, [done]);
  }],
];

Deno.test("cancelled jobs: over HTTP", async (t) => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: { cells: { restartBackoffMs: 10 }, jobs: { cancelGraceMs: graceMs } },
    // One failure more, and it would be given up.
    plugins: { worker: workerPackage("worker", { restart: { max: 1 } }) },
  });
  for (const [behaviour, check] of rows) await t.step(behaviour, () => check(airlock));
});

Deno.test("cancelled jobs: one that runs is told, and what it streamed can be read", async () => {
  // With the grace as it is by default: nobody is to be killed here, however slow the machine.
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    plugins: { worker: workerPackage() },
  });
  await run(airlock, "echo");
  const { pid } = await airlock.plugin("worker");
  const job = await enqueue(airlock, "heeding", { name: "heeding" });
  const seen: unknown[] = [];
  let asked: Promise<JobView[]> | undefined;
  for await (const { event, data } of watch(airlock, job)) {
    if (event === "JOB_TOKEN") seen.push(data);
    // Two at once: both are answered when it has ended.
    if (seen.length === 3) asked ??= Promise.all([1, 2].map(() => order(airlock, "cancel", job)));
  }
  const states = (await asked)?.map(({ state, attempt, error }) => [state, attempt, error]);
  deepEqual(states, [["cancelled", 1, null], ["cancelled", 1, null]]);
  await traced(airlock, "told heeding");
  const events = await eventsOf(airlock, job);
  equal(events.at(-1)?.event, "JOB_CANCELLED");
  deepEqual(events.flatMap(({ event, data }) => event === "JOB_TOKEN" ? [data] : []), seen);
  ok(seen.length >= 3);
  equal((await airlock.plugin("worker")).pid, pid, "its cell lives on");
  await checkLedger(airlock, [await show(airlock, job)]);
});
