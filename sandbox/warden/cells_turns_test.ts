/**
 * Turns on the CPU, over real cells: who never rests stands still now and then where there is not enough for all, and
 * what else can stop a cell goes on to.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { readStat, readUnits } from "./proc.ts";
import { type TestingCell, TestingCells } from "./testing_cells.ts";
import { testInEachTier, until } from "./testing_tiers.ts";

const cores = navigator.hardwareConcurrency;
const units = readUnits();
const source = `
export const actions = {
  run: () => "fine",
  // As many loops as there are cores.
  burn({ count }) {
    for (let at = 0; at < count; at++) new Worker("data:text/javascript,for (;;);", { type: "module" });
    return count;
  },
};`;
const limits = { threads: cores + 32, cpuPercent: 100 * cores, cpuMs: 600_000 };

/** Two that together want twice what there is, once both are known for it. */
async function startGreedy(cells: TestingCells, tier: "process" | "sealed"): Promise<TestingCell[]> {
  const greedy = [1, 2].map(() => cells.start({ source, actions: ["run", "burn"], tier, limits }));
  for (const cell of greedy) equal(await cell.call("burn", { count: cores }), cores);
  for (const { cell } of greedy) await cells.reported("paused", (report) => report.cell === cell);
  return greedy;
}

const isStopped = (pid: number) => readStat(pid, units)?.state === "T";
const usedMs = (pid: number) => readStat(pid, units)?.ownMs ?? 0;

testInEachTier("Cells that never rest take turns, and one that rests is never stopped", async (tier) => {
  await using cells = await TestingCells.create();
  const modest = cells.start({ source, actions: ["run", "burn"], tier });
  equal(await modest.call("run"), "fine");
  const modestPid = await modest.pid();
  const greedy = await startGreedy(cells, tier);
  const pids = await Promise.all(greedy.map((cell) => cell.pid()));
  for (const pid of pids) {
    await until("it stands still", () => isStopped(pid));
    const before = usedMs(pid);
    await until("it has its turn", () => usedMs(pid) > before);
    equal(isStopped(modestPid), false);
  }
  equal(await modest.call("run"), "fine");
  equal(cells.reports.some((report) => report.type === "paused" && report.cell === modest.cell), false);
  // With one of them gone there is nobody to take turns with, but for those who rest.
  const [first, second] = greedy;
  ok(first !== undefined && second !== undefined);
  cells.cells.kill(first.cell);
  equal((await first.ended).killed, "asked");
  equal(await second.call("run"), "fine");
});

testInEachTier("Cells in turns are suspended, resumed and killed as others are", async (tier) => {
  await using cells = await TestingCells.create();
  const [first, second] = await startGreedy(cells, tier);
  ok(first !== undefined && second !== undefined);
  const pid = await first.pid();
  cells.cells.suspend(first.cell);
  await cells.reported("suspended");
  const before = usedMs(pid);
  // It would have had its turn many times.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  deepEqual([isStopped(pid), usedMs(pid)], [true, before]);
  cells.cells.resume(first.cell);
  await cells.reported("resumed");
  await until("it goes on", () => usedMs(pid) > before);
  equal(await first.call("run"), "fine");
  for (const cell of [first, second]) cells.cells.kill(cell.cell);
  deepEqual([(await first.ended).killed, (await second.ended).killed], ["asked", "asked"]);
});
