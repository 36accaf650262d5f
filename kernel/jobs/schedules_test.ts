import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import { scheduleRequestSchema } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { createTransact } from "../store/database.ts";
import { jobsMigrations } from "../store/migrations.ts";
import { createSchedulesTable } from "../store/schedules_table.ts";
import { Schedules, type SchedulesDeps } from "./schedules.ts";

const minuteMs = 60_000;
const request = scheduleRequestSchema.parse({
  name: "each minute",
  plugin: "p",
  action: "run",
  cron: "* * * * *",
});

/** A data folder, and the lives of the kernel that it sees. */
class World implements Disposable {
  readonly db = new DatabaseSync(":memory:");
  readonly table;
  /** Of each job: its schedule and the time, by the clock on the wall. */
  readonly jobs: { schedule: string; actor: string; atMs: number }[] = [];
  readonly entries: string[] = [];
  readonly warnings: string[] = [];
  readonly revoked = new Set<string>();
  clock = new TestingClock();
  /** The clock on the wall was set by so much. */
  setMs = 0;
  refusal: ProblemError | undefined;
  /** Actors whose share is full, and how often it was said. */
  readonly full = new Set<string>();
  refusals = 0;
  hasPlugin = true;
  /** The kernel dies before its nth act from now; Infinity: it lives. */
  actsLeft = Infinity;
  #ids = 0;

  constructor() {
    for (const step of jobsMigrations) this.db.exec(step);
    this.table = createSchedulesTable(this.db);
  }

  nowMs = () => this.clock.nowMs() + this.setMs;

  /** Another life: what the last one had under way goes nowhere. */
  boot(schedulesMax = 100): Schedules {
    const nowMs = this.clock.nowMs();
    this.clock = new TestingClock();
    this.clock.advance(nowMs);
    const transact = createTransact(this.db);
    const life = {};
    this.#life = life;
    const act = async <T>(work: () => T): Promise<T> => {
      await null;
      if (this.#life !== life || this.actsLeft-- <= 0) return await new Promise<T>(() => {});
      return work();
    };
    const deps: SchedulesDeps = {
      table: this.table,
      transact: (work) => act(() => transact(work)),
      insertJob: (_, { actor, schedule }) => {
        if (this.refusal !== undefined) throw this.refusal;
        if (this.full.has(actor)) {
          this.refusals++;
          throw new ProblemError("QUEUE_FULL", "Cannot accept 1 jobs: of the same caller wait already");
        }
        this.jobs.push({ schedule, actor, atMs: this.nowMs() });
        return `job ${this.jobs.length}`;
      },
      ledger: {
        append: ({ type, actor, data }) =>
          act(() => {
            this.entries.push(`${type} ${data.schedule} ${actor}`);
            return { checkpoint: "checkpoint" };
          }),
      },
      describe: (plugin) => {
        if (plugin !== "p" || !this.hasPlugin) {
          throw new ProblemError("PLUGIN_NOT_FOUND", `Cannot find plugin "${plugin}"`);
        }
      },
      nameOf: () => "p@1.0.0",
      isActive: (actor) => !this.revoked.has(actor),
      newId: () => String(++this.#ids).padStart(26, "0"),
      nowMs: this.nowMs,
      timers: this.clock,
      track: (work) => void work.catch((error) => this.warnings.push(String(error))),
      warn: (message) => void this.warnings.push(message),
      schedulesMax,
    };
    return new Schedules(deps);
  }
  #life: object = {};

  async start(): Promise<Schedules> {
    const schedules = this.boot();
    await schedules.start();
    return schedules;
  }

  [Symbol.dispose](): void {
    this.db.close();
  }
}

const reader = { actor: "token:operator", readsAll: true };
const codeIs = (code: string) => (error: unknown) => error instanceof ProblemError && error.code === code;

Deno.test("Schedules makes a job for each time, and one timer", async () => {
  using world = new World();
  const schedules = await world.start();
  ok(!world.clock.isTimerSet);
  const { value, checkpoint } = await schedules.create(request, "token:a");
  equal(checkpoint, "checkpoint");
  equal(value.nextAt, new Date(minuteMs).toISOString());
  await schedules.create({ ...request, cron: "*/2 * * * *" }, "token:b");
  equal(world.clock.pendingMs.length, 1);
  await world.clock.pass(4 * minuteMs);
  deepEqual(world.jobs.map(({ actor, atMs }) => [actor, atMs / minuteMs]), [
    ["token:a", 1],
    ["token:a", 2],
    ["token:b", 2],
    ["token:a", 3],
    ["token:a", 4],
    ["token:b", 4],
  ]);
  const { items: [first] } = schedules.list({ limit: 1 }, reader);
  deepEqual([first?.lastJob, first?.lastAt, first?.nextAt], [
    "job 5",
    new Date(4 * minuteMs).toISOString(),
    new Date(5 * minuteMs).toISOString(),
  ]);
  await schedules.close();
  ok(!world.clock.isTimerSet);
});

Deno.test("Schedules.create() refuses, and leaves nothing", async () => {
  using world = new World();
  const schedules = world.boot(1);
  await schedules.start();
  const deep = JSON.parse("[".repeat(5_000) + "]".repeat(5_000));
  await rejects(schedules.create({ ...request, plugin: "q" }, "token:a"), codeIs("PLUGIN_NOT_FOUND"));
  await rejects(schedules.create({ ...request, cron: "0 0 30 2 *" }, "token:a"), codeIs("INPUT_INVALID"));
  await rejects(schedules.create({ ...request, timeZone: "Mars" }, "token:a"), codeIs("INPUT_INVALID"));
  await rejects(schedules.create({ ...request, input: deep }, "token:a"), codeIs("INPUT_INVALID"));
  await rejects(
    schedules.create({ ...request, input: "x".repeat(65_536) }, "token:a"),
    codeIs("BODY_TOO_LARGE"),
  );
  equal(world.table.count(), 0);
  await schedules.create(request, "token:a");
  await rejects(schedules.create(request, "token:a"), codeIs("CONFLICT"));
  equal(world.table.count(), 1);
  equal(world.entries.length, 1);
});

Deno.test("Schedules.delete() ends it, and another refuses", async () => {
  using world = new World();
  const schedules = await world.start();
  const { value: { id } } = await schedules.create(request, "token:a");
  const deleting = schedules.delete(id, "token:b");
  await rejects(schedules.delete(id, "token:b"), codeIs("SCHEDULE_NOT_FOUND"));
  await deleting;
  deepEqual(world.entries, [`schedule.created ${id} token:a`, `schedule.deleted ${id} token:b`]);
  ok(!world.clock.isTimerSet);
  equal(world.table.count(), 0);
});

Deno.test("Schedules makes one job for all times that it missed", async () => {
  using world = new World();
  const schedules = await world.start();
  await schedules.create(request, "token:a");
  await schedules.close();
  await world.clock.pass(60 * minuteMs);
  equal(world.jobs.length, 0);
  await world.start();
  await world.clock.pass(minuteMs);
  deepEqual(world.jobs.map(({ atMs }) => Math.floor(atMs / minuteMs)), [60, 61]);
});

Deno.test("Schedules looks at the clock on the wall once a minute, and repeats no time", async () => {
  using world = new World();
  const schedules = await world.start();
  await schedules.create({ ...request, cron: "0 12 * * *" }, "token:a");
  deepEqual(world.clock.pendingMs, [minuteMs]);
  world.setMs = 13 * 60 * minuteMs;
  await world.clock.pass(2 * minuteMs);
  equal(world.jobs.length, 1);
  world.setMs = 0;
  await world.clock.pass(24 * 60 * minuteMs);
  equal(world.jobs.length, 1);
});

Deno.test("Schedules tries again while too many jobs wait, and lets the time of a lost plugin pass", async () => {
  using world = new World();
  const schedules = await world.start();
  await schedules.create(request, "token:a");
  world.refusal = new ProblemError("QUEUE_FULL", "Cannot accept job: full");
  await world.clock.pass(minuteMs + 5_000);
  deepEqual(world.jobs, []);
  world.refusal = undefined;
  await world.clock.pass(1_000);
  equal(world.jobs.length, 1);
  world.refusal = new ProblemError("PLUGIN_NOT_FOUND", "Cannot find it");
  await world.clock.pass(minuteMs);
  deepEqual([world.jobs.length, world.warnings.length], [1, 1]);
  world.refusal = undefined;
  await world.clock.pass(minuteMs);
  equal(world.jobs.length, 2);
});

// Its schedules are due first, more of them than a look takes.
Deno.test("Schedules goes on with others' while one caller's share is full, and asks once a look for that one", async () => {
  using world = new World();
  const schedules = world.boot(1_000);
  await schedules.start();
  for (let index = 0; index < 150; index++) await schedules.create(request, "token:full");
  await schedules.create(request, "token:other");
  await schedules.create(request, "token:another");
  world.full.add("token:full");
  await world.clock.pass(minuteMs);
  deepEqual(world.jobs.map(({ actor }) => actor), ["token:other", "token:another"]);
  equal(world.refusals, 1);
  await world.clock.pass(minuteMs);
  equal(world.jobs.length, 4);
  ok(world.refusals <= 62, `${world.refusals} refusals`);
  world.full.clear();
  await world.clock.pass(1_000);
  equal(world.jobs.length, 4 + 150);
  await schedules.close();
});

Deno.test("Schedules.list() reads the page that is asked for, and shows a name to its maker and to operators", async () => {
  using world = new World();
  const schedules = await world.start();
  for (const actor of ["token:a", "token:b", "token:a"]) await schedules.create(request, actor);
  const limits: number[] = [];
  const { list } = world.table;
  world.table.list = (after, limit) => {
    limits.push(limit);
    return list(after, limit);
  };
  const names = (page: { items: { name: string | null }[] }) => page.items.map(({ name }) => name);
  const first = schedules.list({ limit: 2 }, reader);
  deepEqual([names(first), first.next], [[request.name, request.name], first.items[1]?.id]);
  const second = schedules.list({ limit: 2, after: first.next ?? "" }, reader);
  deepEqual([second.items.length, second.next], [1, null]);
  deepEqual(limits, [3, 3]);
  const own = schedules.list({ limit: 9 }, { actor: "token:b", readsAll: false });
  deepEqual(names(own), [null, request.name, null]);
  ok(
    !JSON.stringify(schedules.list({ limit: 9 }, { actor: "token:c", readsAll: false })).includes(
      request.name,
    ),
  );
});

Deno.test("Schedules lets a time pass whose plugin was removed since", async () => {
  using world = new World();
  const schedules = await world.start();
  await schedules.create(request, "token:a");
  world.hasPlugin = false;
  for (let minutes = 0; minutes < 2; minutes++) await world.clock.pass(minuteMs);
  deepEqual(world.jobs, []);
  equal(world.warnings.length, 2);
  world.hasPlugin = true;
  await world.clock.pass(minuteMs);
  equal(world.jobs.length, 1);
  await schedules.close();
});

Deno.test("Schedules ends one whose maker's token was revoked", async () => {
  using world = new World();
  const schedules = await world.start();
  const { value: { id } } = await schedules.create(request, "token:a");
  world.revoked.add("token:a");
  await world.clock.pass(2 * minuteMs);
  deepEqual([world.jobs.length, world.table.count()], [0, 0]);
  equal(world.entries.at(-1), `schedule.deleted ${id} kernel`);
  ok(!world.clock.isTimerSet);
});

Deno.test("Schedules makes many due jobs in several transactions", async () => {
  using world = new World();
  const schedules = world.boot(1_000);
  await schedules.start();
  for (let index = 0; index < 200; index++) await schedules.create(request, "token:a");
  await world.clock.pass(minuteMs);
  equal(new Set(world.jobs.map(({ schedule }) => schedule)).size, 200);
});

// The kernel dies before each act in turn: transactions and appends.
for (let acts = 0; acts <= 6; acts++) {
  Deno.test(`Schedules is whole again when the kernel died before act ${acts}`, async () => {
    using world = new World();
    const schedules = await world.start();
    world.actsLeft = acts;
    const lived = (async () => {
      const { value: { id } } = await schedules.create(request, "token:a");
      await schedules.delete(id, "token:a");
    })();
    lived.catch((error) => world.warnings.push(String(error)));
    await settle();
    world.actsLeft = Infinity;
    const next = await world.start();
    equal(world.table.count(), next.list({ limit: 100 }, reader).items.length);
    const ids = next.list({ limit: 100 }, reader).items.map(({ id }) => id);
    // An entry may stand twice, the second time as the kernel's.
    const told = (type: string) =>
      new Set(world.entries.filter((entry) => entry.startsWith(type)).map((entry) => entry.split(" ")[1]))
        .size;
    equal(told("schedule.created") - told("schedule.deleted"), ids.length);
    await world.clock.pass(minuteMs);
    equal(world.jobs.length, ids.length);
    deepEqual(world.warnings, []);
  });
}

Deno.test("Schedules: kills and a clock that is set give each time one job at most, in order", async () => {
  const event = fc.oneof(
    fc.record({ pass: fc.integer({ min: 1, max: 10 * minuteMs }) }),
    fc.record({ set: fc.integer({ min: -30 * minuteMs, max: 30 * minuteMs }) }),
    fc.record({ dieIn: fc.integer({ min: 0, max: 4 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 30 }), async (events) => {
      using world = new World();
      world.clock.advance(100 * minuteMs);
      const schedules = await world.start();
      await schedules.create(request, "token:a");
      for (const event of events) {
        if ("pass" in event) await world.clock.pass(event.pass);
        else if ("set" in event) world.setMs += event.set;
        else {
          world.actsLeft = event.dieIn;
          await world.clock.pass(minuteMs);
          world.actsLeft = Infinity;
          await world.start();
        }
      }
      // Each is of a minute that no other is of.
      const minutes = world.jobs.map(({ atMs }) => Math.floor(atMs / minuteMs));
      for (const [index, minute] of minutes.entries()) ok(index === 0 || minute > (minutes[index - 1] ?? 0));
      // Nothing is owed: the next time is ahead, or has yet to be looked at.
      await world.clock.pass(minuteMs);
      ok((world.table.nextAtMs() ?? 0) > world.nowMs());
      deepEqual(world.warnings, []);
    }),
    { numRuns: 200 },
  );
});
