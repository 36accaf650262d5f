/**
 * Random lives of jobs against a small model of what must become of them.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { JobRequest } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { JobsWorld, operator, owner, type TestingCall } from "./testing_jobs_world.ts";

const config = { runningMax: 5, perPluginMax: 3, interruptionsMax: 2, pauseMs: 100, leaseMs: 10_000 };
const actions = { a: { concurrency: 2 }, i: { concurrency: 2, isIdempotent: true } };

interface Expected {
  readonly id: string;
  readonly attempts: number;
  readonly isIdempotent: boolean;
  failures: number;
  interruptions: number;
  hasOutcome: boolean;
}

/** What was asked, and what came of it so far. */
class Model {
  readonly jobs: Expected[] = [];

  constructor(readonly world: JobsWorld) {}

  of(id: string): Expected {
    return this.jobs.find((job) => job.id === id)!;
  }

  /** What the policy says of attempts that end with Airlock or their cell. */
  cut({ call, hasBegun }: TestingCall, isFree: boolean): void {
    const job = this.of(call.job!.id);
    if (!hasBegun || (job.isIdempotent && isFree)) return;
    if (job.isIdempotent && job.interruptions < config.interruptionsMax) job.interruptions++;
    else if (job.isIdempotent) job.failures++;
    else job.failures = job.attempts;
    job.hasOutcome = job.failures >= job.attempts;
  }
}

type Step = { op: keyof typeof steps; n: number; m: number };

const steps = {
  async enqueue({ world, jobs }: Model, n: number, m: number) {
    const action = n % 2 === 0 ? "a" : "i";
    const attempts = 1 + m % 3;
    const last = jobs.at(-1);
    const request: Partial<JobRequest> = {
      ...{
        plugin: n % 3 === 0 ? "q" : "p",
        action,
        priority: m % 5,
        retry: { attempts, backoffMs: m % 2 * 500 },
      },
      ...(n % 4 === 0 ? { concurrency: { key: `k${m % 2}`, max: 1 + n % 2 } } : {}),
      ...(n % 7 === 0 ? { delayMs: 1 + m * 50 } : {}),
      ...(n % 11 === 0 ? { ttlMs: 1 + m * 100 } : {}),
      ...(n % 5 === 0 && last !== undefined ? { dependsOn: [last.id] } : {}),
    };
    const { id } = await world.enqueue(request);
    const isIdempotent = action === "i";
    jobs.push({ id, attempts, isIdempotent, failures: 0, interruptions: 0, hasOutcome: false });
  },
  async complete({ world }: Model, n: number) {
    const call = world.live[n % Math.max(1, world.live.length)];
    call?.complete({ n });
    await world.turn();
    if (call !== undefined) assert.equal(world.row(call.call.job!.id).state, "completed");
  },
  async say({ world }: Model, n: number) {
    const call = world.live[n % Math.max(1, world.live.length)];
    if (call === undefined || call.hasBegun) return;
    call.begin();
    call.call.sink?.progress({ fraction: 0.5, note: "half\0\ud800" });
    call.call.sink?.log?.("info", "here\0");
    void call.call.sink?.token('"t"');
    await world.turn();
  },
  async fail(model: Model, n: number) {
    const { world } = model;
    const call = world.live[n % Math.max(1, world.live.length)];
    if (call === undefined) return;
    const job = model.of(call.call.job!.id);
    job.failures++;
    call.fail("ACTION_FAILED", "said\0 the \ud800 plugin");
    await world.turn();
    const isOver = job.failures >= job.attempts;
    assert.equal(world.row(job.id).state === "failed", isOver);
  },
  async crashCell(model: Model, n: number) {
    const { world } = model;
    const call = world.live[n % Math.max(1, world.live.length)];
    if (call === undefined) return;
    model.cut(call, false);
    call.fail("PLUGIN_CRASHED");
    await world.turn();
    const job = model.of(call.call.job!.id);
    const { state, errorCode } = world.row(job.id);
    // Given back before it began, it may find its time over.
    if (errorCode === "JOB_EXPIRED") return;
    assert.equal(state === "failed", job.failures >= job.attempts);
  },
  async cancel({ world, jobs }: Model, n: number) {
    const job = jobs[n % Math.max(1, jobs.length)];
    if (job !== undefined) await world.finish(world.service.cancel(job.id, owner, operator));
  },
  async redrive(model: Model, n: number) {
    const { world, jobs } = model;
    const { value } = await world.finish(world.service.redrive({ limit: 1 + n % 4 }, operator.actor));
    const cancelled = jobs.find(({ id }) => world.row(id).state === "cancelled");
    if (cancelled !== undefined) {
      await world.finish(world.service.retry(cancelled.id, owner, operator));
      value.jobs.push(cancelled.id);
    }
    for (const id of value.jobs) {
      Object.assign(model.of(id), { failures: 0, interruptions: 0, hasOutcome: false });
    }
  },
  async pass({ world }: Model, n: number) {
    await world.pass(n * 20);
  },
  async setClock({ world }: Model, n: number) {
    world.wallMs += (n % 2 === 0 ? 1 : -1) * n * 3_600_000;
    await world.turn();
  },
  async refuse({ world }: Model, n: number) {
    if (n % 2 === 0) world.refused.set("p", new ProblemError("BREAKER_OPEN", "open"));
    else world.refused.clear();
    world.jobs.pluginChanged("p");
    await world.turn();
  },
  /** Entries are owed from here on, until the next crash. */
  async holdLedger(model: Model, n: number) {
    const { world } = model;
    world.ledger.isHeld = true;
    for (const call of world.live) if (n % 2 === 0) call.complete();
    await world.turn();
    await steps.crash(model);
  },
  async crash(model: Model): Promise<void> {
    for (const call of model.world.live) {
      // The stored policy counts; it is that of the request.
      model.cut(call, false);
    }
    await model.world.crash();
    await model.world.turn();
  },
  async drain(model: Model) {
    await model.world.drain((call) => {
      model.cut(call, true);
      call.fail("PLUGIN_STOPPED");
    });
    await model.world.start();
    await model.world.turn();
  },
};

function check({ world, jobs }: Model): void {
  assert.deepEqual(world.fatal, []);
  const rows = jobs.map(({ id }) => world.row(id));
  assert(rows.every((row) => row !== undefined), "every accepted job is there");
  const running = rows.filter(({ state }) => state === "running");
  const live = world.live.map(({ call }) => call.job!.id);
  assert.equal(new Set(live).size, live.length, "no job has two live attempts");
  assert.deepEqual(live.sort(), running.map(({ id }) => id).sort());
  const waiting = rows.filter(({ state }) => state === "pending");
  assert.deepEqual(world.now, { waiting: waiting.length, running: running.length }, "lanes are as the table");
  const count = (names: (string | null)[]) =>
    names.reduce((sum, name) => sum.set(name, (sum.get(name) ?? 0) + 1), new Map<string | null, number>());
  const ofPlugin = count(running.map(({ plugin }) => plugin));
  const ofAction = count(running.map(({ plugin, action }) => `${plugin}/${action}`));
  const keyOf = ({ plugin, action, concurrencyKey }: (typeof rows)[number]) =>
    `${plugin}/${action}/${concurrencyKey}`;
  const ofKey = count(running.filter((row) => row.concurrencyKey !== null).map(keyOf));
  assert(running.length <= config.runningMax && Math.max(0, ...ofPlugin.values()) <= config.perPluginMax);
  assert(Math.max(0, ...ofAction.values()) <= 2 && Math.max(0, ...ofKey.values()) <= 2);
  for (const row of waiting) {
    const key = keyOf(row);
    const isSame = (other: typeof row) => keyOf(other) === key;
    if (row.wait === "key") {
      assert(rows.some((other) => isSame(other) && (other.state === "running" || other.wait === "turn")));
    }
    if (row.wait === "jobs") {
      assert(
        world.store.jobs.dependencies(row.seq).some(({ state }) =>
          state === "pending" || state === "running"
        ),
      );
    }
  }
  for (const { id, state, untold } of rows) {
    const ends = world.facts.filter((fact) =>
      fact.job === id && !["pending", "running"].includes(fact.state)
    );
    assert.equal(world.ledger.ends(id), ends.length, `one entry for each end of ${id}, ${state}`);
    assert.equal(world.ledger.of(id).filter((type) => type === "enqueued").length, 1);
    assert.equal(untold, 0);
  }
}

async function finish({ world, jobs }: Model): Promise<void> {
  world.refused.clear();
  for (const plugin of ["p", "q"]) world.jobs.pluginChanged(plugin);
  for (let rounds = 0; rounds < 200; rounds++) {
    for (const call of world.live) call.complete();
    await world.pass(1_000);
    // The clock may have been set back by days.
    const dueMs = world.store.jobs.nextDueMs();
    if (dueMs !== undefined) world.wallMs = Math.max(world.wallMs, dueMs);
    await world.clock.pass(5_000);
    await world.turn();
    if (world.now.waiting + world.live.length === 0) break;
  }
  for (const { id, hasOutcome } of jobs) {
    const { state, errorCode } = world.row(id);
    assert(state !== "pending" && state !== "running", `job ${id} is ${state}`);
    if (hasOutcome) assert.equal(state, "failed");
    if (state === "failed") assert.notEqual(errorCode, "INTERNAL");
  }
}

const names = Object.keys(steps) as (keyof typeof steps)[];
const weights = { enqueue: 8, complete: 3, say: 4, fail: 3 } as Record<string, number>;
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.oneof(...names.map((name) => ({ weight: weights[name] ?? 1, arbitrary: fc.constant(name) }))),
  n: fc.nat(60),
  m: fc.nat(20),
});

Deno.test("Jobs: whatever happens, every job ends once, as its policy says", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (list) => {
      using world = await JobsWorld.open({ config });
      for (const plugin of ["p", "q"]) {
        for (const [action, terms] of Object.entries(actions)) world.terms.set(`${plugin}/${action}`, terms);
      }
      const model = new Model(world);
      for (const { op, n, m } of list) {
        await steps[op](model, n, m);
        check(model);
      }
      await finish(model);
      check(model);
    }),
    { numRuns: Number(Deno.env.get("RUNS") ?? 25) },
  );
});
