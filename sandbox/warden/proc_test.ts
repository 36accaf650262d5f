import { deepEqual, equal, ok } from "node:assert/strict";
import {
  childrenOf,
  descriptorsOf,
  parseStat,
  proportionalPageBytes,
  readMemory,
  readStat,
  readUnits,
  StatFile,
} from "./proc.ts";

const isLinux = Deno.build.os === "linux";
const units = { pageBytes: 4_096, tickMs: 10 };
const fields =
  "S 7 8 9 0 -1 4194304 100 200 0 0 11 12 13 14 20 5 3 0 4242 1000000 500 18446744073709551615 " +
  "1 2 140735 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";

Deno.test("parseStat() reads the fields behind the name", () => {
  deepEqual(parseStat(`42 (deno) ${fields}`, units), {
    state: "S",
    session: 9,
    ownMs: 230,
    reapedMs: 270,
    nice: 5,
    threads: 3,
    startedTicks: 4_242,
    virtualBytes: 1_000_000,
    rssBytes: 500 * 4_096,
    stackStart: "140735",
  });
});

// The name is the process's own choice: prctl(PR_SET_NAME).
Deno.test("parseStat() is not misled by a name", () => {
  for (const name of [") R 1 1 1", "a b) c", "(", ")", "x\ny"]) {
    equal(parseStat(`42 (${name}) ${fields}`, units)?.session, 9, name);
  }
});

Deno.test("parseStat() takes nothing that is not whole", () => {
  for (const text of ["", "42 (deno)", "42 (deno) S 7 8", `42 (deno) ${fields}`.slice(0, 60)]) {
    equal(parseStat(text, units), undefined, text);
  }
});

Deno.test({ name: "StatFile gives the same object until something changes", ignore: !isLinux }, async () => {
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  using stat = StatFile.open(child.pid, readUnits());
  ok(stat !== undefined);
  let last = stat.read();
  // It has to come to rest first.
  while (last !== stat.read()) last = stat.read();
  equal(last?.threads, 1);
  child.kill("SIGKILL");
  await child.status;
  equal(stat.read(), undefined);
});

Deno.test(
  { name: "proc reads a living process, and gives nothing of one that is gone", ignore: !isLinux },
  () => {
    const mine = readStat(Deno.pid, readUnits());
    ok(mine !== undefined && mine.rssBytes > 1_048_576 && mine.threads > 1);
    const memory = readMemory(Deno.pid);
    ok(memory !== undefined && memory.pageBytes > 1_048_576 && memory.tableBytes > 65_536);
    ok((proportionalPageBytes(Deno.pid) ?? 0) > 1_048_576);
    ok((descriptorsOf(Deno.pid) ?? 0) > 3);
    const none = 0x7fff_ffff;
    deepEqual([readStat(none, units), readMemory(none), descriptorsOf(none)], [
      undefined,
      undefined,
      undefined,
    ]);
    deepEqual(childrenOf(none), []);
  },
);
