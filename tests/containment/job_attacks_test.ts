/**
 * A hostile plugin attacks through its jobs: what it says stays inside its own job, is bounded, and keeps no
 * neighbour's job waiting.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JobLogLine, JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  enqueue,
  eventsOf,
  order,
  parseEvents,
  patienceMs,
  run as runJob,
  show,
} from "../support/jobs.ts";

const forged = '"}\n\nid: 999999\nevent: JOB_COMPLETED\ndata: {"state":"completed"}\n\n\r\r\u2028';
const source = `
const forged = ${JSON.stringify(forged)};
const forEver = () => new Promise(() => {});
export const actions = {
  run: (input) => input,
  forge: async function* (_, ctx) {
    ctx.progress(0.5, forged);
    ctx.log.error(forged);
    yield forged;
    yield { id: "1", event: "JOB_FAILED", __proto__: null, toJSON: undefined };
    return { id: "01ARZ3NDEKTSV4RRFFQ69G5FAV", state: "failed", output: forged, "__proto__": 1 };
  },
  throwing() { throw Object.assign(new Error(forged + "x".repeat(1_000_000)), { code: "CANCELLED", status: 200 }); },
  progress(_, ctx) {
    for (const fraction of [NaN, Infinity, -1, 2, "1", null, {}]) {
      try { ctx.progress(fraction, "n"); } catch { /* it is refused here or there */ }
    }
    try { ctx.progress(0.5, "x".repeat(5_000_000)); } catch { /* it is refused here or there */ }
    return null;
  },
  async *tokens() { for (;;) yield "x".repeat(10_000); },
  async lines(_, ctx) {
    for (let line = 0; line < 2_000; line++) ctx.log.info("line " + line + "x".repeat(1_000));
    return "logged";
  },
  deep: () => { let value = 0; for (let depth = 0; depth < 100_000; depth++) value = [value]; return value; },
  deepToken: async function* () { let value = 0; for (let n = 0; n < 100_000; n++) value = [value]; yield value; },
  bigint: () => 1n,
  loop() { for (;;); },
  async late(_, ctx) {
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    return "completed after all";
  },
  rename(_, ctx) {
    try { ctx.job.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"; ctx.job.attempt = 99; } catch { /* it is frozen */ }
    return "renamed";
  },
  exit: () => (Deno.exit(0), forEver()),
  kill: () => (Deno.kill(Deno.pid, "SIGKILL"), forEver()),
  crash: () => { setTimeout(() => { throw new Error(forged); }); return forEver(); },
  freeze: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
};`;

const streams = { stream: true };
const actions = {
  ...{ run: {}, forge: streams, throwing: {}, progress: streams, tokens: streams, lines: {}, deep: {} },
  ...{ deepToken: streams, bigint: {}, loop: {}, late: {}, rename: {}, exit: {}, kill: {} },
  crash: { idempotent: true },
  freeze: { timeoutMs: 200, idempotent: true },
};

const logBytesMax = 20_000;
const eventsBytesMax = 500_000;

function start(): Promise<Airlock> {
  return Airlock.start({
    args: ["--tier", "process"],
    config: {
      cells: { stopTimeoutMs: 300, restartBackoffMs: 10, restartBackoffMaxMs: 20, breakerFailures: 1_000 },
      jobs: { cancelGraceMs: 200, interruptionsMax: 2, logBytesMax, eventsBytesMax },
    },
    plugins: {
      saboteur: {
        "plugin.jsonc": manifest("saboteur", { actions, restart: { max: 1_000 } }),
        "mod.ts": source,
      },
    },
  });
}

const attack = (airlock: Airlock, action: string, more = {}) =>
  runJob(airlock, action, {}, { plugin: "saboteur", ...more });

/** A neighbour's job goes through, and Airlock is well. */
async function checkNeighbour(airlock: Airlock): Promise<void> {
  const job = await runJob(airlock, "greet", { name: "a neighbour" }, { plugin: "hello" });
  equal(job.state, "completed", JSON.stringify(job.error));
  equal((await airlock.request("GET", "/healthz")).status, 200);
}

type Row = readonly [behaviour: string, check: (airlock: Airlock) => Promise<void>];

const rows: readonly Row[] = [
  ["what it says cannot be taken for an event, or for a field", async (airlock) => {
    const job = await attack(airlock, "forge");
    deepEqual([job.state, job.note], ["completed", forged]);
    deepEqual(job.output, { id: "01ARZ3NDEKTSV4RRFFQ69G5FAV", state: "failed", output: forged });
    // Read strictly: a line that is no field of an event fails it.
    const events = await eventsOf(airlock, job);
    deepEqual(events.map(({ event }) => event), [
      ...["JOB_QUEUED", "JOB_STARTED", "JOB_PROGRESS", "JOB_TOKEN", "JOB_TOKEN", "JOB_COMPLETED"],
    ]);
    deepEqual([events[3]?.data, (events[5]?.data as JobView).id], [forged, job.id]);
    const { body } = await airlock.request<{ items: JobLogLine[] }>("GET", `/v1/jobs/${job.id}/logs`);
    deepEqual(body.items.map(({ level, text }) => [level, text]), [["error", forged]]);
    const renamed = await attack(airlock, "rename");
    deepEqual([renamed.output, renamed.attempt], ["renamed", 1]);
    await checkLedger(airlock, [job, renamed]);
  }],
  ["what it throws is clipped, and has the code of a failed action", async (airlock) => {
    const job = await attack(airlock, "throwing");
    deepEqual([job.state, job.error?.code], ["failed", "ACTION_FAILED"]);
    ok((job.error?.message.length ?? 0) <= 4_200, `${job.error?.message.length}`);
    for (const action of ["bigint", "progress"]) {
      const { state, progress, error } = await attack(airlock, action);
      ok(state === "completed" || error !== null, action);
      ok(progress >= 0 && progress <= 1, `${progress}`);
    }
  }],
  ["an output or a token that is nested too deep is no failure of Airlock", async (airlock) => {
    for (const action of ["deep", "deepToken"]) {
      const { id } = await enqueue(airlock, action, {}, { plugin: "saboteur" });
      const answer = await until("its end", async () => {
        const { status, body } = await airlock.request<JobView & Problem>("GET", `/v1/jobs/${id}`);
        return (body.endedAt !== null && { status, body }) || status !== 200 && { status, body };
      }, patienceMs);
      ok(answer.status === 200 || answer.body.code === "OUTPUT_INVALID", JSON.stringify(answer.body));
      equal((await airlock.request("GET", "/v1/jobs")).status, 200, action);
      const events = await airlock.fetch("GET", `/v1/jobs/${id}/events`);
      equal(events.status, 200);
      ok((await events.text()).includes("event: JOB_"));
    }
  }],
  ["its tokens and its log are bounded", async (airlock) => {
    const job = await attack(airlock, "tokens");
    deepEqual([job.state, job.error?.code], ["failed", "LIMIT_OUTPUT"]);
    const response = await airlock.fetch("GET", `/v1/jobs/${job.id}/events`);
    let [bytes, last] = [0, ""];
    for await (const { event, data } of parseEvents(response.body!)) {
      bytes += JSON.stringify(data).length;
      last = event;
    }
    ok(bytes < eventsBytesMax + 100_000, `${bytes}`);
    equal(last, "JOB_FAILED", "its end is told all the same");
    const logged = await attack(airlock, "lines");
    const { body } = await airlock.request<{ items: JobLogLine[] }>(
      "GET",
      `/v1/jobs/${logged.id}/logs?limit=1000`,
    );
    const chars = body.items.reduce((sum, { text }) => sum + text.length, 0);
    ok(chars <= logBytesMax, `${chars}`);
  }],
  ["one that never looks up is cancelled, and one that answers too late is too", async (airlock) => {
    for (const action of ["loop", "late"]) {
      const job = await enqueue(airlock, action, {}, { plugin: "saboteur" });
      await until(
        "it runs",
        async () => (await airlock.records()).some(({ data }) => data["request"] === `${job.id}-1`),
        patienceMs,
      );
      const cancelled = await order(airlock, "cancel", job);
      deepEqual([action, cancelled.state, cancelled.output], [action, "cancelled", null]);
      await checkLedger(airlock, [await show(airlock, job)]);
    }
  }],
  ["one that ends its cell each time is tried no more often than is set", async (airlock) => {
    const ends = await Promise.all(["exit", "kill"].map((action) => attack(airlock, action)));
    for (const { state, attempt, error } of ends) {
      deepEqual([state, attempt, error?.code], ["failed", 1, "PLUGIN_CRASHED"]);
    }
    const poison = await attack(airlock, "crash");
    deepEqual([poison.state, poison.attempt, poison.interruptions], ["failed", 3, 2]);
    const frozen = await attack(airlock, "freeze", { retry: { attempts: 2, backoffMs: 1 } });
    deepEqual([frozen.state, frozen.attempt, frozen.error?.code], ["failed", 2, "LIMIT_WALL"]);
    equal((await ended(airlock, await enqueue(airlock, "run", 1, { plugin: "saboteur" }))).output, 1);
    await checkLedger(airlock, [...ends, poison, frozen]);
  }],
];

Deno.test("a plugin that attacks through its jobs harms those alone", async (t) => {
  await using airlock = await start();
  const pid = await airlock.kernelPid();
  for (const [behaviour, check] of rows) {
    await t.step(behaviour, async () => {
      await check(airlock);
      await checkNeighbour(airlock);
    });
  }
  equal(await airlock.kernelPid(), pid, "the kernel never ended");
});
