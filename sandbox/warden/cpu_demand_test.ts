import { deepEqual, equal } from "node:assert/strict";
import { CpuDemand } from "./cpu_demand.ts";
import type { ThreadDemand } from "./proc.ts";

/** After a while of looks each 100 ms at threads that ran and waited for so much of each. */
function after(looks: number, demand: CpuDemand, ...threads: [ranMs: number, waitedMs: number][]): boolean {
  const sums = new Map<number, ThreadDemand>(threads.map((_, id) => [id, { ranMs: 0, waitedMs: 0 }]));
  for (let look = 0; look <= looks; look++) {
    demand.take(sums, 100);
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
