/**
 * What became of one job, from each place that knows of it: the store's view, the events, the ledger, and what the
 * plugin wrote down.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { jobEventData, type JobEventType, jobEventTypeSchema } from "../../schemas/event.ts";
import { jobSchema, type JobView } from "../../schemas/job.ts";
import type { Airlock } from "../support/airlock.ts";
import type { Effect } from "./jobs_plugin.ts";
import type { ToldEvent } from "./jobs_watcher.ts";

/** One end of a job. */
export interface End {
  readonly state: string;
  readonly attempt: number;
  readonly code: string | null;
}

/** What the ledger has of a job. */
export interface Entries {
  enqueued: number;
  readonly ends: End[];
  /** Leases with a `call.accepted`, in order. One whose attempt was given back before it began may be among them. */
  readonly accepted: number[];
}

export interface History {
  readonly view: JobView;
  readonly events: readonly ToldEvent[];
  readonly entries: Entries;
  readonly effects: readonly Effect[];
}

/** One attempt, as its events tell it. */
export interface Told {
  readonly attempt: number;
  readonly startedAtMs: number;
  readonly tokens: unknown[];
  /** Why it failed; null while it did not, "" where it was given back. */
  code: string | null;
}

/** The time from a job's acceptance, or from a redrive, to its end. */
export interface Life {
  /** Not before then; 0 where nothing was asked. */
  readonly runAtMs: number;
  readonly attempts: Told[];
  end: End | undefined;
}

/** By job. */
export async function entriesOf(airlock: Airlock): Promise<{ jobs: Map<string, Entries>; count: number }> {
  const jobs = new Map<string, Entries>();
  const of = (job: unknown) =>
    jobs.getOrInsertComputed(String(job), () => ({
      ...{ enqueued: 0, ends: [], accepted: [] },
    }));
  const records = await airlock.records();
  for (const { type, data } of records) {
    const { job, attempt, code, request } = data;
    const [, state] = /^job\.(completed|failed|cancelled)$/.exec(type) ?? [];
    if (type === "job.enqueued") of(job).enqueued++;
    if (state !== undefined) {
      of(job).ends.push({ state, attempt: Number(attempt), code: code === undefined ? null : String(code) });
    }
    const [, of_, number] = /^([0-9A-Z]{26})-([0-9]+)$/.exec(String(request)) ?? [];
    if (type === "call.accepted" && of_ !== undefined) of(of_).accepted.push(Number(number));
    // A job has attempts of its own.
    ok(type !== "call.retried" || of_ === undefined, `a call of job ${of_} was made twice by the router`);
  }
  return { jobs, count: records.length };
}

/** Reads a job's events by their rules; fails where one stands in a wrong place. */
export function livesOf(job: string, events: readonly ToldEvent[]): Life[] {
  const lives: Life[] = [];
  let isRunning = false;
  let last = 0;
  for (const { id, type, data } of events) {
    ok(id > last, `${job}: event ${id} after ${last}`);
    last = id;
    const kind = jobEventTypeSchema.parse(type);
    const life = lives.at(-1);
    if (life === undefined || life.end !== undefined) {
      equal(kind, "JOB_QUEUED", `${job}: ${type} before it was queued`);
      const { runAt } = jobSchema.parse(data);
      lives.push({ runAtMs: runAt === null ? 0 : Date.parse(runAt), attempts: [], end: undefined });
    } else {
      isRunning = take(job, life, isRunning, kind, data);
    }
  }
  const ends = lives.filter(({ end }) => end !== undefined).length;
  equal(ends, lives.length, `${job}: the last event is no end`);
  return lives;
}

/** Returns whether an attempt is under way. */
function take(job: string, life: Life, isRunning: boolean, type: JobEventType, data: unknown): boolean {
  const current = life.attempts.at(-1);
  if (type === "JOB_TOKEN" || type === "JOB_PROGRESS") {
    ok(isRunning, `${job}: ${type} while no attempt is under way`);
    if (type === "JOB_TOKEN") current?.tokens.push(data);
    else jobEventData.JOB_PROGRESS.parse(data);
    return true;
  }
  const view = jobSchema.parse(data);
  const code = view.error?.code ?? null;
  if (type === "JOB_STARTED") {
    // One that had not begun was given back, by a kernel that has ended since: it is told of again.
    if (isRunning && current?.attempt === view.attempt && current.tokens.length === 0) life.attempts.pop();
    else ok(!isRunning, `${job}: two attempts at once`);
    const startedAtMs = Date.parse(view.startedAt ?? "");
    life.attempts.push({ attempt: view.attempt, startedAtMs, tokens: [], code: null });
    return true;
  }
  if (type === "JOB_QUEUED") {
    ok(isRunning && current !== undefined, `${job}: queued twice`);
    current.code = "";
    return false;
  }
  if (current !== undefined && isRunning && type === "JOB_FAILED") current.code = code;
  if (view.state !== "pending") {
    const isFailed = view.state === "failed";
    life.end = { state: view.state, attempt: view.attempt, code: isFailed ? code : null };
  }
  return false;
}
