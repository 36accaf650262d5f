import assert from "node:assert/strict";
import { clipTarget, createRefusalBudget } from "./refusal_budget.ts";

function createFixture({ refusalsMax = 2, actorsMax = 10, windowMs = 60_000 } = {}) {
  const entries: [actor: string, count: number, windowMs: number][] = [];
  const clock = { nowMs: 1_000 };
  const failures: Error[] = [];
  const written = Promise.withResolvers<void>();
  const budget = createRefusalBudget({
    tell(actor, { count, windowMs }) {
      const failure = failures.shift();
      if (failure !== undefined) return Promise.reject(failure);
      entries.push([actor, count, windowMs]);
      written.resolve();
      return Promise.resolve();
    },
    nowMs: () => clock.nowMs,
    ...{ windowMs, refusalsMax, actorsMax },
  });
  return { budget, entries, clock, failures, written: written.promise };
}

Deno.test("RefusalBudget.take() writes the first refusals of each actor and counts the rest", async () => {
  const { budget, entries, clock } = createFixture();
  const taken = ["a", "a", "b", "a", "a", "a", "b", "b"].map((actor) => {
    clock.nowMs += 10;
    return budget.take(`token:${actor}`);
  });
  assert.deepEqual(taken, [true, true, true, false, false, false, true, false]);
  assert.deepEqual(entries, []);
  await budget.close();
  assert.deepEqual(entries, [["token:a", 3, 40], ["token:b", 1, 0]]);
});

Deno.test("RefusalBudget writes a count at the window's end, and begins anew", async () => {
  const { budget, entries, written } = createFixture({ refusalsMax: 1, windowMs: 1 });
  assert.deepEqual([1, 2, 3].map(() => budget.take("token:a")), [true, false, false]);
  await written;
  assert.deepEqual(entries, [["token:a", 2, 0]]);
  assert.equal(budget.take("token:a"), true);
  await budget.close();
  assert.equal(entries.length, 1);
});

Deno.test("RefusalBudget carries a count that the ledger refused into the next window", async () => {
  const { budget, entries, failures, clock, written } = createFixture({ refusalsMax: 0, windowMs: 1 });
  failures.push(new Error("the queue is full"), new Error("the queue is full"));
  budget.take("token:a");
  budget.take("token:a");
  clock.nowMs += 500;
  await written;
  assert.deepEqual(entries, [["token:a", 2, 500]]);
  await budget.close();
});

Deno.test("RefusalBudget.close() says what could not be written, and leaves no timer", async () => {
  const { budget, failures } = createFixture({ refusalsMax: 0 });
  budget.take("token:a");
  failures.push(new Error("Cannot append: the ledger is closed"));
  await assert.rejects(() => budget.close(), /the ledger is closed/);
});

Deno.test("RefusalBudget counts together the actors that it cannot tell apart any more", async () => {
  const { budget, entries } = createFixture({ refusalsMax: 1, actorsMax: 2 });
  const taken = ["a", "b", "c", "d", "a"].map((actor) => budget.take(`token:${actor}`));
  assert.deepEqual(taken, [true, true, false, false, false]);
  await budget.close();
  assert.deepEqual(entries, [["token:a", 1, 0], ["kernel", 2, 0]]);
});

Deno.test("clipTarget() keeps 256 bytes of what was asked for, in whole characters", () => {
  assert.deepEqual(clipTarget("DELETE /v1/x"), new TextEncoder().encode("DELETE /v1/x"));
  assert.equal(clipTarget("x".repeat(9_000)).length, 256);
  assert.equal(new TextDecoder("utf-8", { fatal: true }).decode(clipTarget("€".repeat(100))), "€".repeat(85));
});

Deno.test("RefusalBudget.count() counts refusals beside those that were taken, and spends nothing", async () => {
  const { budget, entries } = createFixture({ refusalsMax: 1, actorsMax: 2 });
  budget.count("a", 5);
  assert.deepEqual([budget.take("a", 3), budget.take("a", 4)], [true, false]);
  budget.count("b", 1);
  budget.count("c", 7);
  await budget.close();
  assert.deepEqual(entries, [["a", 9, 0], ["b", 1, 0], ["kernel", 7, 0]]);
});
