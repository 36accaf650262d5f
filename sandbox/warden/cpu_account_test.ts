import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { CallCharges, CpuShare } from "./cpu_account.ts";

Deno.test("CallCharges charges the calls under way in equal parts, and names those over the limit", () => {
  const calls = new CallCharges(100);
  calls.report(1, [1]);
  deepEqual(calls.charge(60), []);
  calls.report(2, [1, 2]);
  deepEqual(calls.charge(60), []);
  equal(calls.mostMs, 90);
  deepEqual(calls.charge(40), [1]);
  deepEqual(calls.charge(200), [1, 2]);
});

Deno.test("CallCharges charges nothing while no call is under way", () => {
  const calls = new CallCharges(10);
  deepEqual([calls.isIdle, calls.charge(1_000), calls.mostMs], [true, [], 0]);
  calls.report(1, [1]);
  deepEqual([calls.isIdle, calls.charge(10)], [false, []]);
  calls.report(0, []);
  deepEqual([calls.isIdle, calls.charge(1_000)], [true, []]);
  calls.report(1, [2]);
  deepEqual(calls.charge(10), []);
});

// The kernel's loop may be held up, or the kernel stopped, while a plugin burns.
Deno.test("CallCharges goes on without a further report", () => {
  const calls = new CallCharges(1_000);
  calls.report(1, [7]);
  const over = Array.from({ length: 30 }, () => calls.charge(50)).find((ids) => ids.length > 0);
  deepEqual(over, [7]);
});

Deno.test("CallCharges takes a report that names more calls than it counts, or none that it counts", () => {
  const calls = new CallCharges(100);
  calls.report(1, [1, 2, 3, 4]);
  deepEqual(calls.charge(200), []);
  calls.report(0, [1, 2]);
  deepEqual([calls.isIdle, calls.charge(1_000)], [true, []]);
  calls.report(3, []);
  deepEqual(calls.charge(1_000), []);
});

Deno.test("CallCharges never charges more than was used, whatever is reported", () => {
  const ids = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 4 });
  const step = fc.record({ ids, more: fc.nat(5), usedMs: fc.nat(500) });
  fc.assert(fc.property(fc.array(step), (steps) => {
    const calls = new CallCharges(Infinity);
    let usedMs = 0;
    for (const { ids, more, usedMs: used } of steps) {
      calls.report(ids.length + more, ids);
      deepEqual(calls.charge(used), []);
      usedMs += used;
      ok(calls.mostMs <= usedMs + 1e-6);
    }
  }));
});

/** The state after each step of 50 ms in which `usedMs` were used, without the room that a start has. */
function run(share: CpuShare, steps: number, usedMs: number): string[] {
  return Array.from({ length: steps }, () => share.take(usedMs, 50));
}

/** What a start may use is used. */
function started(percent: number, windowMs: number): CpuShare {
  const share = new CpuShare({ percent, windowMs });
  share.take(1_000, 0);
  return share;
}

Deno.test("CpuShare takes its share for ever, and twice its share for the window", () => {
  deepEqual(new Set(run(started(100, 5_000), 1_000, 50)), new Set(["healthy"]));
  const states = run(started(100, 5_000), 110, 100);
  // A full bucket takes no more: what the first step was to fill is lost.
  equal(states.indexOf("over-share"), 49);
  equal(states.indexOf("exhausted"), 99);
});

Deno.test("CpuShare is healthy again only well above where it ceased to be", () => {
  const share = started(100, 5_000);
  run(share, 60, 100);
  equal(share.state, "over-share");
  equal(run(share, 34, 0).at(-1), "over-share");
  equal(run(share, 3, 0).at(-1), "healthy");
});

Deno.test("CpuShare has room for a runtime's start, once, and for a little in the smallest share", () => {
  const share = new CpuShare({ percent: 1, windowMs: 5_000 });
  equal(share.take(1_150, 50), "over-share");
  equal(share.take(100, 50), "exhausted");
  const idle = new CpuShare({ percent: 1, windowMs: 5_000 });
  idle.take(1_000, 60_000);
  equal(idle.take(190, 60_000), "over-share");
  equal(idle.take(20, 0), "exhausted");
});

Deno.test("CpuShare does not take a clock that stood still for one that ran back", () => {
  const share = started(100, 5_000);
  equal(share.take(100, -10_000), "healthy");
});
