/**
 * A job's view: what of its row is shown, and to whom.
 *
 * @module
 */
import type { JobFact } from "../../schemas/event.ts";
import type { JobView } from "../../schemas/job.ts";
import { problemTable } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { Reader, ShownJob } from "./jobs.ts";

/** Whether what is in the job may be read: its texts and its output. */
export function mayRead(row: JobRow, { actor, readsAll }: Reader): boolean {
  return readsAll || row.actor === actor;
}

type Relations = Pick<JobsTable, "idOf" | "dependencyIds">;

/** Without its output. */
export function viewJob(row: JobRow, table: Relations): JobView {
  return {
    id: row.id,
    kind: row.kind,
    plugin: row.plugin,
    action: row.action,
    state: row.state,
    waitingFor: row.wait,
    attempt: row.attempt,
    interruptions: row.interruptions,
    progress: row.progress,
    note: row.note,
    output: null,
    error: row.errorCode === null ? null : { code: row.errorCode, message: row.errorMessage ?? "" },
    priority: row.priority,
    runAt: instant(row.dueAtMs),
    expiresAt: instant(row.expiresAtMs),
    deadlineMs: row.deadlineMs,
    dependsOn: [...table.dependencyIds(row.seq)],
    parent: row.parent === null ? null : table.idOf(row.parent) ?? null,
    step: row.step,
    schedule: row.schedule,
    idempotencyKey: row.idempotencyKey,
    cancelRequested: row.cancelRequested,
    inputSha256: row.inputSha256,
    outputSha256: row.outputSha256,
    planSha256: row.planSha256,
    createdAt: new Date(row.createdAtMs).toISOString(),
    startedAt: instant(row.startedAtMs),
    endedAt: instant(row.endedAtMs),
  };
}

/**
 * The same for one who may not read what is in it: no text of a plugin's or of its caller's, and no hash, from which
 * whoever can guess a short one would know that the guess is right.
 */
export function withoutContents(view: JobView): JobView {
  const error = view.error === null
    ? null
    : { code: view.error.code, message: problemTable[view.error.code][1] };
  const hashes = { inputSha256: "", outputSha256: null, planSha256: null };
  return { ...view, output: null, note: null, error, idempotencyKey: null, step: null, ...hashes };
}

/** What the feed says of it. */
export function factOf(row: JobRow, table: Relations): JobFact {
  return {
    job: row.id,
    plugin: row.plugin,
    action: row.action,
    state: row.state,
    attempt: row.attempt,
    progress: row.progress,
    code: row.errorCode,
    parent: row.parent === null ? null : table.idOf(row.parent) ?? null,
  };
}

/**
 * The text of `view` with the output set in as it is, for it is exactly one JSON value: parsing it would change numbers
 * that do not fit a double, and a large one takes seconds.
 */
export function jsonWithOutput(view: JobView, output: string): string {
  const { output: _, ...rest } = view;
  return `${JSON.stringify(rest).slice(0, -1)},"output":${output}}`;
}

/** The same of a job as it is shown. */
export function jobText({ view, outputJson }: ShownJob): string {
  return jsonWithOutput(view, outputJson ?? "null");
}

function instant(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
