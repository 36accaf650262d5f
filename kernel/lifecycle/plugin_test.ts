import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { ProblemError } from "../../schemas/problem.ts";
import { createPlugin as create, releaseOf } from "./testing_plugin.ts";
import { settle } from "../../sandbox/testing_clock.ts";

Deno.test("Plugin.awake() starts one cell for all calls that come during its start", async () => {
  await using setup = create();
  const { plugin } = setup;
  const waking = [plugin.awake(), plugin.awake()];
  const start = await setup.start(0);
  equal(plugin.state, "starting");
  waking.push(plugin.awake());
  const cell = start.finish();
  for (const awake of waking) equal(await awake, cell);
  equal(plugin.awake(), cell);
  deepEqual([plugin.state, plugin.pid, setup.starts.length], ["running", 100, 1]);
  deepEqual([setup.types(), setup.events], [["plugin.started"], ["started wake"]]);
});

Deno.test("Plugin records what was granted to the cell that started", async () => {
  await using setup = create();
  await setup.wake();
  const { type, actor, plugin, ...rest } = setup.records[0]!;
  deepEqual([type, actor, plugin], ["plugin.started", "kernel", "echo@1.0.0"]);
  deepEqual(rest, { data: { isolation: "process", packageSha256: "ab", granted: { read: ["/p"] } } });
});

Deno.test("Plugin goes to error when its cell crashes or is killed, and is started again after a pause", async () => {
  for (const by of ["crashed", "killed"] as const) {
    await using setup = create();
    const first = await setup.wake();
    first.end(by, "LIMIT_MEMORY");
    await settle();
    await setup.timing.pass(99);
    deepEqual([setup.plugin.state, setup.starts.length], ["error", 1]);
    await setup.timing.pass(1);
    const second = (await setup.start(1)).finish();
    equal(await setup.plugin.awake(), second);
    ok(second !== first);
    deepEqual([setup.plugin.state, setup.plugin.restarts], ["running", 1]);
    deepEqual(setup.types(), ["plugin.started", `plugin.${by}`, "plugin.started"]);
    deepEqual(setup.events, ["started wake", `ended ${by}`, "started restart"]);
    equal(setup.plugin.lastFault?.error.code, "LIMIT_MEMORY");
  }
});

Deno.test("Plugin tells all who wait that a start failed, once it is recorded, and tries again after a pause", async () => {
  await using setup = create();
  const { plugin } = setup;
  const waking = [plugin.awake(), plugin.awake()].map((awake) => Promise.resolve(awake));
  const error = new ProblemError("PLUGIN_START_FAILED", "Cannot start");
  (await setup.start(0)).fail(error);
  for (const awake of waking) await rejects(awake, (reason) => reason === error);
  deepEqual([plugin.state, setup.types()], ["error", ["plugin.failed"]]);
  const waiting = plugin.awake();
  await setup.timing.pass(100);
  const cell = (await setup.start(1)).finish();
  equal(await waiting, cell);
  equal(plugin.state, "running");
});

Deno.test("Plugin fails a start that broke in an unforeseen way as INTERNAL, its cause kept", async () => {
  await using setup = create();
  const waking = Promise.resolve(setup.plugin.awake());
  const cause = new TypeError("a bug");
  (await setup.start(0)).fail(cause);
  await rejects(
    waking,
    (error) => error instanceof ProblemError && error.code === "INTERNAL" && error.cause === cause,
  );
  equal(setup.plugin.state, "error");
});

Deno.test("Plugin.stop() waits for a start that is under way, then stops what it started", async () => {
  await using setup = create();
  const { plugin } = setup;
  const waking = plugin.awake();
  const start = await setup.start(0);
  const stopping = plugin.stop("operator", "token:1");
  equal(plugin.state, "starting");
  start.finish();
  await waking;
  await stopping;
  deepEqual([plugin.state, plugin.pid], ["loaded", null]);
  deepEqual(setup.types(), ["plugin.started", "plugin.stopped"]);
  deepEqual([setup.records[1]?.actor, setup.events], ["token:1", ["started wake", "ended operator"]]);
});

Deno.test("Plugin.stop() during a start that fails leaves the plugin loaded", async () => {
  await using setup = create();
  const waking = rejects(Promise.resolve(setup.plugin.awake()), { code: "PLUGIN_START_FAILED" });
  const start = await setup.start(0);
  const stopping = setup.plugin.stop("operator", "token:1");
  start.fail(new ProblemError("PLUGIN_START_FAILED", "Cannot start"));
  await waking;
  await stopping;
  equal(setup.plugin.state, "loaded");
});

Deno.test("Plugin.stop() settles a plugin that crashed meanwhile", async () => {
  await using setup = create({ stopsAtOnce: false });
  const cell = await setup.wake();
  const stopping = setup.plugin.stop("operator", "token:1");
  cell.end("crashed");
  await stopping;
  equal(setup.plugin.state, "loaded");
  deepEqual(setup.types(), ["plugin.started", "plugin.crashed"]);
  deepEqual(setup.timing.pendingMs, [], "no restart is due");
});

Deno.test("Plugin tells the ledger once how a cell ended that was killed because it did not stop", async () => {
  await using setup = create({ stopsAtOnce: false });
  const { plugin } = setup;
  const ends = [
    () => plugin.stop("operator", "token:1"),
    () => plugin.sleep("idle"),
  ];
  for (const [turn, end] of ends.entries()) {
    const cell = await setup.wake();
    const ending = end();
    while (!cell.isStopping) await null;
    cell.end("killed", "PLUGIN_STOPPED");
    await ending;
    equal(plugin.state, turn === 0 ? "loaded" : "sleeping");
  }
  const killed = ["plugin.started", "plugin.killed"];
  deepEqual(setup.types(), [...killed, ...killed]);
  deepEqual(setup.kept, [], "it is no failure");
});

// Two cells of one plugin would share its data folder.
Deno.test("Plugin starts the next cell when the last one has ended, and not before", async () => {
  await using setup = create({ stopsAtOnce: false });
  const cell = await setup.wake();
  const stopping = setup.plugin.stop("reload", "token:1");
  while (!cell.isStopping) await null;
  const waking = setup.plugin.awake();
  for (let tick = 0; tick < 20; tick++) await null;
  equal(setup.starts.length, 1);
  cell.end("stopped");
  const next = (await setup.start(1)).finish();
  await stopping;
  equal(await waking, next);
});

Deno.test("Plugin.revise() is for the next cell, even one that waits for the last to end", async () => {
  await using setup = create({ stopsAtOnce: false });
  const cell = await setup.wake();
  const revised = { ...releaseOf(), digest: "cd" };
  setup.plugin.revise(revised);
  const stopping = setup.plugin.stop("reload", "token:1");
  while (!cell.isStopping) await null;
  const waking = setup.plugin.awake();
  cell.end("stopped");
  const start = await setup.start(1);
  equal(start.release, revised);
  start.finish();
  await Promise.all([stopping, waking]);
});

Deno.test("Plugin.sleep() ends an idle cell and leaves a busy one", async () => {
  await using setup = create();
  const { plugin } = setup;
  const cell = await setup.wake();
  cell.callsUnderWay = 1;
  await plugin.sleep("idle");
  equal(plugin.state, "running");
  cell.callsUnderWay = 0;
  await plugin.sleep("idle");
  deepEqual([plugin.state, plugin.pid], ["sleeping", null]);
  await plugin.sleep("idle");
  ok(await setup.wake() !== cell);
  deepEqual(setup.types(), ["plugin.started", "plugin.stopped", "plugin.started"]);
  deepEqual([plugin.state, plugin.restarts], ["running", 0]);
});

Deno.test("Plugin goes to sleep by itself when nobody called it for idleMs, and not before", async () => {
  await using setup = create({ idleMs: 100 });
  const cell = await setup.wake();
  setup.timing.advance(99);
  setup.plugin.awake();
  setup.clock.nowMs += 60_000; // somebody set the clock
  setup.timing.advance(100);
  const { by } = await cell.cell.ended;
  equal(by, "stopped");
  await setup.plugin.inOrder(() => Promise.resolve());
  equal(setup.plugin.state, "sleeping");
});

Deno.test("Plugin.inOrder() does one thing at a time, whatever becomes of it", async () => {
  await using setup = create();
  const { plugin } = setup;
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const failing = plugin.inOrder(async () => {
    await first.promise;
    order.push("first");
    throw new Error("it failed");
  });
  const second = plugin.inOrder(() => Promise.resolve(order.push("second")));
  first.resolve();
  await rejects(failing, /it failed/);
  await second;
  deepEqual(order, ["first", "second"]);
});

const commands = [
  "call",
  "stop",
  "start",
  "sleep",
  "crash",
  "kill",
  "finish",
  "fail",
  "reload",
  "suspend",
  "resume",
  "stale",
  "reset",
  "pass",
  "tick",
] as const;
type Command = typeof commands[number];

/** A plugin and everything that can happen to it, at any moment. */
class Storm {
  readonly setup;
  /** RangeError is what an illegal transition throws; a ProblemError is an answer. */
  readonly unforeseen: unknown[] = [];
  readonly #waits: Promise<unknown>[] = [];
  #finished = 0;

  constructor(stopsAtOnce: boolean) {
    this.setup = create({ stopsAtOnce, manifest: { restart: { max: 4 } } });
  }

  do(command: Command): void {
    const { plugin, cells } = this.setup;
    const inOrder = (work: () => Promise<unknown>) => this.#watch(plugin.inOrder(work));
    const reload = async () => {
      plugin.revise(releaseOf());
      await plugin.stop("reload", "token:1");
    };
    const acts: Record<Command, () => unknown> = {
      call: () => this.#watch(plugin.awake()),
      start: () => inOrder(() => plugin.start("token:1")),
      stop: () => inOrder(() => plugin.stop("operator", "token:1")),
      reload: () => inOrder(reload),
      suspend: () => inOrder(() => plugin.suspend("token:1")),
      resume: () => inOrder(() => plugin.resume("token:1")),
      stale: () => this.#makeStale(),
      reset: () =>
        inOrder(() => {
          plugin.reset();
          return Promise.resolve();
        }),
      pass: () => this.#watch(this.setup.timing.pass(100)),
      sleep: () => inOrder(() => plugin.sleep("idle")),
      crash: () => cells.at(-1)?.end("crashed"),
      kill: () => cells.at(-1)?.end("killed"),
      finish: () => this.#settleStart(true),
      fail: () => this.#settleStart(false),
      tick: () => {},
    };
    acts[command]();
  }

  #watch(work: unknown): void {
    const watched = Promise.resolve(work).catch((error) => {
      if (!(error instanceof ProblemError)) this.unforeseen.push(error);
    });
    this.#waits.push(watched);
  }

  /** As a call does whose deadline passes while its cell is suspended. */
  #makeStale(): void {
    const cell = this.setup.cells.at(-1);
    if (cell?.isSuspended) cell.isStale = true;
  }

  #settleStart(isFine: boolean): void {
    const start = this.setup.starts[this.#finished];
    if (start === undefined) return;
    this.#finished++;
    if (isFine) start.finish();
    else start.fail(new ProblemError("PLUGIN_START_FAILED", "Cannot start"));
  }

  /** Lets what is pending go on, then checks the invariants. */
  async check(): Promise<void> {
    for (let tick = 0; tick < 10; tick++) await null;
    const { plugin, cells, starts } = this.setup;
    ok(cells.filter(({ isAlive }) => isAlive).length <= 1, "two cells are alive");
    ok(starts.length - this.#finished <= 1, "two starts are under way");
    if (plugin.pid !== null) ok(["running", "suspended", "stopping"].includes(plugin.state), plugin.state);
  }

  /** Stops the plugin as a shutdown does; everything that is still open comes to its end. */
  async close(): Promise<void> {
    const { plugin, cells } = this.setup;
    let isClosed = false;
    this.setup.forbidden.by = new ProblemError("NOT_READY", "Cannot call: Airlock is stopping");
    const closing = plugin.inOrder(() => plugin.stop("shutdown", "kernel")).then(() => isClosed = true);
    while (!isClosed) {
      this.#settleStart(true);
      for (const cell of cells) if (cell.isStopping) cell.end("stopped");
      await this.check();
    }
    await closing;
    deepEqual(this.setup.timing.pendingMs.filter((ms) => ms < 30_000), [], "no restart is due any more");
    await this.setup[Symbol.asyncDispose]();
    await Promise.all(this.#waits);
  }
}

Deno.test("Plugin keeps to one cell and to legal transitions, whatever happens in whatever order", async () => {
  const plans = fc.array(fc.constantFrom(...commands, "call" as const), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.boolean(), plans, async (stopsAtOnce, plan) => {
      const storm = new Storm(stopsAtOnce);
      for (const command of plan) {
        storm.do(command);
        await storm.check();
      }
      await storm.close();
      deepEqual(storm.unforeseen, []);
      const { events, cells } = storm.setup;
      equal(events.filter((event) => event.startsWith("started")).length, cells.length);
      equal(events.filter((event) => event.startsWith("ended")).length, cells.length);
      const ends = storm.setup.types().filter((type) => /^plugin\.(?:stopped|killed|crashed)$/.test(type));
      equal(ends.length, cells.length, "one entry for each end");
    }),
    { numRuns: 1_000 },
  );
});
