import { deepEqual, equal } from "node:assert/strict";
import { Deadlines } from "./deadlines.ts";

/** Deadlines on a clock that the test moves; the timers set so far are counted. */
function deadlinesAt() {
  let nowMs = 0;
  let timersSet = 0;
  let pending: { atMs: number; fire: () => void } | undefined;
  const overdue: [id: number, atMs: number][] = [];
  const deadlines = new Deadlines((id) => overdue.push([id, nowMs]), {
    nowMs: () => nowMs,
    setTimer: (fire, inMs) => {
      timersSet++;
      pending = { atMs: nowMs + inMs, fire };
      return () => pending = undefined;
    },
  });
  return {
    deadlines,
    overdue,
    timersSet: () => timersSet,
    isTimerSet: () => pending !== undefined,
    advance(toMs: number) {
      while (pending !== undefined && pending.atMs <= toMs) {
        const { atMs, fire } = pending;
        pending = undefined;
        nowMs = atMs;
        fire();
      }
      nowMs = toMs;
    },
  };
}

Deno.test("Deadlines tells each id once, in time, the earliest first", () => {
  const clock = deadlinesAt();
  clock.deadlines.set(1, 300);
  clock.deadlines.set(2, 100);
  clock.deadlines.set(3, 200);
  clock.advance(1_000);
  deepEqual(clock.overdue, [[2, 100], [3, 200], [1, 300]]);
});

Deno.test("Deadlines forgets what was deleted, and takes a new deadline for an old one", () => {
  const clock = deadlinesAt();
  clock.deadlines.set(1, 100);
  clock.deadlines.set(2, 100);
  clock.deadlines.delete(1);
  clock.deadlines.set(2, 500);
  clock.advance(400);
  deepEqual(clock.overdue, []);
  clock.advance(500);
  deepEqual(clock.overdue, [[2, 500]]);
});

Deno.test("Deadlines.hasten() brings a deadline forward, and never puts one off or makes one", () => {
  const clock = deadlinesAt();
  clock.deadlines.set(1, 100);
  clock.deadlines.set(2, 1_000);
  deepEqual([1, 2, 3].map((id) => clock.deadlines.hasten(id, 500)), [false, true, false]);
  equal(clock.deadlines.hasten(2, 600), false);
  clock.advance(2_000);
  deepEqual(clock.overdue, [[1, 100], [2, 500]]);
});

Deno.test("Deadlines sets a deadline anew from within its callback", () => {
  const clock = deadlinesAt();
  const { deadlines } = clock;
  deadlines.set(1, 100);
  clock.advance(100);
  deadlines.set(1, 50);
  clock.advance(150);
  deepEqual(clock.overdue, [[1, 100], [1, 150]]);
});

Deno.test("Deadlines sets no timer for a call that ends in time after another that did", () => {
  const clock = deadlinesAt();
  for (let id = 0; id < 1_000; id++) {
    clock.deadlines.set(id, 30_000);
    clock.deadlines.delete(id);
    clock.advance(id);
  }
  equal(clock.timersSet(), 1);
});

Deno.test("Deadlines leaves no timer behind", () => {
  const clock = deadlinesAt();
  clock.deadlines.set(1, 60_000);
  clock.deadlines[Symbol.dispose]();
  equal(clock.isTimerSet(), false);
});
