import { deepEqual, equal, ok } from "node:assert/strict";
import { canLowerNiceness, CpuDemand } from "./cpu_demand.ts";
import type { ThreadDemand } from "./proc.ts";

const lookMs = 100;
const oneLook = { elapsedMs: lookMs, awakeMs: lookMs };

/** After a while of looks each 100 ms at threads that ran and waited for so much of each. */
function after(looks: number, demand: CpuDemand, ...threads: [ranMs: number, waitedMs: number][]): boolean {
  const sums = new Map<number, ThreadDemand>(threads.map((_, id) => [id, { ranMs: 0, waitedMs: 0 }]));
  for (let at = 0; at <= looks; at++) {
    demand.take({ threads: sums, ...oneLook });
    for (const [id, [ranMs = 0, waitedMs = 0]] of threads.entries()) {
      const sum = sums.get(id) ?? { ranMs: 0, waitedMs: 0 };
      sums.set(id, { ranMs: sum.ranMs + ranMs, waitedMs: sum.waitedMs + waitedMs });
    }
  }
  return demand.isGreedy;
}

Deno.test("CpuDemand takes a thread that never rests for greedy, however little it is given", () => {
  const isGreedy = ([ranMs, waitedMs]: [number, number]) => after(10, new CpuDemand(), [ranMs, waitedMs]);
  deepEqual([isGreedy([100, 0]), isGreedy([5, 95]), isGreedy([60, 10])], [true, true, false]);
});

Deno.test("CpuDemand takes many threads that rest now and then for greedy together", () => {
  const threads = (count: number) => Array.from({ length: count }, (): [number, number] => [40, 20]);
  equal(after(10, new CpuDemand(), ...threads(2)), false);
  equal(after(10, new CpuDemand(), ...threads(4)), true);
});

Deno.test("CpuDemand lets a burst pass, and forgives one that rests", () => {
  const demand = new CpuDemand();
  equal(after(3, demand, [100, 0]), false);
  equal(after(10, demand, [100, 0]), true);
  equal(after(10, demand, [10, 0]), false);
});

/**
 * The part of `seconds` that a cell with one thread is greedy, beside four loops on two cores. Where it is as greedy
 * as they are it gets two fifths of a core and waits for the rest of the time; else it runs as much as it needs.
 */
function partGreedy(needsMs: number, seconds: number, demand: CpuDemand): number {
  let [ranMs, waitedMs, greedyLooks, areOthersBehind] = [0, 0, 0, false];
  const looks = seconds * 1_000 / lookMs;
  for (let look = 0; look < looks; look++) {
    demand.take({ threads: new Map([[1, { ranMs, waitedMs }]]), ...oneLook });
    if (demand.isGreedy) greedyLooks++;
    // They run too, from the same moment on, and are found out as soon.
    areOthersBehind ||= demand.isGreedy;
    const isStarved = demand.isGreedy || !areOthersBehind;
    ranMs += isStarved ? Math.min(needsMs, 40) : needsMs;
    waitedMs += isStarved ? Math.max(0, lookMs - 40) : Math.min(5, lookMs - needsMs);
  }
  return greedyLooks / looks;
}

// [40 ran, 60 waited] both: only what it does when it could run tells one from the other.
Deno.test("CpuDemand does not put one behind for ever that waits only because of its neighbours", () => {
  const healthy = partGreedy(50, 600, new CpuDemand(() => 0.5));
  const loop = partGreedy(100, 600, new CpuDemand(() => 0.5));
  ok(healthy < 0.02, `the healthy one was behind for ${healthy} of the time`);
  ok(loop > 0.95, `the loop was behind for ${loop} of the time`);
});

Deno.test("CpuDemand tries a loop less and less often, and at other times than its neighbours", () => {
  const trialsOf = (random: number) => {
    const demand = new CpuDemand(() => random);
    const atSeconds: number[] = [];
    let [ranMs, wasGreedy] = [0, false];
    for (let look = 0; look < 12_000; look++, ranMs += lookMs) {
      const isGreedy = demand.take({ threads: new Map([[1, { ranMs, waitedMs: 0 }]]), ...oneLook });
      if (wasGreedy && !isGreedy) atSeconds.push(Math.round(look * lookMs / 1_000));
      wasGreedy = isGreedy;
    }
    return atSeconds;
  };
  const [early, late] = [trialsOf(0), trialsOf(0.9)];
  const pauses = late.slice(1).map((at, index) => at - (late[index] ?? 0));
  deepEqual(pauses, pauses.toSorted((a, b) => a - b));
  ok((pauses[0] ?? 0) > 10 && (pauses.at(-1) ?? 0) > 200, `${pauses} s between two trials`);
  equal(early.some((at) => late.includes(at)), false, `at ${early} s, and at ${late}`);
});

/** Threads that each live for so many looks, so many at a time, and never rest; the next begins where one ends. */
function isGreedyIn(looks: number, { atOnce, lifeLooks }: { atOnce: number; lifeLooks: number }): boolean {
  const demand = new CpuDemand();
  const began = (slot: number, look: number) => Math.floor((look + slot) / lifeLooks) * lifeLooks - slot;
  let wasGreedy = false;
  for (let look = 0; look < looks; look++) {
    const threads = Array.from({ length: atOnce }, (_, slot): [number, ThreadDemand] => {
      const age = look - began(slot, look);
      return [began(slot, look) * 1_000 + slot + 1_000_000, { ranMs: 90 * (age + 1), waitedMs: 5 }];
    });
    demand.take({ threads: new Map([[1, { ranMs: look, waitedMs: 0 }], ...threads]), ...oneLook });
    wasGreedy ||= demand.isGreedy;
  }
  return wasGreedy;
}

Deno.test("CpuDemand takes a loop that moves on from Worker to Worker for what it is", () => {
  equal(isGreedyIn(30, { atOnce: 1, lifeLooks: 1 }), true);
  equal(isGreedyIn(30, { atOnce: 1, lifeLooks: 2 }), true);
  equal(isGreedyIn(30, { atOnce: 3, lifeLooks: 2 }), true);
  equal(isGreedyIn(5, { atOnce: 1, lifeLooks: 1 }), false);
});

Deno.test("CpuDemand finds a suspect out sooner, but not one that rests", () => {
  const looksUntilGreedy = (ranMs: number, isSuspect: boolean) => {
    const demand = new CpuDemand();
    for (let look = 0; look < 50; look++) {
      const threads = new Map([[1, { ranMs: look * ranMs, waitedMs: 0 }]]);
      if (demand.take({ threads, ...oneLook, ...(isSuspect ? { suspectTrialAfterMs: 5_000 } : {}) })) {
        return look;
      }
    }
    return undefined;
  };
  deepEqual([looksUntilGreedy(100, false), looksUntilGreedy(100, true)], [8, 2]);
  deepEqual([looksUntilGreedy(60, false), looksUntilGreedy(60, true)], [undefined, undefined]);
});

Deno.test("CpuDemand forgets what it is told to", () => {
  const demand = new CpuDemand();
  equal(after(10, demand, [100, 0]), true);
  demand.forget();
  deepEqual([demand.isGreedy, demand.cores], [false, 0]);
});

Deno.test("CpuDemand counts nothing of what ran before its first look", () => {
  const demand = new CpuDemand();
  const threads = new Map([[1, { ranMs: 60_000, waitedMs: 0 }]]);
  demand.take({ threads, elapsedMs: 10_000, awakeMs: 10_000 });
  equal(demand.isGreedy, false);
});

Deno.test("CpuDemand does not take standing still for rest, and counts it as time until a trial", () => {
  const demand = new CpuDemand(() => 0.5);
  equal(after(10, demand, [100, 0]), true);
  // It runs in one tenth of the time, and then without a rest.
  let ranMs = 1_100;
  const look = () =>
    demand.take({
      threads: new Map([[0, { ranMs: ranMs += 100, waitedMs: 0 }]]),
      elapsedMs: 1_000,
      awakeMs: 100,
    });
  deepEqual([look(), look(), look(), look()], [true, true, true, true]);
  equal(look(), false, "five seconds after it became greedy it is tried");
});

Deno.test("canLowerNiceness() leaves the niceness as it was, and is true of root", {
  ignore: Deno.uid() !== 0,
}, () => {
  const nice = () => Deno.readTextFileSync("/proc/thread-self/stat").split(") ")[1]?.split(" ")[16];
  const before = nice();
  deepEqual([canLowerNiceness(), nice()], [true, before]);
});
