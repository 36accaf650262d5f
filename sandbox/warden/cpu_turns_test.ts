import { deepEqual, equal, ok } from "node:assert/strict";
import { CpuTurns } from "./cpu_turns.ts";

const takers = (...cores: number[]) => cores.map((cores, id) => ({ id, cores }));

/** How many turns of `count` each has, and how many run in each of them. */
function turnsOf(cells: { id: number; cores: number }[], wantedCores: number, count: number, cores = 2) {
  const turns = new CpuTurns<{ id: number; cores: number }>({ cores, partMin: 0.125 });
  const had = cells.map(() => 0);
  const atOnce: number[] = [];
  for (let turn = 0; turn < count; turn++) {
    const running = turns.take(cells, wantedCores);
    for (const { id } of running) had[id] = (had[id] ?? 0) + 1;
    atOnce.push(running.size);
  }
  return { had, atOnce };
}

Deno.test("CpuTurns stops nobody where all find enough", () => {
  deepEqual(turnsOf(takers(1), 0.9, 10).had, [10]);
  deepEqual(turnsOf(takers(1, 1), 0, 10).had, [10, 10]);
  deepEqual(turnsOf(takers(1, 1, 1), 10, 10, 64).had, [10, 10, 10]);
});

Deno.test("CpuTurns gives equal turns, and as many as others leave", () => {
  // Others want nothing: both cores are theirs.
  deepEqual(turnsOf(takers(1, 1, 1, 1), 0, 10).had, [5, 5, 5, 5]);
  // A third of a core is wanted, and a whole one kept free.
  const third = turnsOf(takers(1, 1, 1, 1), 1 / 3, 400);
  deepEqual(third.had, [100, 100, 100, 100]);
  equal(Math.max(...third.atOnce), 1);
  // Ten cores of sixteen are wanted, and more than that kept free: an eighth of the machine is theirs.
  deepEqual(turnsOf(takers(1, 1, 1, 1, 1, 1, 1, 1), 10, 400, 16).had, Array(8).fill(100));
});

Deno.test("CpuTurns leaves them a part of the machine, whatever others want", () => {
  // A quarter of a core: one of them in each fourth turn.
  const { had, atOnce } = turnsOf(takers(1, 1), 50, 401);
  deepEqual(had, [51, 50]);
  equal(Math.max(...atOnce), 1);
});

Deno.test("CpuTurns gives one with many threads as much less often as its turns are dearer", () => {
  const { had } = turnsOf(takers(1, 6), 50, 1_200);
  const [one = 0, many = 0] = had;
  ok(Math.abs(one - 2 * many) <= 2, `${had}`);
  equal(Math.round((one + 2 * many) / 1_200 * 100), 25);
});

Deno.test("CpuTurns gives one with a single thread as much as each with many", () => {
  const [one = 0, ...others] = turnsOf(takers(1, ...Array(9).fill(2)), 50, 8_000).had;
  // Ten cells share a quarter of a core.
  deepEqual([one, Math.max(...others), Math.min(...others)], [200, 100, 100]);
});

Deno.test("CpuTurns forgets who is behind no more, and who begins waits for those before", () => {
  const [a, b, c] = ["a", "b", "c"].map((name) => ({ name, cores: 1 }));
  ok(a && b && c);
  const turns = new CpuTurns<typeof a>({ cores: 1, partMin: 1 });
  const names = (...behind: (typeof a)[]) => [...turns.take(behind, 1)].map(({ name }) => name);
  deepEqual([names(a, b), names(a, b), names(a, b)], [["a"], ["b"], ["a"]]);
  deepEqual([names(a, c, b), names(a, c, b), names(a, c, b)], [["b"], ["a"], ["c"]]);
  deepEqual([names(c, b), names(c, b)], [["b"], ["c"]]);
});
