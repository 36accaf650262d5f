/**
 * Attempts of jobs over HTTP: which failures are tried again, what an attempt costs, and what a job waits for at
 * no cost.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, until } from "../support/airlock.ts";
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
  show,
  traced,
  traceOf,
  workerPackage,
} from "../support/jobs.ts";

type Row = readonly [behaviour: string, check: (airlock: Airlock) => Promise<void>];

const attemptsOf = ({ state, attempt, interruptions, error }: JobView) => [
  ...[state, attempt, interruptions, error?.code],
];
const tell = (airlock: Airlock, verb: string, plugin = "worker") =>
  airlock.request("POST", `/v1/plugins/${plugin}/${verb}`);
const cellOf = async (airlock: Airlock, plugin = "worker") => (await airlock.plugin(plugin)).pid;

/** A job for a plugin that takes no calls: it waits while others run, and has had no attempt. */
async function checkWaits(airlock: Airlock, plugin = "worker"): Promise<JobView> {
  const job = await enqueue(airlock, "echo", "waited", { plugin });
  for (let other = 0; other < 3; other++) {
    equal((await run(airlock, "echo", {}, { plugin: "neighbour" })).state, "completed");
  }
  const { state, attempt, waitingFor } = await show(airlock, job);
  deepEqual([state, attempt, waitingFor], ["pending", 0, "turn"]);
  return job;
}

const rows: readonly Row[] = [
  ["an action that fails twice and then works is attempted three times", async (airlock) => {
    const done = await run(airlock, "flaky", { failures: 2 });
    deepEqual([...attemptsOf(done), done.output], ["completed", 3, 0, undefined, 3]);
    const events = await eventsOf(airlock, done);
    deepEqual(events.map(({ event, data }) => [event, (data as JobView).state, (data as JobView).attempt]), [
      ...[["JOB_QUEUED", "pending", 0], ["JOB_STARTED", "running", 1], ["JOB_FAILED", "pending", 1]],
      ...[["JOB_STARTED", "running", 2], ["JOB_FAILED", "pending", 2]],
      ...[["JOB_STARTED", "running", 3], ["JOB_COMPLETED", "completed", 3]],
    ]);
    const failed = events.filter(({ event }) => event === "JOB_FAILED").map(({ data }) => data as JobView);
    deepEqual(failed.map(({ error, waitingFor }) => [error?.code, waitingFor]), [
      ...[["ACTION_FAILED", "time"], ["ACTION_FAILED", "time"]],
    ]);
    await checkLedger(airlock, [done]);
  }],
  ["its attempts are bounded, and none begins before its pause is over", async (airlock) => {
    const job = await run(airlock, "flaky", { failures: 9 }, { retry: { attempts: 4, backoffMs: 20 } });
    deepEqual(attemptsOf(job), ["failed", 4, 0, "ACTION_FAILED"]);
    match(job.error?.message ?? "", /not yet/);
    const pauses = (await eventsOf(airlock, job)).filter(({ event }) => event === "JOB_FAILED").slice(0, 3)
      .map(({ data }) => Date.parse((data as JobView).runAt ?? ""));
    const starts = (await eventsOf(airlock, job)).filter(({ event }) => event === "JOB_STARTED").slice(1)
      .map(({ data }) => Date.parse((data as JobView).startedAt ?? ""));
    deepEqual(pauses.map((dueMs, at) => dueMs <= starts[at]!), [true, true, true]);
  }],
  ["codes decide what is tried again", async (airlock) => {
    const retry = { attempts: 3, backoffMs: 1 };
    const ends = await Promise.all([
      run(airlock, "strict", "no number"),
      run(airlock, "strict", "no number", { retry: { ...retry, codes: ["INPUT_INVALID"] } }),
      run(airlock, "fail", {}, { retry: { ...retry, codes: [] } }),
      run(airlock, "fail", {}, { retry: { ...retry, codes: ["INPUT_INVALID"] } }),
      run(airlock, "fail", {}, { retry }),
    ]);
    deepEqual(ends.map(({ attempt, error }) => [attempt, error?.code]), [
      ...[[1, "INPUT_INVALID"], [3, "INPUT_INVALID"]],
      ...[[1, "ACTION_FAILED"], [1, "ACTION_FAILED"], [3, "ACTION_FAILED"]],
    ]);
  }],
  [
    "a cell that ends under a job fails it with a reason, unless its action is idempotent",
    async (airlock) => {
      const lost = await run(airlock, "crash", { name: "once", times: 1 });
      deepEqual(attemptsOf(lost), ["failed", 1, 0, "PLUGIN_CRASHED"]);
      match(lost.error?.message ?? "", /^Cannot call plugin "worker": /);
      const made = await run(airlock, "crashAgain", { name: "twice", times: 1 });
      deepEqual([...attemptsOf(made).slice(0, 2), made.output], ["completed", 2, "recovered"]);
      equal(made.interruptions, 1, "its attempts are not spent");
      const never = await run(airlock, "crashAgain", { name: "never", times: 1_000 });
      deepEqual(
        attemptsOf(never),
        ["failed", 3, 2, "PLUGIN_CRASHED"],
        "two at no cost, and the one it has",
      );
      await checkLedger(airlock, [lost, made, never]);
    },
  ],
  ["a cell that is killed under jobs is the same", async (airlock) => {
    const jobs = await Promise.all(
      ["gated", "again"].map((action) =>
        enqueue(airlock, action, { name: `killed ${action}`, gate: "killed" })
      ),
    );
    await Promise.all(["gated", "again"].map((action) => traced(airlock, `+killed ${action}`)));
    Deno.kill(await cellOf(airlock) ?? 0, "SIGKILL");
    equal((await ended(airlock, jobs[0]!)).error?.code, "PLUGIN_CRASHED");
    open(airlock, "killed");
    const [, done] = await endedAll(airlock, jobs);
    deepEqual([done?.state, done?.output], ["completed", "killed again"]);
    equal(traceOf(airlock).filter((line) => line === "-killed gated").length, 0);
  }],
  ["a plugin that is stopped or disabled lets its jobs wait until it may run", async (airlock) => {
    for (const [verb, back] of [["stop", "start"], ["disable", "enable"], ["unload", "load"]] as const) {
      equal((await tell(airlock, verb)).status, 200);
      const job = await checkWaits(airlock);
      equal((await tell(airlock, back)).status, 200);
      const done = await ended(airlock, job);
      deepEqual([verb, ...attemptsOf(done)], [verb, "completed", 1, 0, undefined]);
    }
  }],
  ["a plugin that is suspended has its jobs wait with its calls", async (airlock) => {
    await run(airlock, "echo");
    equal((await tell(airlock, "suspend")).status, 200);
    const job = await checkWaits(airlock);
    equal((await tell(airlock, "resume")).status, 200);
    deepEqual(attemptsOf(await ended(airlock, job)), ["completed", 1, 0, undefined]);
  }],
  ["a plugin that is asleep wakes for its job", async (airlock) => {
    await run(airlock, "echo", {}, { plugin: "sleepy" });
    await until("asleep", async () => (await airlock.plugin("sleepy")).state === "sleeping", patienceMs);
    deepEqual(attemptsOf(await run(airlock, "echo", {}, { plugin: "sleepy" })), [
      ...["completed", 1, 0, undefined],
    ]);
  }],
  ["a plugin that was given up lets its jobs wait until it is reset", async (airlock) => {
    equal(
      (await run(airlock, "crash", { name: "given up", times: 1 }, { plugin: "fragile" })).state,
      "failed",
    );
    equal((await airlock.plugin("fragile")).state, "quarantined");
    const job = await checkWaits(airlock, "fragile");
    equal((await tell(airlock, "reset", "fragile")).status, 200);
    deepEqual(attemptsOf(await ended(airlock, job)), ["completed", 1, 0, undefined]);
  }],
  ["dead letters are tried again together, and by themselves", async (airlock) => {
    const jobs = await Promise.all([1, 2, 3].map(() => enqueue(airlock, "mended", { gate: "mended" })));
    const other = await run(airlock, "strict", "no number", { plugin: "neighbour" });
    for (const { state } of await endedAll(airlock, jobs)) equal(state, "failed");
    const alone = await run(airlock, "mended", { gate: "mended" });
    open(airlock, "mended");
    const redrive = (filter: unknown) =>
      airlock.request<{ jobs: string[] }>("POST", "/v1/jobs/redrive", filter);
    const mended = { plugin: "worker", action: "mended", code: "ACTION_FAILED" };
    deepEqual((await redrive({ ...mended, code: "LIMIT_WALL" })).body, { jobs: [] });
    const first = await redrive({ ...mended, limit: 1 });
    deepEqual([first.status, first.body], [200, { jobs: [jobs[0]?.id] }], "the oldest first");
    equal((await order(airlock, "retry", alone)).endedAt === alone.endedAt, false);
    deepEqual((await redrive(mended)).body, { jobs: jobs.slice(1).map(({ id }) => id) });
    const done = await endedAll(airlock, [...jobs, alone]);
    for (const job of done) deepEqual([job.output, job.error, job.attempt], ["mended", null, 2]);
    equal((await show(airlock, other)).state, "failed", "what was not asked for stays");
    const refused = await airlock.request<Problem>("POST", `/v1/jobs/${alone.id}/retry`);
    deepEqual([refused.status, refused.body.code], [409, "CONFLICT"]);
    await checkLedger(airlock, done);
  }],
];

Deno.test("attempts of jobs: over HTTP", async (t) => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: {
      cells: { restartBackoffMs: 10, restartBackoffMaxMs: 20, breakerFailures: 1_000 },
      jobs: { pauseMs: 20, interruptionsMax: 2 },
    },
    plugins: {
      worker: workerPackage("worker", { restart: { max: 1_000 } }),
      neighbour: workerPackage("neighbour"),
      sleepy: workerPackage("sleepy", { idleMs: 100 }),
      fragile: workerPackage("fragile", { restart: { max: 1 } }),
    },
  });
  for (const [behaviour, check] of rows) await t.step(behaviour, () => check(airlock));
});

Deno.test("attempts of jobs: while a breaker is open they wait, and burn none", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: { cells: { breakerFailures: 3, breakerOpenMs: 1_500 } },
    plugins: { worker: workerPackage() },
  });
  for (let call = 0; call < 3; call++) equal((await airlock.fail("worker", "fail")).code, "ACTION_FAILED");
  const jobs = await Promise.all(Array.from({ length: 20 }, (_, n) => enqueue(airlock, "echo", { n })));
  for (const job of await endedAll(airlock, jobs)) {
    deepEqual(attemptsOf(job), ["completed", 1, 0, undefined]);
  }
  const records = await airlock.records();
  const closed = records.findIndex(({ type, data }) =>
    type === "breaker.changed" && data["state"] === "half_open"
  );
  const first = records.findIndex(({ type, data }) =>
    type === "call.accepted" && String(data["request"]).startsWith(jobs[0]!.id)
  );
  ok(closed >= 0 && closed < first, `${closed} before ${first}`);
  equal((await airlock.plugin("worker")).breaker, "closed");
});
