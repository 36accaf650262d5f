import { deepEqual, equal, match } from "node:assert/strict";
import { type Limits, limitsSchema } from "../../schemas/limits.ts";
import {
  CellWatch,
  descriptorsMax,
  type Look,
  megabyte,
  runtimeOwn,
  temporaryBytesMax,
} from "./cell_watch.ts";

const cores = 2;

function watch(limits: Partial<Limits> = {}) {
  const cell = new CellWatch({ limits: limitsSchema.parse(limits), cpuWindowMs: 5_000, cores });
  const calm = { usedMs: 0, elapsedMs: 50, threads: 8 };
  return { cell, judge: (look: Partial<Look> = {}) => cell.judge({ ...calm, ...look }) };
}

Deno.test("CellWatch lets a cell have what its runtime has, and its limit on top", () => {
  const { judge } = watch({ memoryMb: 128, threads: 64, fileDescriptors: 64, connections: 8 });
  equal(judge(), undefined);
  equal(
    judge({
      memoryBytes: 128 * megabyte + runtimeOwn.memoryBytes,
      threads: 64 + runtimeOwn.threads + cores,
      descriptors: 64 + runtimeOwn.descriptors,
      connections: 8,
    }),
    undefined,
  );
});

Deno.test("CellWatch says in figures what was crossed, as the plugin's own use", () => {
  const { judge } = watch({ memoryMb: 128, threads: 64, fileDescriptors: 64 });
  const memory = judge({ memoryBytes: 212 * megabyte + runtimeOwn.memoryBytes });
  deepEqual(memory, { reason: "LIMIT_MEMORY", detail: "it used 212 MB of 128 MB", calls: [] });
  const threads = judge({ threads: 65 + runtimeOwn.threads + cores });
  deepEqual(threads, { reason: "LIMIT_THREADS", detail: "it ran 65 threads of 64", calls: [] });
  const descriptors = judge({ descriptors: 65 + runtimeOwn.descriptors });
  equal(descriptors?.detail, "it had 65 descriptors of 64 open");
  equal(descriptors?.reason, "LIMIT_DESCRIPTORS");
});

Deno.test("CellWatch ends a cell that hides what it uses, if it still does at the next look", () => {
  const { cell, judge } = watch();
  equal(judge({ isUncountable: true }), undefined);
  equal(cell.isSuspicious, true);
  equal(judge(), undefined);
  equal(cell.isSuspicious, false);
  equal(judge({ isUncountable: true }), undefined);
  equal(judge({ isUncountable: true })?.reason, "LIMIT_THREADS");
});

Deno.test("CellWatch ends a suspended cell that runs, but not one that has yet to stop", () => {
  const { judge } = watch();
  for (const looksAwake of [1, 2, 3]) equal(judge({ looksAwake }), undefined);
  deepEqual(judge({ looksAwake: 4 }), {
    reason: "LIMIT_CPU",
    detail: "it ran while it was suspended",
    calls: [],
  });
});

Deno.test("CellWatch takes connections only when they are still there at the next look", () => {
  const { cell, judge } = watch({ connections: 2 });
  equal(judge({ descriptors: 30, connections: 3 }), undefined);
  equal(cell.isSuspicious, true);
  equal(judge({ descriptors: 30, connections: 2 }), undefined);
  equal(cell.isSuspicious, false);
  judge({ descriptors: 30, connections: 5 });
  deepEqual(judge({ descriptors: 30, connections: 3 }), {
    ...{ reason: "LIMIT_CONNECTIONS", detail: "it had 3 connections of 2 open", calls: [] },
  });
});

Deno.test("CellWatch ends a cell whose descriptors stay unreadable", () => {
  const { cell, judge } = watch();
  equal(judge({ descriptors: "unreadable" }), undefined);
  equal(cell.isSuspicious, true);
  equal(judge({ descriptors: 20 }), undefined);
  judge({ descriptors: "unreadable" });
  equal(judge({ descriptors: "unreadable" })?.reason, "LIMIT_DESCRIPTORS");
});

Deno.test("CellWatch names the calls that used too much CPU time", () => {
  const { cell, judge } = watch({ cpuMs: 100 });
  cell.calls.report(2, [4, 5]);
  equal(judge({ usedMs: 150 }), undefined);
  deepEqual(judge({ usedMs: 150 }), {
    ...{ reason: "LIMIT_CPU", detail: "a call used 150 ms of 100 ms of CPU time", calls: [4, 5] },
  });
});

Deno.test("CellWatch ends a cell that is over its share for too long, whatever it works on", () => {
  const { cell, judge } = watch({ cpuPercent: 100 });
  const verdicts = Array.from({ length: 200 }, () => judge({ usedMs: 150 }));
  equal(cell.share, "exhausted");
  const verdict = verdicts.find((found) => found !== undefined);
  deepEqual([verdict?.reason, verdict?.calls], ["LIMIT_CPU", []]);
  match(verdict?.detail ?? "", /more than 100% of a core/);
});

Deno.test("CellWatch keeps all accounts, also at a look that finds something else", () => {
  const { cell, judge } = watch({ cpuMs: 100 });
  cell.calls.report(1, [1]);
  equal(judge({ usedMs: 90, threads: 10_000 })?.reason, "LIMIT_THREADS");
  equal(cell.calls.mostMs, 90);
});

Deno.test("CellWatch judges folders by bytes and by entries, and fails closed", () => {
  const { cell } = watch({ diskMb: 64, files: 10 });
  const use = { name: "private folder", bytes: 64 * megabyte, files: 10, fault: undefined } as const;
  equal(cell.judgeFolder(use), undefined);
  equal(cell.judgeFolder({ ...use, bytes: use.bytes + 1 })?.reason, "LIMIT_DISK");
  equal(cell.judgeFolder({ ...use, files: 11 })?.reason, "LIMIT_FILES");
  const fault = cell.judgeFolder({ ...use, fault: '"/x" cannot be read' });
  deepEqual(fault?.reason, "LIMIT_DISK");
  equal(fault?.detail, 'its private folder cannot be counted: "/x" cannot be read');
});

Deno.test("descriptorsMax() and temporaryBytesMax() leave room for the watch to see who goes over", () => {
  const limits = limitsSchema.parse({ fileDescriptors: 64, memoryMb: 32, diskMb: 64 });
  equal(descriptorsMax(limits), 64 + 21 + 512);
  equal(temporaryBytesMax(limits), 32 * megabyte);
});
