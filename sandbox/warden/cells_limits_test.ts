/**
 * Each limit that the warden holds by itself, over real cells: one plugin that stays under it and works, one
 * that goes over and is killed for it.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Isolation } from "../../schemas/capabilities.ts";
import type { Limits } from "../../schemas/limits.ts";
import type { WardenKillReason } from "../../schemas/warden_protocol.ts";
import { testInEachTier, testSealed } from "./testing_tiers.ts";
import { type TestingCellOptions, TestingCells } from "./testing_cells.ts";

const megabyte = 1_048_576;

/** Every action is bounded by what it is asked for; then it holds what it took until it is asked again. */
const source = `
const held = [];
const never = () => new Promise(() => {});
export const actions = {
  run: () => "fine",
  heap({ mb }) {
    // Eight bytes an element.
    for (let at = 0; at < mb; at++) held.push(new Array(131072).fill(at + 0.5));
    return held.length;
  },
  buffers({ mb }) {
    for (let at = 0; at < mb; at++) held.push(new Uint8Array(1048576).fill(1));
    return held.length;
  },
  async workers({ count, mb }) {
    const code = "const held = []; for (let at = 0; at < " + mb +
      "; at++) held.push(new Array(131072).fill(at + 0.5)); postMessage(held.length); setInterval(() => held, 1000)";
    const ready = [];
    for (let at = 0; at < count; at++) {
      const worker = new Worker("data:application/javascript," + encodeURIComponent(code), { type: "module" });
      ready.push(new Promise((resolve) => worker.onmessage = resolve));
      held.push(worker);
    }
    await Promise.all(ready);
    return count;
  },
  burn({ ms }) {
    const endsMs = performance.now() + ms;
    while (performance.now() < endsMs);
    return ms;
  },
  async open({ count, path }) {
    for (let at = 0; at < count; at++) {
      try {
        held.push(Deno.openSync(path));
      } catch {
        break;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    return held.length;
  },
  async write({ path, files, kb }) {
    for (let at = 0; at < files; at++) Deno.writeFileSync(path + "/f" + at, new Uint8Array(kb * 1024).fill(1));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return files;
  },
  async writeUnnamed({ path, files, kb }) {
    for (let at = 0; at < files; at++) {
      const file = Deno.openSync(path + "/f", { create: true, write: true });
      file.writeSync(new Uint8Array(kb * 1024).fill(1));
      Deno.removeSync(path + "/f");
      held.push(file);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return files;
  },
  async connect({ count, port }) {
    for (let at = 0; at < count; at++) held.push(await Deno.connect({ port, hostname: "127.0.0.1" }));
    await new Promise((resolve) => setTimeout(resolve, 700));
    return held.length;
  },
};
`;

const actions = ["run", "heap", "buffers", "workers", "burn", "open", "write", "writeUnnamed", "connect"];

interface Row {
  readonly name: string;
  readonly limits: Partial<Limits>;
  readonly action: string;
  readonly under: Record<string, unknown>;
  readonly over: Record<string, unknown>;
  readonly reason: WardenKillReason;
  readonly detail: RegExp;
  readonly net?: readonly string[];
}

async function check(row: Row, tier: Isolation, more: Record<string, unknown> = {}): Promise<void> {
  const { limits, action, under, over, reason, detail, net = [] } = row;
  // A machine that is busy with other tests must leave it enough to go over.
  await using cells = await TestingCells.create({ niceness: 0, nicenessOverShare: 0 });
  const options = { tier, source, actions, limits, grants: { net: [...net] } };
  const modest = cells.start(options);
  const greedy = cells.start(options);
  ok(await modest.call(action, { path: modest.dataDir, ...under, ...more }) !== undefined);
  const isOver = greedy.call(action, { path: greedy.dataDir, ...over, ...more }).catch(() => undefined);
  const end = await greedy.ended;
  await Promise.race([isOver, Promise.resolve()]);
  equal(end.killed, reason, JSON.stringify(end));
  match(end.detail, detail);
  equal(await modest.call("run"), "fine");
}

const rows: readonly Row[] = [
  {
    name: "memory in buffers",
    limits: { memoryMb: 64 },
    action: "buffers",
    under: { mb: 32 },
    over: { mb: 400 },
    reason: "LIMIT_MEMORY",
    detail: /^it used \d+ MB of 64 MB$/,
  },
  {
    name: "memory of nested Workers, each below the heap limit",
    limits: { memoryMb: 128 },
    action: "workers",
    under: { count: 2, mb: 16 },
    over: { count: 5, mb: 96 },
    reason: "LIMIT_MEMORY",
    detail: /^it used \d+ MB of 128 MB$/,
  },
  {
    name: "CPU time of a call",
    limits: { cpuMs: 400 },
    action: "burn",
    under: { ms: 100 },
    over: { ms: 60_000 },
    reason: "LIMIT_CPU",
    detail: /^a call used \d+ ms of 400 ms of CPU time$/,
  },
  {
    name: "a sustained share of CPU",
    limits: { cpuPercent: 5 },
    action: "burn",
    under: { ms: 100 },
    over: { ms: 60_000 },
    reason: "LIMIT_CPU",
    detail: /^it used more than 5% of a core for too long$/,
  },
  {
    name: "threads",
    limits: { threads: 8 },
    action: "workers",
    under: { count: 2, mb: 1 },
    over: { count: 16, mb: 1 },
    reason: "LIMIT_THREADS",
    detail: /^it ran \d+ threads of 8$/,
  },
  {
    name: "descriptors",
    limits: { fileDescriptors: 32 },
    action: "open",
    under: { count: 30 },
    over: { count: 100 },
    reason: "LIMIT_DESCRIPTORS",
    detail: /^it had \d+ descriptors of 32 open$/,
  },
  {
    name: "disk",
    limits: { diskMb: 8 },
    action: "write",
    under: { files: 6, kb: 1_024 },
    over: { files: 12, kb: 1_024 },
    reason: "LIMIT_DISK",
    detail: /^its private folder has \d+ MB or more of 8 MB\. Remove files, or raise limits\.diskMb$/,
  },
  {
    name: "disk of files that have no name any more",
    limits: { diskMb: 8 },
    action: "writeUnnamed",
    under: { files: 6, kb: 1_024 },
    over: { files: 12, kb: 1_024 },
    reason: "LIMIT_DISK",
    detail: /^its private folder has/,
  },
  {
    name: "files",
    limits: { files: 50 },
    action: "write",
    under: { files: 50, kb: 0 },
    over: { files: 51, kb: 0 },
    reason: "LIMIT_FILES",
    detail: /^its private folder has more than 50 files\. Remove files, or raise limits\.files$/,
  },
];

for (const row of rows) {
  testInEachTier(`Cells holds a limit: ${row.name}`, (tier) => check(row, tier));
}

testInEachTier("Cells holds a limit: connections", async (tier) => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const conns: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const conn of listener) conns.push(conn);
  })();
  await check(
    {
      name: "connections",
      limits: { connections: 4 },
      action: "connect",
      under: { count: 4 },
      over: { count: 5 },
      reason: "LIMIT_CONNECTIONS",
      detail: /^it had 5 connections of 4 open$/,
      net: [`127.0.0.1:${port}`],
    },
    tier,
    { port },
  );
  listener.close();
  await accepting.catch(() => undefined);
  for (const conn of conns) conn.close();
});

testSealed("Cells counts a granted program, and what it wrote to the folder in memory", async () => {
  await using cells = await TestingCells.create();
  const program = `
    const shell = (code) => new Deno.Command("/usr/bin/dash", { args: ["-c", code], stdout: "piped" });
    export const actions = {
      run: () => shell("head -c 8M /dev/zero").outputSync().stdout.length,
      // Neither of the two is above the limit.
      fill: () => {
        shell("head -c 60M /dev/zero > /tmp/f").outputSync();
        globalThis.held = new Uint8Array(60 * 1048576).fill(1);
        return new Promise(() => {});
      },
      // It keeps one line in memory, which has no end.
      sort: () => shell("head -c 1G /dev/zero | sort").output(),
      threads: () => shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 9 & done; wait").output(),
      // Its children's time is nobody's, unless the warden adds it up.
      burn: () => shell("while :; do head -c 4M /dev/zero > /dev/null; done").output(),
    };`;
  const options: TestingCellOptions = {
    ...{ tier: "sealed", source: program, actions: ["run", "fill", "sort", "threads", "burn"] },
    limits: { memoryMb: 64, fileMb: 1_024, diskMb: 1_024, threads: 16, cpuMs: 5_000 },
    grants: { run: ["/usr/bin/dash"] },
  };
  const expected = [
    ...[["fill", "LIMIT_MEMORY"], ["sort", "LIMIT_MEMORY"], ["threads", "LIMIT_THREADS"]],
    ["burn", "LIMIT_CPU"],
  ] as const;
  for (const [action, reason] of expected) {
    const cell = cells.start(options);
    equal(await cell.call("run"), 8 * megabyte);
    void cell.call(action).catch(() => undefined);
    const end = await cell.ended;
    deepEqual([action, end.killed], [action, reason], end.detail);
  }
});
