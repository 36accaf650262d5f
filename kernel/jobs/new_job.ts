/**
 * A new job: what is given of a job's row when it is inserted, and what every row begins with.
 *
 * Pure.
 *
 * @module
 */
import { type NewJobRow, untoldEnqueued } from "../store/job_row.ts";

export type Inserted = Omit<
  NewJobRow,
  | "state"
  | "wait"
  | "attempt"
  | "failures"
  | "interruptions"
  | "leaseToken"
  | "leaseLife"
  | "isIdempotent"
  | "policy"
  | "cancelRequested"
  | "progress"
  | "note"
  | "errorCode"
  | "errorMessage"
  | "outputSha256"
  | "untold"
  | "createdAtMs"
  | "startedAtMs"
  | "endedAtMs"
>;

/** Accepted at `nowMs`, and waiting for `wait`. */
export function newRow(job: Inserted, wait: NewJobRow["wait"], nowMs: number): NewJobRow {
  return {
    ...job,
    state: "pending",
    wait,
    ...{ attempt: 0, failures: 0, interruptions: 0, leaseToken: 0, leaseLife: null },
    ...{ isIdempotent: false, policy: null, cancelRequested: false, progress: 0, note: null },
    ...{ errorCode: null, errorMessage: null, outputSha256: null, untold: untoldEnqueued },
    ...{ createdAtMs: nowMs, startedAtMs: null, endedAtMs: null },
  };
}
