/**
 * The audit of real cells: what Deno told of their checks, and what a plugin can do to that.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { resolve } from "node:path";
import type { PermissionCheck } from "../../schemas/audit.ts";
import { AuditPipes } from "./audit_pipes.ts";
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
  harm: async ({ harm, fd }) => {
    const socket = new net.Socket({ fd, readable: false, writable: true });
    socket.on("error", () => {});
    if (harm === "write") socket.write("{}\\n");
    if (harm === "hide") socket.write('{"v":1,"datetime":"","permission":"read","value":"/ok' + "x".repeat(30_000));
    if (harm === "close") socket.destroy();
    if (harm === "quiet") socket._handle.setBlocking(true);
    await pause(50);
    for (let at = 0; at < (harm === "full" ? 100_000 : 1); at++) tried(() => Deno.statSync("/same"));
    await pause(10_000);
  },
};`;
const plugin = {
  source,
  actions: ["touch", "flood", "same", "harm"],
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
  cells.cells.audit(started.cell, 7);
  const last = cells.reports.at(-1);
  ok(last?.type === "audit" && last.cell === started.cell && last.asked === 7);
  return toldOf(cells, started);
}

/** The descriptor of a process's audit. */
function auditDescriptorOf(pid: number): number {
  const found = [...Deno.readDirSync(`/proc/${pid}/fd`)].find(({ name }) =>
    Deno.statSync(`/proc/${pid}/fd/${name}`).isFifo && Number(name) > 2
  );
  return Number(found?.name);
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

for (
  const [harm, detail] of [
    // Whichever is seen first.
    ["write", /^it (?:wrote into|took hold of) the audit of its permission checks$/],
    ["hide", /^it (?:wrote into|took hold of) the audit of its permission checks$/],
    ["close", /^it closed the audit of its permission checks$/],
    ["full", /^it took hold of the audit of its permission checks$/],
    ["quiet", /^it took hold of the audit of its permission checks$/],
  ] as const
) {
  testInEachTier(`Cells ends a cell that lays hands on its audit: ${harm}`, async (tier) => {
    await using cells = await TestingCells.create();
    const cell = start(cells, tier);
    const fd = auditDescriptorOf(await cell.pid());
    void cell.call("harm", { harm, fd }).catch(() => {});
    const end = await cell.ended;
    equal(end.killed, null);
    match(end.detail, detail);
  });
}

Deno.test("AuditPipes lends a pipe to one after the other, and none that somebody still writes to", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pipes-" });
  try {
    const pipes = new AuditPipes("/usr/bin/mkfifo", `${folder}/audit`);
    const taken = await Promise.all(Array.from({ length: 17 }, () => pipes.take()));
    equal(new Set(taken.map(({ path }) => path)).size, 17);
    const [written, free] = taken;
    ok(written !== undefined && free !== undefined);
    using writer = Deno.openSync(written.path, { write: true });
    writer.writeSync(new TextEncoder().encode("of another cell"));
    for (const pipe of taken) pipe[Symbol.dispose]();
    const again = await Promise.all(Array.from({ length: 31 }, () => pipes.take()));
    const paths = new Set(again.map(({ path }) => path));
    deepEqual([paths.has(written.path), paths.has(free.path), paths.size], [false, true, 31]);
    for (const pipe of again) pipe[Symbol.dispose]();
    await rejects(new AuditPipes("/usr/bin/false", `${folder}/none`).take(), /Cannot make pipes/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
