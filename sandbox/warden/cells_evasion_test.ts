/**
 * What a cell may try so that the warden's looks do not see what it uses, over real cells: each is seen, and
 * ended for it; and no look at one cell takes the warden from the others.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Limits } from "../../schemas/limits.ts";
import { type TestingCell, TestingCells } from "./testing_cells.ts";
import { testInEachTier, testSealed } from "./testing_tiers.ts";

const megabyte = 1_048_576;

/** Reads one byte of each huge page: each takes a page of page tables, and none of memory. */
const sparse = `
const held = [];
export const actions = {
  run: () => "fine",
  read({ gb }) {
    for (let at = 0; at < gb; at++) {
      const bytes = new Uint8Array(1073741824);
      for (let offset = 0; offset < bytes.length; offset += 2097152) held[0] = bytes[offset];
      held.push(bytes);
    }
    return gb;
  },
};`;

testInEachTier("Cells counts page tables as memory", async (tier) => {
  await using cells = await TestingCells.create();
  const options = { tier, source: sparse, actions: ["run", "read"], limits: { memoryMb: 64 } };
  equal(await cells.start(options).call("read", { gb: 8 }), 8);
  const greedy = cells.start(options);
  void greedy.call("read", { gb: 600 }).catch(() => undefined);
  const end = await greedy.ended;
  equal(end.killed, "LIMIT_MEMORY", end.detail);
});

const perlPath = Deno.realPathSync("/usr/bin/perl");
/** System calls by number: one ends a thread, the other maps a file. */
const [exitCall, mapCall] = Deno.build.arch === "x86_64" ? [60, 9] : [93, 222];

/** A cell that runs a script, which says a line when it has begun. */
async function runPerl(cells: TestingCells, script: string, limits: Partial<Limits>): Promise<TestingCell> {
  const cell = cells.start({
    ...{ tier: "sealed", actions: ["run"], limits, grants: { run: [perlPath] } },
    source: `export const actions = {
      async run({ script }, { dataDir }) {
        const args = ["-e", "$| = 1; " + script, dataDir];
        const { stdout } = new Deno.Command("${perlPath}", { args, stdout: "piped" }).spawn();
        const { value } = await stdout.getReader().read();
        return new TextDecoder().decode(value);
      },
    };`,
  });
  // It may have ended by the time the answer would be there.
  const begun = await Promise.race([cell.call("run", { script }), cell.ended]);
  ok(begun === "begun" || typeof begun === "object", `${begun}`);
  return cell;
}

// Of a process whose first thread has ended no memory and no descriptor can be read.
testSealed("Cells ends a cell with a process whose first thread has ended", async () => {
  await using cells = await TestingCells.create();
  const script = `use threads; threads->create(sub { sleep 60 }); print "begun"; syscall ${exitCall}, 0`;
  const { killed, detail } = await (await runPerl(cells, script, {})).ended;
  equal(killed, "LIMIT_THREADS", detail);
  match(detail, /^the first thread of a process ended/);
});

// A signal that its own doings bring about: a timer's, or that of a descriptor. The test sends it instead.
testInEachTier("Cells ends a cell that is woken while it is suspended, and uses CPU time", async (tier) => {
  await using cells = await TestingCells.create();
  const source = `export const actions = { run() { for (;;); } };`;
  const cell = cells.start({ tier, source, limits: { cpuPercent: 6_400 } });
  const pid = await cell.pid();
  void cell.call("run").catch(() => undefined);
  cells.cells.suspend(cell.cell);
  await cells.reported("suspended");
  const waking = setInterval(() => {
    try {
      Deno.kill(pid, "SIGCONT");
    } catch {
      // It has ended: that is awaited.
    }
  }, 5);
  const { killed, detail } = await cell.ended.finally(() => clearInterval(waking));
  deepEqual([killed, detail], ["LIMIT_CPU", "it ran while it was suspended"]);
});

testSealed("Cells counts files in the temporary folder in memory, the empty ones too", async () => {
  await using cells = await TestingCells.create();
  const script = `print "begun"; for my $at (1 .. 200) { open F, ">", "/tmp/$at" } sleep 60`;
  const { killed, detail } = await (await runPerl(cells, script, { files: 100 })).ended;
  equal(killed, "LIMIT_FILES", detail);
  match(detail, /^its temporary folder has more than 100 files\./);
});

testSealed("Cells counts files that are mapped although they have no name any more", async () => {
  await using cells = await TestingCells.create();
  const script = `for my $at (1 .. 12) {
      open F, "+>", "$ARGV[0]/f"; syswrite F, "x" x ${megabyte};
      syscall ${mapCall}, 0, ${megabyte}, 1, 1, fileno F, 0;
      unlink "$ARGV[0]/f"; close F;
    }
    print "begun"; sleep 60`;
  const { killed, detail } = await (await runPerl(cells, script, { diskMb: 8 })).ended;
  equal(killed, "LIMIT_DISK", detail);
  // They are counted while they become more.
  match(detail, /^its private folder has (?:9|1[0-3]) MB or more of 8 MB\./);
});

// Each of the processes shares all of it: what is exact takes longer the more of them there are.
testSealed("Cells is not held up by memory that very many processes share", async () => {
  await using cells = await TestingCells.create();
  const limits = { memoryMb: 512, threads: 256, cpuMs: 600_000, cpuPercent: 400 };
  const delay = monitorEventLoopDelay({ resolution: 10 });
  const script = `my $held = "x" x ${300 * megabyte}; print "begun"; for (1 .. 120) { fork or sleep 60, exit }
    sleep 60`;
  const cell = await runPerl(cells, script, limits);
  delay.enable();
  const { killed, detail } = await cell.ended;
  delay.disable();
  equal(killed, "LIMIT_MEMORY", detail);
  ok(delay.max < 1_000_000_000, `${delay.max / 1_000_000} ms`);
});
