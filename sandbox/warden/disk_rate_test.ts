import { deepEqual, equal } from "node:assert/strict";
import { limitsSchema } from "../../schemas/limits.ts";
import { DiskRate, DiskRates } from "./disk_rate.ts";

const megabyte = 1_048_576;
const create = () => new DiskRate({ bytesPerSecond: megabyte, burstBytes: 8 * megabyte });

Deno.test("DiskRate lets a cell write at once what it may keep, and then waits for what is above it", () => {
  const rate = create();
  deepEqual([4, 4, 2].map((written) => rate.take(written * megabyte, 0)), [0, 0, 2_000]);
  equal(rate.take(0, 1_500), 500);
  equal(rate.take(0, 2_000), 0);
  equal(rate.take(megabyte, 2_000), 1_000);
});

Deno.test("DiskRate forgives no more than what it may write at once", () => {
  const rate = create();
  rate.take(8 * megabyte, 0);
  equal(rate.isFull(7_000), false);
  equal(rate.isFull(1_000_000), true);
  equal(rate.take(9 * megabyte, 1_000_000), 1_000);
});

Deno.test("DiskRates keeps that of a plugin over the ends of its cells, until it has nothing to tell", () => {
  const rates = new DiskRates(1);
  const cell = { dataDir: "/data/plugins/a", limits: { ...limitsSchema.parse({}), diskMb: 8 } };
  const first = rates.of(cell, 0);
  equal(first.take(10 * megabyte, 0), 2_000);
  equal(rates.of(cell, 1_000).take(0, 1_000), 1_000);
  equal(rates.of({ ...cell, dataDir: "/data/plugins/b" }, 1_000) === first, false);
  equal(rates.of(cell, 60_000) === first, false);
});
