/**
 * Acceptance: what is asked for becomes rows of the queue, all of it or nothing.
 *
 * Runs inside a transaction, and refuses before it writes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type JobRequest, jobRequestSchema } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { Inserted, Queue } from "./queue.ts";
import { requestSha256 } from "./request_hash.ts";

export interface AcceptDeps {
  readonly table: Pick<JobsTable, "find" | "findByKey">;
  readonly queue: Queue;
  newId(): string;
  nowMs(): number;
  /** Jobs that may wait. */
  readonly waitingMax: number;
  /** Of one actor. */
  readonly waitingPerActorMax: number;
  /** What the jobs' file holds, and what it may hold for more to be accepted. */
  bytes(): number;
  readonly bytesMax: number;
}

/** A job as it is asked for, by whatever way. */
export interface Asked {
  readonly job: Omit<Inserted, "id" | "dueAtMs" | "expiresAtMs" | "inputSha256">;
  /** UTF-8 of one JSON value. */
  readonly input: Uint8Array;
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
      requestSha256: hashOf(jobRequestSchema, request),
      // Of its actor: else a caller could hold up another's jobs by a key of the same name. No actor has a line break.
      concurrencyKey: concurrency === null ? null : `${actor}\n${concurrency.key}`,
      concurrencyMax: concurrency?.max ?? null,
      planSha256: null,
    },
    input: encoder.encode(JSON.stringify(input)),
    dependsOn: request.dependsOn,
    runAt: request.runAt,
    delayMs: request.delayMs,
    ttlMs: request.ttlMs,
  };
}

/** Of no use, and so not made, where there is no key to find it by. */
export function hashOf<T extends { readonly idempotencyKey: string | null }>(
  schema: Parameters<typeof requestSha256>[0],
  request: T,
): Uint8Array<ArrayBuffer> {
  return request.idempotencyKey === null ? new Uint8Array() : requestSha256(schema, { ...request });
}

/** Of all jobs of one request together. */
const dependenciesMax = 4_096;

/** Throws ProblemError QUEUE_FULL, JOB_NOT_FOUND, CONFLICT or INPUT_INVALID, before anything is written. */
export function acceptJobs(asked: readonly Asked[], deps: AcceptDeps): Accepted[] {
  const nowMs = deps.nowMs();
  const keys = new Set<string>();
  const edges = asked.reduce((sum, { dependsOn }) => sum + dependsOn.length, 0);
  if (edges > dependenciesMax) {
    const state = `they name ${edges} jobs to depend on, and ${dependenciesMax} are the most for one request`;
    throw new ProblemError("INPUT_INVALID", `Cannot accept ${asked.length} jobs: ${state}`);
  }
  // Many of a batch depend on the same.
  const named = new Map<string, JobRow | undefined>();
  const find = (id: string) => named.getOrInsertComputed(id, () => deps.table.find(id));
  const plans = asked.map((one, at) => {
    const { idempotencyKey: key } = one.job;
    if (key !== null && keys.has(key)) throw conflict(key, `job ${at} of the request has it too`);
    if (key !== null) keys.add(key);
    return planOf(one, nowMs, deps, find);
  });
  checkRoom(plans.flatMap((plan) => "repeated" in plan ? [] : [plan.job.actor]), deps);
  return plans.map((plan, at) => {
    if ("repeated" in plan) return { row: plan.repeated, isRepeated: true };
    const { input } = asked[at] ?? { input: new Uint8Array() };
    return {
      row: deps.queue.insert({ ...plan.job, id: deps.newId() }, input, plan.dependsOn),
      isRepeated: false,
    };
  });
}

type Planned = { repeated: JobRow } | { job: Omit<Inserted, "id">; dependsOn: JobRow[] };

/** `actors`: of the jobs that are no repetitions. */
function checkRoom(actors: readonly string[], deps: AcceptDeps): void {
  const [actor] = actors;
  if (actor === undefined) return;
  const { queue: { waiting }, waitingMax, waitingPerActorMax, bytesMax } = deps;
  const refuse = (state: string, retryAfterMs: number) =>
    new ProblemError("QUEUE_FULL", `Cannot accept ${actors.length} jobs: ${state}`, { retryAfterMs });
  if (deps.bytes() > bytesMax) throw refuse(`the jobs' file holds more than ${bytesMax} bytes`, 60_000);
  if (waiting.all + actors.length > waitingMax) throw refuse(`${waiting.all} wait already`, 1_000);
  // All that are asked for at once are one actor's.
  if (waiting.of(actor) + actors.length > waitingPerActorMax) {
    throw refuse(`${waiting.of(actor)} of the same caller wait already`, 1_000);
  }
}

function planOf(
  asked: Asked,
  nowMs: number,
  { table }: AcceptDeps,
  find: (id: string) => JobRow | undefined,
): Planned {
  const { job, input } = asked;
  const { idempotencyKey: key, actor } = job;
  const before = key === null ? undefined : table.findByKey(actor, key);
  if (before !== undefined && key !== null) {
    if (job.requestSha256.toHex() !== before.requestSha256.toHex()) {
      throw conflict(key, "it was used for another request");
    }
    return { repeated: before };
  }
  const dependsOn = [...new Set(asked.dependsOn)].map((id) => {
    const row = find(id);
    // Another's job is none: else whoever may enqueue could find out which there are.
    if (row !== undefined && row.actor === actor) return row;
    throw new ProblemError("JOB_NOT_FOUND", `Cannot depend on job "${id}": there is none`);
  });
  const { runAt, delayMs, ttlMs } = asked;
  const dueAtMs = Math.max(runAt === null ? 0 : Date.parse(runAt), delayMs === null ? 0 : nowMs + delayMs);
  return {
    job: {
      ...job,
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
