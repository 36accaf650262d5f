/**
 * Turns on the CPU, over real cells: who never rests stands still now and then where there is not enough for all, and
 * what else can stop a cell goes on to.
 *
 * @module
 */
import { deepEqual, equal } from "node:assert/strict";
import { readStat, readUnits } from "./proc.ts";
import { type TestingCell, TestingCells } from "./testing_cells.ts";
import { testInEachTier, until } from "./testing_tiers.ts";

const units = readUnits();
const source = `
export const actions = {
  run: () => "fine",
  // In a thread of its own, so that it still answers.
  burn() {
    new Worker("data:text/javascript,for (;;);", { type: "module" });
    return "burning";
  },
};`;
const plugin = { source, actions: ["run", "burn"], limits: { cpuMs: 600_000 } };

/** Two that never rest share one core. */
const cores = 1;

async function startGreedy(
  cells: TestingCells,
  tier: "process" | "sealed",
): Promise<[TestingCell, TestingCell]> {
  const greedy: [TestingCell, TestingCell] = [
    cells.start({ ...plugin, tier }),
    cells.start({ ...plugin, tier }),
  ];
  for (const cell of greedy) equal(await answer(cell, "burn"), "burning");
  for (const { cell } of greedy) await cells.reported("paused", (report) => report.cell === cell);
  return greedy;
}

/** Or how it ended before it answered. */
const answer = (cell: TestingCell, action: string) => Promise.race([cell.call(action), cell.ended]);
const isStopped = (pid: number) => readStat(pid, units)?.state === "T";
const usedMs = (pid: number) => readStat(pid, units)?.ownMs ?? 0;

testInEachTier("Cells that never rest take turns, and one that rests is never stopped", async (tier) => {
  await using cells = await TestingCells.create({ cores });
  const modest = cells.start({ ...plugin, tier });
  equal(await answer(modest, "run"), "fine");
  const modestPid = await modest.pid();
  const greedy = await startGreedy(cells, tier);
  const pids = await Promise.all(greedy.map((cell) => cell.pid()));
  for (const pid of pids) {
    await until("it stands still", () => isStopped(pid));
    const before = usedMs(pid);
    await until("it has its turn", () => usedMs(pid) > before);
    equal(isStopped(modestPid), false);
  }
  equal(await answer(modest, "run"), "fine");
  equal(cells.reports.some((report) => report.type === "paused" && report.cell === modest.cell), false);
  // The end of one is the other's gain, which goes on to answer.
  const [first, second] = greedy;
  cells.cells.kill(first.cell);
  equal((await first.ended).killed, "asked");
  equal(await answer(second, "run"), "fine");
});

testInEachTier("Cells in turns are suspended, resumed and killed as others are", async (tier) => {
  await using cells = await TestingCells.create({ cores });
  const [first, second] = await startGreedy(cells, tier);
  const [pid, secondPid] = [await first.pid(), await second.pid()];
  cells.cells.suspend(first.cell);
  await cells.reported("suspended");
  const [before, secondBefore] = [usedMs(pid), usedMs(secondPid)];
  // As long as the other has many turns, of which it would have had half.
  await until("the other has its turns", () => usedMs(secondPid) > secondBefore + 200, 20_000);
  deepEqual([isStopped(pid), usedMs(pid)], [true, before]);
  cells.cells.resume(first.cell);
  await cells.reported("resumed");
  await until("it goes on", () => usedMs(pid) > before);
  equal(await answer(first, "run"), "fine");
  for (const cell of [first, second]) cells.cells.kill(cell.cell);
  deepEqual([(await first.ended).killed, (await second.ended).killed], ["asked", "asked"]);
});
