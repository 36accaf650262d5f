/**
 * The warden's cells, over real processes: started or refused, watched without the kernel's help, suspended,
 * killed, and gone without a trace.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { statfsSync } from "node:fs";
import { childrenOf, readStat, readUnits, threadsOf } from "./proc.ts";
import { TestingCells } from "./testing_cells.ts";
import { testInEachTier, testSealed, until } from "./testing_tiers.ts";

const source = `
let ticks = 0;
export const actions = {
  run: () => "fine",
  never: () => new Promise(() => {}),
  burn: ({ ms }) => {
    const endsMs = performance.now() + ms;
    while (performance.now() < endsMs);
    return ms;
  },
  heap: () => {
    const held = [];
    for (;;) held.push(new Array(131072).fill(held.length + 0.5));
  },
};`;
const plugin = { source, actions: ["run", "never", "burn", "heap"] };
const units = readUnits();
const tmpfsType = 0x0102_1994;

/** Every process below, whichever thread made it. */
function descendantsOf(pid: number): number[] {
  const children = threadsOf(pid).flatMap((thread) => childrenOf(pid, thread));
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** CPU time of a process and of all below it. */
function usedMs(pid: number): number {
  const all = [pid, ...descendantsOf(pid)].map((id) => readStat(id, units)?.ownMs ?? 0);
  return all.reduce((sum, ms) => sum + ms, 0);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

testInEachTier("Cells stops a cell that is suspended, and lets it go on where it was", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = cells.start({ ...plugin, tier });
  const pid = await cell.pid();
  const burning = cell.call("burn", { ms: 400 });
  cells.cells.suspend(cell.cell);
  await cells.reported("suspended");
  equal(readStat(pid, units)?.state, "T");
  const before = usedMs(pid);
  // Time must pass in which it could use some.
  await pause(1_000);
  equal(usedMs(pid), before);
  cells.cells.resume(cell.cell);
  await cells.reported("resumed");
  equal(await burning, 400);
  equal(await cell.call("run"), "fine");
});

testInEachTier("Cells kills a cell that is suspended", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = cells.start({ ...plugin, tier });
  const pid = await cell.pid();
  cells.cells.suspend(cell.cell);
  await cells.reported("suspended");
  cells.cells.kill(cell.cell);
  const end = await cell.ended;
  deepEqual([end.killed, end.detail, end.calls], ["asked", "", []]);
  await until("it is gone", () => readStat(pid, units) === undefined);
});

testInEachTier("Cells suspends a cell that is not there yet as soon as it is", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = cells.start({ ...plugin, tier });
  await cells.reported("started");
  cells.cells.suspend(cell.cell);
  await cells.reported("suspended");
  cells.cells.resume(cell.cell);
  await cell.ready;
  equal(await cell.call("run"), "fine");
});

testSealed("Cells stops the programs of a cell that is suspended, with it", async () => {
  await using cells = await TestingCells.create();
  const cell = cells.start({
    tier: "sealed",
    actions: ["run"],
    source: `export const actions = { run() {
      new Deno.Command("/usr/bin/dash", { args: ["-c", "setsid dash -c 'while :; do :; done' & while :; do :; done"] })
        .spawn().unref();
    } };`,
    grants: { run: ["/usr/bin/dash"] },
    limits: { cpuPercent: 6_400 },
  });
  const pid = await cell.pid();
  await cell.call("run").catch(() => undefined);
  await until("both run", () => descendantsOf(pid).length >= 2);
  cells.cells.suspend(cell.cell);
  await cells.reported("suspended");
  const pids = [pid, ...descendantsOf(pid)];
  ok(pids.length >= 3, `${pids}`);
  const before = usedMs(pid);
  await pause(500);
  equal(usedMs(pid), before);
  deepEqual(pids.map((id) => readStat(id, units)?.state), pids.map(() => "T"));
  cells.cells.resume(cell.cell);
  await until("they run again", () => usedMs(pid) > before);
});

// The kernel said once that a call began, and nothing since: its loop is busy, or it is stopped.
testInEachTier(
  "Cells names the calls that used too much CPU time, without another word of the kernel",
  async (tier) => {
    await using cells = await TestingCells.create();
    const cell = cells.start({ ...plugin, tier, limits: { cpuMs: 200 } });
    void cell.call("burn", { ms: 60_000 }).catch(() => undefined);
    const end = await cell.ended;
    deepEqual([end.killed, end.calls], ["LIMIT_CPU", [1]]);
    match(end.detail, /^a call used \d+ ms of 200 ms of CPU time$/);
  },
);

testInEachTier("Cells charges no call for what its cell did before", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = cells.start({ ...plugin, tier, limits: { cpuMs: 20 } });
  await cell.ready;
  equal(await cell.call("run"), "fine");
  equal(await cell.call("run"), "fine");
});

testInEachTier("Cells gives a cell over its share a lower priority, and takes it back", async (tier) => {
  await using cells = await TestingCells.create({ cpuWindowMs: 10_000, niceness: 5, nicenessOverShare: 15 });
  const cell = cells.start({ ...plugin, tier, limits: { cpuPercent: 10 } });
  const pid = await cell.pid();
  // The session's is what counts where the system shares the CPU between sessions first.
  const session = () =>
    Deno.readTextFileSync(`/proc/${pid}/autogroup`).match(/nice (\d+)/)?.slice(1).map(Number) ?? [];
  const nices = () => [...threadsOf(pid).map((thread) => readStat(thread, units)?.nice), ...session()];
  const isAll = (nice: number) => nices().every((found) => found === nice);
  await until("it has the priority of a cell", () => isAll(5));
  await until("it has that of one over its share", async () => {
    await cell.call("burn", { ms: 50 });
    return isAll(15);
  }, 30_000);
  // A thread may be given a higher priority by root alone; a session by its user, too.
  const isBack = () => Deno.uid() === 0 ? isAll(5) : session().every((nice) => nice === 5);
  await until("it has that of a cell again", isBack, 30_000);
});

testInEachTier(
  "Cells ends a cell whose folder is over its limit from the start, and says what to do",
  async (tier) => {
    await using cells = await TestingCells.create();
    const prepare = (folder: string) => {
      for (let at = 0; at < 3; at++) Deno.writeFileSync(`${folder}/${at}`, new Uint8Array(1_048_576).fill(1));
    };
    const end = await cells.start({ ...plugin, tier, prepare, limits: { diskMb: 2 } }).ended;
    equal(end.killed, "LIMIT_DISK");
    match(
      end.detail,
      /^its private folder has \d MB or more of 2 MB\. Remove files, or raise limits\.diskMb$/,
    );
  },
);

testInEachTier("Cells leaves the end of a full heap to the runtime", async (tier) => {
  await using cells = await TestingCells.create();
  const cell = cells.start({ ...plugin, tier, limits: { memoryMb: 32 } });
  void cell.call("heap").catch(() => undefined);
  const end = await cell.ended;
  // Whichever is first. Inside a namespace a signal reads as an exit code.
  ok(end.killed === "LIMIT_MEMORY" || end.signal === "SIGTRAP" || end.exitCode === 133, JSON.stringify(end));
});

Deno.test("Cells refuses a link out of a granted folder at the start in the process tier", async () => {
  await using cells = await TestingCells.create();
  const prepare = (folder: string) => Deno.symlinkSync("/etc", `${folder}/out`);
  cells.start({ ...plugin, tier: "process", prepare }).ready.catch(() => undefined);
  const { message } = await cells.reported("refused");
  match(message, /^Cannot grant ".*": the link ".*\/out" leads out of it, to "\/etc"\. Remove it, or run/);
  equal(cells.cells.count, 0);
});

Deno.test("Cells refuses limits above the operator's caps, whatever the kernel says", async () => {
  await using cells = await TestingCells.create();
  cells.start({ ...plugin, limits: { memoryMb: 1_025, wallMs: 600_001 } }).ready.catch(() => undefined);
  match((await cells.reported("refused")).message, /memoryMb, wallMs is above the operator's cap$/);
  equal(cells.cells.count, 0);
});

Deno.test("Cells refuses a cell that is killed while its grants are looked at", async () => {
  await using cells = await TestingCells.create();
  const prepare = (folder: string) => {
    for (let at = 0; at < 5_000; at++) Deno.writeTextFileSync(`${folder}/${at}`, "");
  };
  const cell = cells.start({ ...plugin, tier: "process", prepare });
  cell.ready.catch(() => undefined);
  cells.cells.kill(cell.cell);
  match((await cells.reported("refused")).message, /it was killed before it began$/);
});

testInEachTier("Cells answers whether a cell would be refused, and starts none", async (tier) => {
  await using cells = await TestingCells.create();
  const packageDir = `${cells.root}/data/packages/p`;
  const dataDir = `${cells.root}/data/plugins/p`;
  for (const folder of [packageDir, dataDir, `${cells.root}/srv`]) Deno.mkdirSync(folder);
  Deno.symlinkSync("/etc", `${cells.root}/srv/etc`);
  const none = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
  const ask = async (check: number, grants: Partial<typeof none> | Record<string, string[]>) => {
    cells.cells.check(check, { tier, packageDir, dataDir, grants: { ...none, ...grants } });
    return (await cells.reported("checked", (report) => report.check === check)).fault;
  };
  equal(await ask(1, {}), null);
  match(await ask(2, { read: [`${cells.root}/data`] }) ?? "", /own files could be reached/);
  match(await ask(3, { read: [`${cells.root}/none`] }) ?? "", /does not exist/);
  const linked = await ask(4, { read: [`${cells.root}/srv`] });
  const programs = await ask(5, { run: ["/usr/bin/env"] });
  if (tier === "sealed") deepEqual([linked, programs], [null, null]);
  else {
    match(linked ?? "", /leads out of it/);
    match(programs ?? "", /granted in the sealed tier only/);
  }
  equal(cells.cells.count, 0);
});

Deno.test("Cells does not answer more checks at once than it can remember", async () => {
  await using cells = await TestingCells.create();
  const description = {
    ...{ tier: "process" as const, packageDir: "/x", dataDir: "/y" },
    grants: { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false },
  };
  for (let check = 0; check < 200; check++) cells.cells.check(check, description);
  for (let check = 0; check < 200; check++) {
    await cells.reported("checked", (report) => report.check === check);
  }
});

testInEachTier(
  "Cells holds up a cell that writes to the disk without end, and lets it live",
  async (tier) => {
    await using cells = await TestingCells.create({ diskMbPerSecond: 1 });
    const write = `
  const bytes = new Uint8Array(1_048_576).fill(1);
  export const actions = {
    run({ ms, path }) {
      const endsMs = performance.now() + ms;
      let megabytes = 0;
      for (; performance.now() < endsMs; megabytes++) Deno.writeFileSync(path, bytes);
      return megabytes;
    },
  };`;
    // What is written into memory is counted as that.
    if (statfsSync(cells.root).type === tmpfsType) return;
    const cell = cells.start({ source: write, tier, limits: { diskMb: 4, cpuPercent: 400 } });
    const path = `${cell.dataDir}/file`;
    ok(Number(await cell.call("run", { ms: 1, path })) >= 1);
    const megabytes = Number(await cell.call("run", { ms: 3_000, path }));
    // Without it, some hundreds in each second: what it wrote between two looks is made up for by standing still.
    ok(megabytes < 150, `${megabytes} MB in three seconds`);
    ok(Number(await cell.call("run", { ms: 1, path })) >= 1);
  },
);

Deno.test("Cells starts nothing after it has killed all", async () => {
  await using cells = await TestingCells.create();
  await cells.cells.killAll();
  cells.start({ ...plugin, tier: "process" }).ready.catch(() => undefined);
  match((await cells.reported("refused")).message, /its kernel has ended/);
});

testInEachTier("Cells leaves nothing behind", async (tier) => {
  await using cells = await TestingCells.create();
  for (let count = 0; count < 5; count++) {
    const cell = cells.start({ ...plugin, tier });
    const pid = await cell.pid();
    cells.cells.kill(cell.cell);
    await cell.ended;
    await until("it is gone", () => readStat(pid, units) === undefined);
    equal(filesOpenIn(`/proc/${pid}/`).join(), "");
  }
  // Its audit pipe waits for the next one.
  deepEqual([...Deno.readDirSync(`${cells.root}/run`)].map(({ name }) => name).sort(), ["audit", "s"]);
});

// A wrapper that was killed while it made its namespace left its other half behind, waiting for ever.
testSealed("Cells leaves nothing of a cell that is killed while it is being made", async () => {
  await using cells = await TestingCells.create();
  for (let round = 0; round < 100; round++) {
    const cell = cells.start({ ...plugin, tier: "sealed" });
    await cells.reported("started", (report) => report.cell === cell.cell);
    for (let turn = 0; turn < round % 7; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    cells.cells.kill(cell.cell);
    await cell.ended;
  }
  await until("nothing is left", () => leftovers(cells.root).length === 0);
});

/** Files below `folder` that this process has open. Other tests open theirs meanwhile. */
function filesOpenIn(folder: string): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      return [Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // closed meanwhile
    }
  }).filter((path) => path.startsWith(folder));
}

/** Processes whose command line names `needle`. */
function leftovers(needle: string): string[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => name).filter((name) => {
    if (!/^[0-9]+$/.test(name) || Number(name) === Deno.pid) return false;
    try {
      return Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(needle);
    } catch {
      return false; // it has just ended
    }
  });
}
