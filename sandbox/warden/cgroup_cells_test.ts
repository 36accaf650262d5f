/**
 * Cells in control groups of the system's own, where one is ours to divide.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { openCellGroups } from "./cgroup.ts";
import { TestingCells } from "./testing_cells.ts";

// Moves the process of the tests one group down, as the warden moves itself.
const { groups } = openCellGroups();
const name = "Cells puts each cell into a control group, and removes it";
const source = `export const actions = {
  run: () => "fine",
  buffers() {
    const held = [];
    for (;;) held.push(new Uint8Array(1048576).fill(1));
  },
};`;

Deno.test({
  name: groups === undefined ? `${name} (skipped: no writable cgroup v2)` : name,
  ignore: groups === undefined,
  async fn() {
    await using cells = await TestingCells.create({ groups });
    const cell = cells.start({ source, actions: ["run", "buffers"], limits: { memoryMb: 64 } });
    const pid = await cell.pid();
    equal(await cell.call("run"), "fine");
    const path = Deno.readTextFileSync(`/proc/${pid}/cgroup`).trim();
    ok(path.endsWith(`/airlock-${Deno.pid}.${cell.cell}`), path);
    void cell.call("buffers").catch(() => undefined);
    deepEqual((await cell.ended).killed, "LIMIT_MEMORY");
    const gone = groups?.make(cell.cell, { memoryBytesMax: 1_048_576, threadsMax: 1, nice: 5 });
    await gone?.remove();
  },
});
