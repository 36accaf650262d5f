import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { LeaseLostError } from "./lease.ts";
import { WriteGroup } from "./write_group.ts";

function createGroup({ changesMax = 10 } = {}) {
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
