import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { LeaseLostError } from "./lease.ts";
import { WriteGroup } from "./write_group.ts";

function createGroup({ changesMax = 10, isFull = (): boolean => false } = {}) {
  const deferred: (() => void)[] = [];
  const told: string[] = [];
  const fatal: Error[] = [];
  const disk = { isBroken: false };
  const group = new WriteGroup({
    transact: (work) => {
      told.push("begin");
      const value = work();
      if (disk.isBroken) throw new Error("disk");
      told.push("commit");
      return value;
    },
    defer: (work) => void deferred.push(work),
    conclude: () => void told.push("conclude"),
    committed: () => void told.push("committed"),
    fatal: (error) => void fatal.push(error),
    changesMax,
    isFull: () => isFull(),
  });
  const turn = () => deferred.splice(0).forEach((work) => work());
  return { group, told, fatal, disk, deferred, turn };
}

Deno.test("WriteGroup commits what came in one turn together, and refusals hurt nobody else", async () => {
  const { group, told, turn, deferred } = createGroup();
  const outcomes = Promise.allSettled([
    group.run(() => 1),
    group.run(() => {
      throw new ProblemError("CONFLICT", "no");
    }),
    group.run(() => {
      throw new LeaseLostError("late");
    }),
    group.run(() => 2),
  ]);
  assert.equal(deferred.length, 1);
  turn();
  const tell = (outcome: PromiseSettledResult<unknown>) =>
    outcome.status === "fulfilled" ? outcome.value : outcome.reason.message;
  assert.deepEqual((await outcomes).map(tell), [1, "no", "late", 2]);
  assert.deepEqual(told, ["begin", "conclude", "commit", "committed"]);
});

for (const way of ["the disk", "a bug"]) {
  Deno.test(`WriteGroup ends the kernel and rejects all when ${way} fails the commit`, async () => {
    const { group, fatal, disk, turn } = createGroup();
    disk.isBroken = way === "the disk";
    const outcomes = Promise.allSettled([
      group.run(() => 1),
      group.run(() => {
        if (way === "a bug") throw new TypeError("bug");
      }),
    ]);
    turn();
    for (const outcome of await outcomes) {
      assert(outcome.status === "rejected" && outcome.reason instanceof ProblemError);
      assert.equal(outcome.reason.code, "INTERNAL");
    }
    assert.equal(fatal.length, 1);
    await assert.rejects(group.run(() => 1), { code: "INTERNAL" });
  });
}

Deno.test("WriteGroup refuses more changes than may wait, and those that waited are made", async () => {
  const { group, turn } = createGroup({ changesMax: 2 });
  const kept = [group.run(() => 1), group.run(() => 2)];
  await assert.rejects(group.run(() => 3), { code: "QUEUE_FULL" });
  turn();
  assert.deepEqual(await Promise.all(kept), [1, 2]);
});

Deno.test("WriteGroup.close() commits what waits, and nothing after that", async () => {
  const { group, told, turn } = createGroup();
  const last = group.run(() => 1);
  const closed = group.close();
  turn();
  assert.equal(await last, 1);
  await closed;
  await assert.rejects(group.run(() => 2), { code: "NOT_READY" });
  group.poke();
  turn();
  assert.equal(told.filter((word) => word === "commit").length, 1);
});

Deno.test("WriteGroup ends a group when its transaction is full, and makes the other changes in the next ones", async () => {
  let rows = 0;
  const { group, told, turn, deferred } = createGroup({ changesMax: 100, isFull: () => rows >= 10 });
  const groups: number[] = [];
  const made = [4, 4, 4, 25, 1, 9, 1].map((size) =>
    group.run(() => {
      rows += size;
      return size;
    })
  );
  for (let turns = 0; deferred.length > 0; turns++) {
    turn();
    groups.push(rows);
    rows = 0;
  }
  // A change is never divided; one that is large is the last of its group.
  assert.deepEqual(groups, [12, 25, 10, 1]);
  assert.deepEqual(await Promise.all(made), [4, 4, 4, 25, 1, 9, 1]);
  assert.equal(told.filter((word) => word === "commit").length, 4);
});

Deno.test("WriteGroup makes no more than a thousand changes in one group, however small", () => {
  const { group, turn } = createGroup({ changesMax: 5_000 });
  let made = 0;
  for (let change = 0; change < 2_500; change++) void group.run(() => made++);
  const counts = [1, 2, 3].map(() => {
    turn();
    return made;
  });
  assert.deepEqual(counts, [1_000, 2_000, 2_500]);
});

// What an attempt came to must not be lost because callers ask for much.
Deno.test("WriteGroup takes a change that is owed however many wait", async () => {
  const { group, turn } = createGroup({ changesMax: 1 });
  const kept = group.run(() => 1);
  await assert.rejects(group.run(() => 2), { code: "QUEUE_FULL" });
  const owed = group.run(() => 3, { isOwed: true });
  turn();
  assert.deepEqual(await Promise.all([kept, owed]), [1, 3]);
});

Deno.test("WriteGroup.close() settles what a loop asks for while it closes", async () => {
  const { group, turn } = createGroup();
  const outcomes: unknown[] = [];
  const loop = (async () => {
    try {
      for (;;) outcomes.push(await group.run(() => "made"));
    } catch (error) {
      outcomes.push(error instanceof ProblemError && error.code);
    }
  })();
  const closed = group.close();
  turn();
  await Promise.all([closed, loop]);
  assert.deepEqual(outcomes, ["made", "NOT_READY"]);
});

Deno.test("WriteGroup.close() comes to its end with a full queue, twice, and after a failure", async () => {
  const full = createGroup({ changesMax: 0 });
  const closed = full.group.close();
  full.turn();
  await closed;
  await full.group.close();
  const failed = createGroup();
  failed.disk.isBroken = true;
  const lost = assert.rejects(failed.group.run(() => 1), { code: "INTERNAL" });
  const closing = failed.group.close();
  failed.turn();
  await Promise.all([lost, closing]);
  await failed.group.close();
});
