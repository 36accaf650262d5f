/**
 * Acceptance: what is asked for becomes rows of the queue, all of it or nothing.
 *
 * Runs inside a transaction, and refuses before it writes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { JobRequest } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { Inserted, Queue } from "./queue.ts";

export interface AcceptDeps {
  readonly table: Pick<JobsTable, "find" | "findByKey">;
  readonly queue: Queue;
  newId(): string;
  nowMs(): number;
  /** Jobs that may wait. */
  readonly waitingMax: number;
}

/** A job as it is asked for, by whatever way. */
export interface Asked {
  readonly job: Omit<Inserted, "id" | "dueAtMs" | "expiresAtMs" | "requestSha256" | "inputSha256">;
  /** UTF-8 of one JSON value. */
  readonly input: Uint8Array;
  /** What makes it the same request as another. */
  readonly request: string;
  readonly dependsOn: readonly string[];
  readonly runAt: string | null;
  readonly delayMs: number | null;
  readonly ttlMs: number | null;
}

export interface Accepted {
  readonly row: JobRow;
  /** It was accepted before, under the same idempotency key. */
  readonly isRepeated: boolean;
}

const encoder = new TextEncoder();

/** A job of an action. */
export function askedOf(request: JobRequest, actor: string, schedule: string | null = null): Asked {
  const { plugin, action, input, idempotencyKey, priority, deadlineMs, retry, concurrency } = request;
  return {
    job: {
      ...{ kind: "action", plugin, action, actor, parent: null, step: null, schedule },
      ...{ idempotencyKey, priority, deadlineMs, retry },
      concurrencyKey: concurrency?.key ?? null,
      concurrencyMax: concurrency?.max ?? null,
      planSha256: null,
    },
    input: encoder.encode(JSON.stringify(input)),
    request: JSON.stringify(request),
    dependsOn: request.dependsOn,
    runAt: request.runAt,
    delayMs: request.delayMs,
    ttlMs: request.ttlMs,
  };
}

/** Throws ProblemError QUEUE_FULL, JOB_NOT_FOUND, CONFLICT or INPUT_INVALID, before anything is written. */
export function acceptJobs(asked: readonly Asked[], deps: AcceptDeps): Accepted[] {
  const { queue, waitingMax } = deps;
  const nowMs = deps.nowMs();
  const keys = new Set<string>();
  const plans = asked.map((one, at) => {
    const { idempotencyKey: key } = one.job;
    if (key !== null && keys.has(key)) throw conflict(key, `job ${at} of the request has it too`);
    if (key !== null) keys.add(key);
    return planOf(one, nowMs, deps);
  });
  const fresh = plans.filter((plan) => !("repeated" in plan)).length;
  if (fresh > 0 && queue.waiting + fresh > waitingMax) {
    const state = `${queue.waiting} wait already`;
    throw new ProblemError("QUEUE_FULL", `Cannot accept ${fresh} jobs: ${state}`, { retryAfterMs: 1_000 });
  }
  return plans.map((plan, at) => {
    if ("repeated" in plan) return { row: plan.repeated, isRepeated: true };
    const { input } = asked[at] ?? { input: new Uint8Array() };
    return { row: queue.insert({ ...plan.job, id: deps.newId() }, input, plan.dependsOn), isRepeated: false };
  });
}

type Planned = { repeated: JobRow } | { job: Omit<Inserted, "id">; dependsOn: JobRow[] };

function planOf(asked: Asked, nowMs: number, { table }: AcceptDeps): Planned {
  const { job, input, request } = asked;
  const requestSha256 = new Uint8Array(createHash("sha256").update(request).digest());
  const { idempotencyKey: key, actor } = job;
  const before = key === null ? undefined : table.findByKey(actor, key);
  if (before !== undefined && key !== null) {
    if (requestSha256.toHex() !== before.requestSha256.toHex()) {
      throw conflict(key, "it was used for another request");
    }
    return { repeated: before };
  }
  const dependsOn = [...new Set(asked.dependsOn)].map((id) => {
    const row = table.find(id);
    // Another's job is none: else whoever may enqueue could find out which there are.
    if (row !== undefined && row.actor === actor) return row;
    throw new ProblemError("JOB_NOT_FOUND", `Cannot depend on job "${id}": there is none`);
  });
  const { runAt, delayMs, ttlMs } = asked;
  const dueAtMs = Math.max(runAt === null ? 0 : Date.parse(runAt), delayMs === null ? 0 : nowMs + delayMs);
  return {
    job: {
      ...job,
      requestSha256,
      inputSha256: createHash("sha256").update(input).digest("hex"),
      dueAtMs: dueAtMs > 0 ? dueAtMs : null,
      expiresAtMs: ttlMs === null ? null : nowMs + ttlMs,
    },
    dependsOn,
  };
}

function conflict(key: string, state: string): ProblemError {
  return new ProblemError("CONFLICT", `Cannot use the idempotency key "${key}": ${state}`);
}
