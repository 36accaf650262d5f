import assert from "node:assert/strict";
import { settle } from "../../sandbox/testing_clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Appended, LedgerEventInput } from "../ledger/ledger.ts";
import type { JobRow } from "../store/job_row.ts";
import { Teller } from "./teller.ts";

const appended: Appended = { index: 0, size: 1, checkpoint: "c" };
const rowOf = (seq: number, more: Partial<JobRow> = {}) =>
  ({
    ...{ seq, id: `job ${seq}`, plugin: "p", action: "a", actor: "token:a", parent: null, schedule: null },
    ...{ state: "completed", attempt: 1, errorCode: null, errorMessage: null },
    ...more,
  }) as JobRow;

/** A ledger that has room for what `room` says, and resolves when it is told. */
class World {
  readonly entries: string[] = [];
  readonly cleared: string[] = [];
  readonly fatal: string[] = [];
  readonly failures: unknown[] = [];
  inputsRead = 0;
  room = Infinity;
  pauses: (() => void)[] = [];
  #underWay: (() => void)[] = [];
  #deferred: (() => void)[] = [];
  error: Error | undefined;
  diskError: Error | undefined;
  asked = 0;
  rows = new Map<number, JobRow>();

  readonly teller = new Teller({
    ledger: { append: (event) => this.#append(event) },
    table: {
      get: (seq) => this.rows.get(seq) ?? rowOf(seq),
      input: () => {
        this.inputsRead++;
        return new Uint8Array(1);
      },
    },
    light: {
      transact: (work) => {
        const made = work();
        if (this.diskError !== undefined) throw this.diskError;
        return made;
      },
      table: { clearUntold: (seq, bit) => void this.cleared.push(`${seq}/${bit}`) },
    },
    nameOf: (plugin) => `${plugin}@1.0.0`,
    defer: (work) => void this.#deferred.push(work),
    track: (work) => void work.catch((error) => this.failures.push(error)),
    pause: () => new Promise((resolve) => this.pauses.push(resolve)),
    fatal: (error) => void this.fatal.push(error.message),
  });

  #append({ type, data }: LedgerEventInput): Promise<Appended> {
    this.asked++;
    if (this.error !== undefined) return Promise.reject(this.error);
    if (this.room-- <= 0) return Promise.reject(new ProblemError("QUEUE_FULL", "full"));
    const job = "job" in data ? data.job : "";
    const { promise, resolve } = Promise.withResolvers<Appended>();
    this.entries.push(`${type.slice(4)} ${job}`);
    this.#underWay.push(() => resolve(appended));
    return promise;
  }

  /** All that the ledger has is durable. */
  async sync(): Promise<void> {
    for (const resolve of this.#underWay.splice(0)) resolve();
    await settle();
  }

  turn(): void {
    for (const work of this.#deferred.splice(0)) work();
  }

  async resume(room: number): Promise<void> {
    this.room = room;
    for (const resolve of this.pauses.splice(0)) resolve();
    await settle();
  }
}

Deno.test("Teller.tell() gives the ledger at most 1,024 entries at once, in order, and reads inputs in their turn", async () => {
  const world = new World();
  for (let seq = 1; seq <= 3_000; seq++) world.teller.tell(rowOf(seq), "enqueued");
  assert.deepEqual([world.entries.length, world.inputsRead], [1_024, 1_024]);
  let isTold = false;
  const last = world.teller.pending(3_000, "enqueued")?.then(() => isTold = true);
  await world.sync();
  assert.equal(world.entries.length, 2_048);
  assert.equal(isTold, false);
  await world.sync();
  await world.sync();
  await last;
  assert.deepEqual(world.entries, Array.from({ length: 3_000 }, (_, at) => `enqueued job ${at + 1}`));
  assert.equal(world.teller.pending(3_000, "enqueued"), undefined);
  await world.teller.settled();
  assert.equal(world.cleared.length, 3_000);
});

Deno.test("Teller.tell() keeps the order of a job's entries when the ledger is full, with one pause for all", async () => {
  const world = new World();
  world.room = 0;
  for (const seq of [1, 2, 3]) world.teller.tell(rowOf(seq), "enqueued");
  world.teller.tell(rowOf(1), "ended");
  world.room = 9;
  world.teller.tell(rowOf(2), "ended");
  await settle();
  assert.equal(world.pauses.length, 1);
  assert.deepEqual(world.entries, []);
  await world.resume(1);
  assert.equal(world.pauses.length, 1, "full again");
  await world.resume(Infinity);
  assert.deepEqual(world.entries, [1, 2, 3].map((job) => `enqueued job ${job}`));
  await world.sync();
  assert.deepEqual(world.entries.slice(3), ["completed job 1", "completed job 2"]);
  await world.sync();
  await world.teller.settled();
});

Deno.test("Teller.preceded() waits while the ledger has not taken that the job was enqueued", async () => {
  const world = new World();
  const order: string[] = [];
  const begin = (seq: number) => void world.teller.preceded(seq).then(() => order.push(`begin ${seq}`));
  world.teller.tell(rowOf(1), "enqueued");
  begin(1);
  await settle();
  assert.deepEqual(order, ["begin 1"], "what comes next stands behind it, durable or not");
  world.room = 0;
  world.teller.tell(rowOf(2), "enqueued");
  begin(2);
  world.teller.tell(rowOf(3), "enqueued");
  begin(3);
  begin(4);
  await settle();
  assert.deepEqual(order, ["begin 1", "begin 4"], "of which nothing is owed");
  await world.resume(9);
  await world.sync();
  assert.deepEqual(order, ["begin 1", "begin 4", "begin 2", "begin 3"]);
});

Deno.test("Teller: an end tells what was so when it came, whatever became of the job since", async () => {
  const world = new World();
  world.room = 0;
  world.teller.tell(rowOf(1, { state: "cancelled" }), "ended");
  world.rows.set(1, rowOf(1, { state: "pending" }));
  await settle();
  await world.resume(9);
  assert.deepEqual(world.entries, ["cancelled job 1"]);
});

Deno.test("Teller: the mark of an end does not say of the next one that it was told", async () => {
  const world = new World();
  world.teller.tell(rowOf(1), "ended");
  world.teller.tell(rowOf(1, { attempt: 2 }), "ended");
  await world.sync();
  world.teller.flush();
  assert.deepEqual(world.cleared, []);
  assert.notEqual(world.teller.pending(1, "ended"), undefined);
  await world.sync();
  world.teller.flush();
  assert.deepEqual(world.cleared, ["1/2"]);
});

Deno.test("Teller: what the ledger does not take stays owed, and rejects whoever waits, then or later", async () => {
  const world = new World();
  world.error = new ProblemError("INTERNAL", "disk");
  world.teller.tell(rowOf(1), "enqueued");
  await settle();
  assert.equal(world.failures.length, 1);
  await assert.rejects(world.teller.pending(1, "enqueued")!, /disk/);
  await world.teller.settled();
  assert.deepEqual(world.cleared, []);
});

Deno.test("Teller.flush() ends the kernel when the marks cannot be written, and forgets none", async () => {
  const world = new World();
  world.diskError = new Error("disk");
  world.teller.tell(rowOf(1), "ended");
  await world.sync();
  world.turn();
  world.teller.flush();
  assert.deepEqual(world.fatal, ["disk"]);
});
