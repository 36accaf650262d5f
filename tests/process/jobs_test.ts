/**
 * Durable jobs over HTTP: accepted, ordered, run, watched, and bounded in number and in time.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import type { JobLogLine, JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  endedAll,
  enqueue,
  eventsOf,
  makeToken,
  mostAtOnce,
  open,
  patienceMs,
  reaches,
  run,
  show,
  traced,
  traceOf,
  watch,
  workerPackage,
} from "../support/jobs.ts";

type Row = readonly [behaviour: string, check: (airlock: Airlock) => Promise<void>];

const sha256 = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex");
const refuse = async (airlock: Airlock, body: unknown) => {
  const answer = await airlock.request<Problem>("POST", "/v1/jobs", body);
  return [answer.status, answer.body.code];
};

const rows: readonly Row[] = [
  ["an accepted job completes, with its output, hashes and times", async (airlock) => {
    const input = { b: [1, "ö"], a: null };
    const job = await enqueue(airlock, "echo", input);
    deepEqual([job.state, job.attempt, job.output, job.inputSha256], ["pending", 0, null, sha256(input)]);
    const done = await ended(airlock, job);
    deepEqual([done.state, done.attempt, done.output, done.error], ["completed", 1, input, null]);
    deepEqual([done.inputSha256, done.outputSha256], [sha256(input), sha256(input)]);
    deepEqual([done.progress, done.waitingFor, done.interruptions], [1, null, 0]);
    ok(done.createdAt <= done.startedAt! && done.startedAt! <= done.endedAt!, JSON.stringify(done));
    deepEqual((await run(airlock, "job")).output, { id: (await newest(airlock)).id, attempt: 1 });
  }],
  ["its events come to its watchers, and again from each number", async (airlock) => {
    const job = await enqueue(airlock, "stream", { count: 3, gate: "streamed" });
    const events = [];
    for await (const event of watch(airlock, job)) {
      events.push(event);
      // What was told is there to be read while the job runs.
      if (event.event === "JOB_TOKEN" && event.data === "3") open(airlock, "streamed");
    }
    deepEqual(events.map(({ event }) => event).filter((event) => event !== "JOB_PROGRESS"), [
      ...["JOB_QUEUED", "JOB_STARTED", "JOB_TOKEN", "JOB_TOKEN", "JOB_TOKEN", "JOB_COMPLETED"],
    ]);
    deepEqual(events.flatMap(({ event, data }) => event === "JOB_TOKEN" ? [data] : []), ["1", "2", "3"]);
    deepEqual(events.find(({ event }) => event === "JOB_PROGRESS")?.data, {
      fraction: 0.25,
      note: "note 1",
    });
    deepEqual(events.at(-1)?.data, await show(airlock, job));
    const ids = events.map(({ id }) => Number(id));
    deepEqual(ids, [...ids].sort((a, b) => a - b));
    for (const [at, { id }] of events.entries()) {
      deepEqual(await eventsOf(airlock, job, id), events.slice(at + 1), `after ${id}`);
    }
    const { body } = await airlock.request<{ items: JobLogLine[] }>("GET", `/v1/jobs/${job.id}/logs`);
    deepEqual(body.items.map(({ text, level, attempt }) => [text, level, attempt]), [
      ...[["line 1", "info", 1], ["line 2", "info", 1], ["line 3", "info", 1]],
    ]);
    equal((await show(airlock, job)).note, "note 3");
  }],
  ["those of higher priority go first, those of the same in their order", async (airlock) => {
    const first = await enqueue(airlock, "single", { name: "p first", gate: "priority" });
    await traced(airlock, "+p first");
    const jobs = [first];
    for (const priority of [0, 5, -3, 5, 1_000]) {
      const name = `p ${priority} ${jobs.length}`;
      jobs.push(await enqueue(airlock, "single", { name, gate: "priority" }, { priority }));
    }
    equal((await show(airlock, jobs[1]!)).waitingFor, "turn");
    open(airlock, "priority");
    await endedAll(airlock, jobs);
    const begun = traceOf(airlock).filter((line) => line.startsWith("+p "));
    deepEqual(begun, ["+p first", "+p 1000 5", "+p 5 2", "+p 5 4", "+p 0 1", "+p -3 3"]);
  }],
  ["a delayed job waits for its time, and one whose time was does not", async (airlock) => {
    const soon = new Date(Date.now() + 300);
    const jobs = [
      await enqueue(airlock, "echo", {}, { delayMs: 300 }),
      await enqueue(airlock, "echo", {}, { runAt: soon.toISOString() }),
      await enqueue(airlock, "echo", {}, { runAt: soon.toISOString().replace("Z", "+00:00") }),
    ];
    deepEqual(new Set(jobs.map(({ waitingFor }) => waitingFor)), new Set(["time"]));
    const past = await enqueue(airlock, "echo", {}, { runAt: "2020-01-01T00:00:00+02:00" });
    equal(past.waitingFor, "turn");
    for (const { state, runAt, startedAt } of await endedAll(airlock, [...jobs, past])) {
      ok(state === "completed" && runAt! <= startedAt!, `${state} ${runAt} ${startedAt}`);
    }
    const far = await enqueue(airlock, "echo", {}, { delayMs: 10, runAt: "2090-01-01T00:00:00Z" });
    deepEqual([far.waitingFor, far.runAt], ["time", "2090-01-01T00:00:00.000Z"], "the later of the two");
  }],
  ["a job that has not begun in its time to live expires, without an attempt", async (airlock) => {
    const holding = await enqueue(airlock, "single", { name: "ttl", gate: "ttl" });
    await traced(airlock, "+ttl");
    const expired = await endedAll(airlock, [
      await enqueue(airlock, "single", { name: "late", gate: "ttl" }, { ttlMs: 50 }),
      await enqueue(airlock, "echo", {}, { delayMs: 600_000, ttlMs: 50 }),
    ]);
    open(airlock, "ttl");
    for (const { state, attempt, error } of expired) {
      deepEqual([state, attempt, error?.code], ["failed", 0, "JOB_EXPIRED"]);
    }
    equal((await ended(airlock, holding)).state, "completed");
    equal((await run(airlock, "echo", {}, { ttlMs: 600_000 })).state, "completed");
  }],
  ["an idempotency key gives its caller the job that there is", async (airlock) => {
    const keyed = { idempotencyKey: "order 17" };
    const [job, again] = await Promise.all([1, 2].map(() => enqueue(airlock, "echo", { n: 1 }, keyed)));
    equal(again?.id, job?.id);
    const done = await ended(airlock, job!);
    deepEqual((await enqueue(airlock, "echo", { n: 1 }, keyed)).id, done.id, "also after its end");
    const other = { plugin: "worker", action: "echo", input: { n: 2 }, ...keyed };
    deepEqual(await refuse(airlock, other), [409, "CONFLICT"]);
    const token = await makeToken(airlock, "invoker");
    const theirs = await enqueue(airlock, "echo", { n: 2 }, { ...keyed, token });
    equal(theirs.id === done.id, false, "another caller's keys are others");
    await checkLedger(airlock, [done, await ended(airlock, theirs)]);
  }],
  ["a batch is accepted whole, in its order, or not at all", async (airlock) => {
    const one = (n: number, more = {}) => ({ plugin: "worker", action: "echo", input: { n }, ...more });
    const { status, body } = await airlock.request<{ items: JobView[] }>("POST", "/v1/jobs", {
      jobs: [one(1), one(2, { idempotencyKey: "in a batch" }), one(3)],
    });
    equal(status, 202);
    deepEqual(
      (await endedAll(airlock, body.items)).map(({ output }) => output),
      [1, 2, 3].map((n) => ({ n })),
    );
    const before = (await newest(airlock)).id;
    deepEqual(await refuse(airlock, { jobs: [one(1), one(2, { plugin: "none" })] }), [
      404,
      "PLUGIN_NOT_FOUND",
    ]);
    deepEqual(await refuse(airlock, { jobs: [one(1), one(2, { action: "none" })] }), [
      404,
      "ACTION_NOT_FOUND",
    ]);
    const twice = [one(4, { idempotencyKey: "twice" }), one(4, { idempotencyKey: "twice" })];
    deepEqual(await refuse(airlock, { jobs: twice }), [409, "CONFLICT"]);
    const taken = one(9, { idempotencyKey: "in a batch" });
    deepEqual(await refuse(airlock, { jobs: [one(1), taken] }), [409, "CONFLICT"]);
    deepEqual(await refuse(airlock, { jobs: [] }), [422, "INPUT_INVALID"]);
    deepEqual(await refuse(airlock, { jobs: Array.from({ length: 1_001 }, () => one(1)) }), [
      ...[422, "INPUT_INVALID"],
    ]);
    equal((await newest(airlock)).id, before);
  }],
  ["a job begins after those it depends on, and fails with them", async (airlock) => {
    const held = await enqueue(airlock, "gated", { name: "dep", gate: "dep" });
    const quick = await run(airlock, "echo");
    const after = await enqueue(airlock, "echo", "after", { dependsOn: [quick.id, held.id, held.id] });
    const last = await enqueue(airlock, "echo", "last", { dependsOn: [after.id] });
    deepEqual([after.waitingFor, after.dependsOn], ["jobs", [held.id, quick.id]]);
    await traced(airlock, "+dep");
    equal((await show(airlock, last)).state, "pending");
    open(airlock, "dep");
    const [first, second, third] = await endedAll(airlock, [held, after, last]);
    equal(third?.state, "completed");
    ok(first!.endedAt! <= second!.startedAt! && second!.endedAt! <= third!.startedAt!);

    const failing = await enqueue(airlock, "fail", {}, { delayMs: 100 });
    const lost = await enqueue(airlock, "echo", {}, { dependsOn: [failing.id] });
    const chained = await enqueue(airlock, "echo", {}, { dependsOn: [lost.id, quick.id] });
    for (const { attempt, error } of await endedAll(airlock, [lost, chained])) {
      deepEqual([attempt, error?.code], [0, "DEPENDENCY_FAILED"]);
    }
    const late = await enqueue(airlock, "echo", {}, { dependsOn: [failing.id] });
    equal((await ended(airlock, late)).error?.code, "DEPENDENCY_FAILED");
    const none = { plugin: "worker", action: "echo", dependsOn: ["01ARZ3NDEKTSV4RRFFQ69G5FAV"] };
    deepEqual(await refuse(airlock, none), [404, "JOB_NOT_FOUND"]);
  }],
  ["of one concurrency key, no more than its max run at once", async (airlock) => {
    const jobs = await Promise.all(
      Array.from({ length: 6 }, (_, at) =>
        enqueue(airlock, "wide", { name: `key a${at}`, gate: "keys" }, {
          concurrency: { key: "a", max: 2 },
        })),
    );
    const other = { concurrency: { key: "b" } };
    for (const name of ["key b1", "key b2"]) {
      jobs.push(await enqueue(airlock, "wide", { name, gate: "keys" }, other));
    }
    await until("three that run", () => traceOf(airlock).filter((line) => /^\+key/.test(line)).length === 3);
    await until("the others wait for their key", async () => {
      const waiting = (await Promise.all(jobs.map((job) => show(airlock, job)))).map((job) => job.waitingFor);
      return waiting.filter((wait) => wait === "key").length === 5;
    }, patienceMs);
    open(airlock, "keys");
    equal((await endedAll(airlock, jobs)).every(({ state }) => state === "completed"), true);
    const trace = traceOf(airlock);
    deepEqual([mostAtOnce(trace, "key a"), mostAtOnce(trace, "key b")], [2, 1]);
  }],
  ["of one action, no more run at once than its manifest allows", async (airlock) => {
    const jobs = await Promise.all(
      Array.from({ length: 6 }, (_, at) => enqueue(airlock, "pair", { name: `pair ${at}`, gate: "pairs" })),
    );
    await until("two that run", () => traceOf(airlock).filter((line) => /^\+pair/.test(line)).length === 2);
    open(airlock, "pairs");
    await endedAll(airlock, jobs);
    equal(mostAtOnce(traceOf(airlock), "pair"), 2);
  }],
  ["the smallest of the deadlines ends an attempt", async (airlock) => {
    const never = { name: "late", gate: "never" };
    const ends = await Promise.all([
      run(airlock, "gated", never, { deadlineMs: 150 }),
      run(airlock, "short", never, { deadlineMs: 600_000 }),
      run(airlock, "gated", never, { plugin: "brief", deadlineMs: 600_000 }),
    ]);
    for (const { state, attempt, error } of ends) {
      deepEqual([state, attempt, error?.code], ["failed", 1, "LIMIT_WALL"]);
      match(error?.message ?? "", /^Cannot call plugin "(?:worker|brief)": /);
    }
    open(airlock, "never");
  }],
];

async function newest(airlock: Airlock): Promise<JobView> {
  const { body } = await airlock.request<{ items: JobView[] }>("GET", "/v1/jobs?limit=1");
  return body.items[0]!;
}

Deno.test("jobs: over HTTP", async (t) => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: { cells: { restartBackoffMs: 10, breakerFailures: 1_000 } },
    plugins: {
      worker: workerPackage("worker", { restart: { max: 1_000 } }),
      brief: workerPackage("brief", { limits: { wallMs: 150 } }),
    },
  });
  for (const [behaviour, check] of rows) await t.step(behaviour, () => check(airlock));
});

Deno.test("jobs: a deadline that a caller chose harms neither the plugin nor the calls beside it", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: { cells: { breakerFailures: 2 }, http: { drainTimeoutMs: 100 } },
    plugins: { worker: workerPackage("worker", { restart: { max: 1 } }) },
  });
  const neighbour = airlock.invoke("worker", "gated", { name: "neighbour", gate: "beside" });
  await traced(airlock, "+neighbour");
  const { pid } = await airlock.plugin("worker");
  for (let round = 0; round < 3; round++) {
    const { state, attempt, error } = await run(airlock, "heedless", { name: "late" }, { deadlineMs: 50 });
    deepEqual([state, attempt, error?.code], ["failed", 1, "LIMIT_WALL"]);
  }
  open(airlock, "beside");
  deepEqual([(await neighbour).status, traceOf(airlock).includes("-neighbour")], [200, true]);
  const plugin = await airlock.plugin("worker");
  deepEqual([plugin.pid, plugin.state, plugin.breaker, plugin.restarts], [pid, "running", "closed", 0]);
});

Deno.test("jobs: of all, and of one plugin, no more run at once than is set, and none longer", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    config: { jobs: { runningMax: 3, perPluginMax: 2, deadlineMs: 3_000 } },
    plugins: { worker: workerPackage(), other: workerPackage("other") },
  });
  const jobs = await Promise.all(
    Array.from(
      { length: 10 },
      (_, at) =>
        enqueue(airlock, "wide", { name: "all", gate: "all" }, { plugin: at < 5 ? "worker" : "other" }),
    ),
  );
  const plugins = ["worker", "other"];
  const begun = () => plugins.map((id) => traceOf(airlock, id).filter((line) => line === "+all").length);
  await until("three that run", () => begun().reduce((a, b) => a + b) === 3, patienceMs);
  for (const id of plugins) open(airlock, "all", id);
  const done = await endedAll(airlock, jobs);
  const most = plugins.map((id) => mostAtOnce(traceOf(airlock, id), "all"));
  equal(Math.max(...most), 2);
  for (const { startedAt } of done) {
    const now = done.filter((job) => job.startedAt! <= startedAt! && startedAt! < job.endedAt!).length;
    ok(now <= 3, `${now} at once`);
  }
  const stuck = await enqueue(airlock, "gated", { name: "long", gate: "never" }, { deadlineMs: 600_000 });
  await reaches(airlock, stuck, "running");
  equal((await ended(airlock, stuck)).error?.code, "LIMIT_WALL");
  open(airlock, "never"); // it goes on until then
});
