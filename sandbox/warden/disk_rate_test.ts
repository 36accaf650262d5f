import { deepEqual, equal } from "node:assert/strict";
import { DiskRate } from "./disk_rate.ts";

const megabyte = 1_048_576;
const create = () => new DiskRate({ bytesPerSecond: megabyte, burstBytes: 8 * megabyte });

Deno.test("DiskRate lets a cell write at once what it may keep, and then waits for what is above it", () => {
  const rate = create();
  deepEqual([0, 4, 8, 10].map((written) => rate.take(written * megabyte, 0)), [0, 0, 0, 2_000]);
  equal(rate.take(10 * megabyte, 1_500), 500);
  equal(rate.take(10 * megabyte, 2_000), 0);
  equal(rate.take(11 * megabyte, 2_000), 1_000);
});

Deno.test("DiskRate forgives no more than what it may write at once", () => {
  const rate = create();
  rate.take(8 * megabyte, 0);
  equal(rate.take(8 * megabyte, 1_000_000), 0);
  equal(rate.take(17 * megabyte, 1_000_000), 1_000);
});

Deno.test("DiskRate takes nothing back where the sum of a process has gone with it", () => {
  const rate = create();
  rate.take(8 * megabyte, 0);
  equal(rate.take(0, 0), 0);
  equal(rate.take(megabyte, 0), 1_000);
});
