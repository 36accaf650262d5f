import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { RestartQueue } from "./restart_queue.ts";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";

function create(restartsMax: number) {
  const timing = new TestingClock();
  const queue = new RestartQueue(timing, restartsMax);
  const begun: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<void>>();
  return {
    ...{ timing, queue, begun, ends },
    add(name: string, dueMs: number, critical = false) {
      return queue.add({
        critical,
        dueMs,
        run() {
          begun.push(name);
          const end = Promise.withResolvers<void>();
          ends.set(name, end);
          return end.promise;
        },
      });
    },
  };
}

Deno.test("RestartQueue runs each when it is due, and not before", async () => {
  const { timing, queue, begun, add } = create(4);
  add("b", 200);
  add("a", 100);
  await timing.pass(99);
  deepEqual(begun, []);
  await timing.pass(1);
  deepEqual(begun, ["a"]);
  await timing.pass(100);
  deepEqual([begun, queue.underWayCount, timing.pendingMs], [["a", "b"], 2, []]);
});

Deno.test("RestartQueue takes critical plugins first, then by the time they were due", async () => {
  const { timing, begun, ends, add } = create(1);
  add("first", 10);
  await timing.pass(10);
  for (const [name, dueMs, critical] of [["late", 30], ["early", 20], ["critical", 40, true]] as const) {
    add(name, dueMs, critical);
  }
  await timing.pass(100);
  for (const name of ["first", "critical", "early"]) {
    ends.get(name)!.resolve();
    await settle();
  }
  deepEqual(begun, ["first", "critical", "early", "late"]);
});

Deno.test("RestartQueue frees the place of one that failed", async () => {
  const { begun, ends, add } = create(1);
  add("a", 0);
  add("b", 0);
  ends.get("a")!.reject(new Error("it failed"));
  await settle();
  deepEqual(begun, ["a", "b"]);
});

Deno.test("RestartQueue does not run what was cancelled, and keeps no timer for it", async () => {
  const { timing, begun, add } = create(1);
  const cancel = add("a", 100);
  cancel?.();
  cancel?.();
  deepEqual(timing.pendingMs, []);
  await timing.pass(1_000);
  deepEqual(begun, []);
});

Deno.test("RestartQueue never runs more than its number at once, and runs all in the end", async () => {
  const restarts = fc.array(fc.record({ dueMs: fc.nat(50), critical: fc.boolean() }), { maxLength: 30 });
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 4 }), restarts, async (restartsMax, plan) => {
    const { timing, queue, begun, ends, add } = create(restartsMax);
    plan.forEach(({ dueMs, critical }, index) => add(`${index}`, dueMs, critical));
    for (let step = 0; step < 200 && begun.length < plan.length; step++) {
      await timing.pass(1);
      ok(queue.underWayCount <= restartsMax);
      for (const end of ends.values()) end.resolve();
      ends.clear();
    }
    equal(new Set(begun).size, plan.length);
  }));
});

Deno.test("RestartQueue.close() forgets those that wait, and takes no more", async () => {
  const { timing, queue, begun, add } = create(1);
  add("a", 0);
  add("waits", 0);
  add("later", 100);
  queue.close();
  equal(add("new", 0), undefined);
  await timing.pass(200);
  deepEqual([begun, timing.pendingMs], [["a"], []]);
});
