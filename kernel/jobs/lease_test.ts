import assert from "node:assert/strict";
import { acquireLease, checkLeaseHeld, isExpired, LeaseLostError } from "./lease.ts";

const job = { id: "job-1", leaseToken: 4, leaseLife: null };

Deno.test("acquireLease() gives a larger token than any before, until the end of its time", () => {
  const lease = acquireLease(job, { life: "b", nowMs: 100, ttlMs: 10 });
  assert.deepEqual(lease, { jobId: "job-1", token: 5, life: "b", untilMs: 110 });
  assert.equal(isExpired(lease, 109), false);
  assert.equal(isExpired(lease, 110), true);
});

Deno.test("checkLeaseHeld() refuses another token, another life, and a job that nobody holds", () => {
  const lease = acquireLease(job, { life: "b", nowMs: 0, ttlMs: 1 });
  checkLeaseHeld({ id: "job-1", leaseToken: 5, leaseLife: "b" }, lease);
  for (const [leaseToken, leaseLife] of [[6, "b"], [4, "b"], [5, "a"], [5, null]] as const) {
    assert.throws(() => checkLeaseHeld({ id: "job-1", leaseToken, leaseLife }, lease), LeaseLostError);
  }
});
