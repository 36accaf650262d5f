/**
 * The retry policy: what becomes of a job whose attempt did not complete.
 *
 * - What the plugin was not asked to do (`waits`) costs nothing: the job waits until its plugin takes calls.
 * - An attempt that was `cut` short, by the end of its cell or of the kernel, may have done a part of its work. An
 *   idempotent action is made again, the first few times at no cost; another one only if the job's policy names
 *   the code.
 * - What the plugin `said`, and what came of a call that never began, may be tried again as often as the policy
 *   allows.
 *
 * Pure: chance is a parameter.
 *
 * @module
 */
import type { JobRetry } from "../../schemas/job.ts";
import type { ProblemCode } from "../../schemas/problem.ts";

type FailureKind = "waits" | "said" | "cut" | "interrupted" | "final";

/** Codes that are not listed are final: the same input would fail of them again. */
const kinds: Partial<Record<ProblemCode, FailureKind>> = {
  NOT_READY: "waits",
  BREAKER_OPEN: "waits",
  QUEUE_FULL: "waits",
  PLUGIN_STOPPED: "waits",
  PLUGIN_DISABLED: "waits",
  PLUGIN_QUARANTINED: "waits",
  ACTION_FAILED: "said",
  OUTPUT_INVALID: "said",
  PLUGIN_START_FAILED: "said",
  PLUGIN_CRASHED: "interrupted",
  JOB_INTERRUPTED: "interrupted",
  PLUGIN_UNRESPONSIVE: "cut",
  PLUGIN_UNHEALTHY: "cut",
  LIMIT_WALL: "cut",
  LIMIT_CPU: "cut",
  LIMIT_MEMORY: "cut",
  LIMIT_DISK: "cut",
  LIMIT_FILES: "cut",
  LIMIT_DESCRIPTORS: "cut",
  LIMIT_CONNECTIONS: "cut",
  LIMIT_THREADS: "cut",
  LIMIT_MESSAGES: "cut",
};

/** Whether a plugin that refuses calls with `code` may take them later. */
export function isWorthWaiting(code: ProblemCode): boolean {
  return kinds[code] === "waits";
}

/** Whether `code` says nothing of the job: its plugin, its cell or Airlock went away. */
export function isInterruption(code: ProblemCode): boolean {
  return kinds[code] === "waits" || kinds[code] === "interrupted";
}

export interface FailedAttempt {
  readonly code: ProblemCode;
  /** The plugin may have seen the input. */
  readonly hasBegun: boolean;
  readonly isIdempotent: boolean;
  /** Attempts that failed so far, without this one. */
  readonly failures: number;
  /** Attempts that were cut short at no cost so far. */
  readonly interruptions: number;
}

export interface RetryOptions {
  readonly policy: JobRetry;
  readonly interruptionsMax: number;
  readonly backoffMaxMs: number;
  /** From 0 to 1. */
  random(): number;
}

export type RetryDecision =
  /** It goes back to where it was, at no cost. */
  | { readonly next: "release" }
  /** Another attempt; an `interruption` costs nothing but its count. */
  | { readonly next: "again"; readonly delayMs: number; readonly cost: "failure" | "interruption" }
  | { readonly next: "fail" };

export function decideRetry(attempt: FailedAttempt, options: RetryOptions): RetryDecision {
  const { code, hasBegun, isIdempotent, failures, interruptions } = attempt;
  const { policy, interruptionsMax } = options;
  const kind = kinds[code] ?? "final";
  if (!hasBegun && (kind === "waits" || kind === "interrupted")) return { next: "release" };
  const isFreeToRepeat = isIdempotent && (kind === "interrupted" || kind === "waits");
  if (isFreeToRepeat && interruptions < interruptionsMax) {
    const delayMs = backoffMs(interruptions + 1, options);
    return { next: "again", delayMs, cost: "interruption" };
  }
  const isSafe = kind === "said" || (kind !== "final" && (isIdempotent || !hasBegun));
  const isNamed = policy.codes?.includes(code) ?? isSafe;
  if (!isNamed || failures + 1 >= policy.attempts) return { next: "fail" };
  return { next: "again", delayMs: backoffMs(failures + 1, options), cost: "failure" };
}

/** Doubles with each failure; half of it is left to chance, so that jobs that failed together do not return together. */
function backoffMs(failures: number, { policy, backoffMaxMs, random }: RetryOptions): number {
  const fullMs = Math.min(policy.backoffMs * 2 ** Math.min(failures - 1, 32), backoffMaxMs);
  return Math.round(fullMs * (0.5 + random() / 2));
}
