/**
 * The audit of real cells: what Deno told of their checks, and what a plugin can do to that.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { resolve } from "node:path";
import type { PermissionCheck } from "../../schemas/audit.ts";
import { TestingCells } from "./testing_cells.ts";
import { testInEachTier } from "./testing_tiers.ts";

const source = `
import { words } from "./words.ts";
import net from "node:net";
const tried = (work) => { try { work(); } catch { /* refused */ } };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const actions = {
  touch: ({ paths }) => paths.forEach((path) => tried(() => Deno.statSync(path))) ?? words,
  flood: ({ count }) => {
    for (let at = 0; at < count; at++) tried(() => Deno.statSync("/flood/" + at));
  },
  same: ({ count }) => {
    for (let at = 0; at < count; at++) tried(() => Deno.statSync("/same"));
  },
  descriptors: async ({ harm }) => {
    const sockets = [];
    for (let fd = 3; fd < 64; fd++) {
      tried(() => {
        const socket = new net.Socket({ fd, readable: false, writable: true });
        socket.on("error", () => {});
        sockets.push(socket);
        if (harm === "write") socket.write("{}\\n");
        if (harm === "close") socket.destroy();
      });
    }
    if (harm === "full") for (let at = 0; at < 100_000; at++) tried(() => Deno.statSync("/flood/" + at));
    await pause(5_000);
  },
};`;
const plugin = {
  source,
  actions: ["touch", "flood", "same", "descriptors"],
  limits: { fileDescriptors: 256 },
};

type Started = ReturnType<TestingCells["start"]>;

/** What was told of a cell until now, in the order in which it was told. */
function toldOf(cells: TestingCells, { cell }: Started): PermissionCheck[] {
  return cells.reports.flatMap((report) =>
    report.type === "audit" && report.cell === cell ? report.checks : []
  );
}

/** Asks, and gives all that was told of the cell. */
function auditOf(cells: TestingCells, started: Started): PermissionCheck[] {
  const { cell } = started;
  const isAnswer = (report: { type: string; cell?: string; asked?: boolean }) =>
    report.type === "audit" && report.cell === cell && report.asked === true;
  const before = cells.reports.filter(isAnswer).length;
  cells.cells.audit(cell);
  equal(cells.reports.filter(isAnswer).length, before + 1);
  return toldOf(cells, started);
}

const start = (cells: TestingCells, tier: "process" | "sealed") =>
  cells.start({
    ...plugin,
    tier,
    prepare: (dataDir) =>
      Deno.writeTextFileSync(
        `${dataDir.replace("/plugins/", "/packages/")}/words.ts`,
        `export const words = "fine";`,
      ),
  });

testInEachTier("CellAudit tells of what the plugin asked for, and of nothing else", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = start(cells, tier);
  await cell.ready;
  deepEqual(auditOf(cells, cell), []);
  const packageDir = cell.dataDir.replace("/plugins/", "/packages/");
  const long = `${cell.dataDir}/${"x".repeat(600)}`;
  const paths = [`${cell.dataDir}/a`, "/etc/passwd", "/etc/passwd", "relative/b", `${packageDir}/words.ts`];
  paths.push(`${long}/../../../../../etc/shadow`, `${long}/b`);
  equal(await cell.call("touch", { paths }), "fine");
  deepEqual(auditOf(cells, cell), [
    { permission: "read", resource: `${cell.dataDir}/a`, count: 1 },
    { permission: "read", resource: "/etc/passwd", count: 2 },
    { permission: "read", resource: "/relative/b", count: 1 },
    { permission: "read", resource: `${packageDir}/words.ts`, count: 1 },
    { permission: "read", resource: resolve(`${cell.dataDir}/../../../../etc/shadow`), count: 1 },
    { permission: "read", resource: `${long.slice(0, 511)}…`, count: 1 },
  ]);
});

testInEachTier("CellAudit tells by itself, and of what a cell asked for last", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = start(cells, tier);
  await cell.call("touch", { paths: ["/first"] });
  const { checks } = await cells.reported("audit", (report) => report.checks.length > 0);
  deepEqual(checks.map(({ resource }) => resource), ["/first"]);
  await cell.call("touch", { paths: ["/last"] });
  cells.cells.kill(cell.cell);
  await cell.ended;
  deepEqual(toldOf(cells, cell).map(({ resource }) => resource), ["/first", "/last"]);
});

testInEachTier("CellAudit loses no check of a flood, which waits for it", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = start(cells, tier);
  await cell.call("same", { count: 20_000 });
  await cell.call("flood", { count: 1_500 });
  // More than one report and a pipe hold: it was held up until most of them were told.
  ok(toldOf(cells, cell).length > 256);
  cells.cells.kill(cell.cell);
  await cell.ended;
  const told = toldOf(cells, cell);
  const countOf = (path: string) =>
    told.filter(({ resource }) => resource === path).reduce((sum, { count }) => sum + count, 0);
  equal(countOf("/same"), 20_000);
  equal(new Set(told.map(({ resource }) => resource)).size, 1_501);
});

for (const harm of ["write", "close", "full"]) {
  testInEachTier(`Cells ends a cell that lays hands on its audit: ${harm}`, async (tier) => {
    await using cells = await TestingCells.create();
    const cell = start(cells, tier);
    await cell.ready;
    void cell.call("descriptors", { harm }).catch(() => {});
    const end = await cell.ended;
    equal(end.killed, null);
    // Its connection to the kernel is one of its descriptors, too, and its cell ends where it has lost that.
    if (end.detail !== "") match(end.detail, /its permission checks/);
    else ok(harm !== "full");
  });
}
