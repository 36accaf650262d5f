/**
 * The transition table of a job: which events are possible in which state, and what they lead to.
 *
 * `again`: an attempt ended and another will be made. `release`: an attempt was given back that had not begun.
 * Pure.
 *
 * @module
 */
import type { JobState } from "../../schemas/job.ts";

export type JobChange = "claim" | "complete" | "fail" | "again" | "release" | "cancel" | "redrive";

const table: Record<JobState, Partial<Record<JobChange, JobState>>> = {
  pending: { claim: "running", fail: "failed", cancel: "cancelled" },
  running: {
    complete: "completed",
    fail: "failed",
    again: "pending",
    release: "pending",
    cancel: "cancelled",
  },
  completed: {},
  failed: { redrive: "pending" },
  cancelled: { redrive: "pending" },
};

/** Throws TypeError where `change` is impossible. */
export function transition(state: JobState, change: JobChange): JobState {
  const next = table[state][change];
  if (next === undefined) throw new TypeError(`Cannot ${change} a job that is ${state}`);
  return next;
}

/** Nothing happens to it any more, unless somebody redrives it. */
export function isOver(state: JobState): state is "completed" | "failed" | "cancelled" {
  return state === "completed" || state === "failed" || state === "cancelled";
}

/** It ended otherwise than it was meant to: what waits for it is lost too, and it can be redriven. */
export function isLost(state: JobState): boolean {
  return state === "failed" || state === "cancelled";
}
