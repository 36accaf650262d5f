/**
 * A lease is the right of one attempt to run one job until a deadline.
 *
 * Its token fences off a late writer: the row of the job holds the token of the newest attempt, and an outcome
 * that comes with another one is refused, even while the older cell still runs. Tokens of one job only grow. A
 * lease belongs to one life of the kernel; those of a life before it are void.
 *
 * Time is that of a clock that only runs forward (`performance.now()`), so setting the machine's clock neither
 * ends a lease nor keeps it.
 *
 * Pure: the caller passes `nowMs`; `queue.ts` persists.
 *
 * @module
 */

export interface Lease {
  readonly jobId: string;
  readonly token: number;
  /** Of the kernel. */
  readonly life: string;
  /** An attempt that is not over by then has lost its job. */
  readonly untilMs: number;
}

/** What the job's row says. */
export interface LeaseHeld {
  readonly id: string;
  readonly leaseToken: number;
  readonly leaseLife: string | null;
}

/** An attempt has an outcome for a job that it lost. */
export class LeaseLostError extends Error {
  override name = "LeaseLostError";
}

/** The lease of the next attempt of `job`, for at most `ttlMs`. */
export function acquireLease(
  job: LeaseHeld,
  { life, nowMs, ttlMs }: { life: string; nowMs: number; ttlMs: number },
): Lease {
  return { jobId: job.id, token: job.leaseToken + 1, life, untilMs: nowMs + ttlMs };
}

export function isExpired(lease: Lease, nowMs: number): boolean {
  return nowMs >= lease.untilMs;
}

/** Throws {@linkcode LeaseLostError} unless `lease` is the one that the job's row names. */
export function checkLeaseHeld(job: LeaseHeld, lease: Lease): void {
  if (job.leaseToken === lease.token && job.leaseLife === lease.life) return;
  const holder = job.leaseLife === null ? "nobody holds it" : `lease ${job.leaseToken} holds it`;
  throw new LeaseLostError(`Cannot settle job "${job.id}" with lease ${lease.token}: ${holder}`);
}
