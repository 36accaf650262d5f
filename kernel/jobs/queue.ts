/**
 * The queue: every change of a job's state, and what follows from it.
 *
 * Each method runs inside a transaction of the write group and leaves rows, lanes and events in step. What is to be
 * told after the commit (entries of the ledger, the feed, pipelines that have a step less to wait for) is
 * collected, and taken with {@linkcode Queue.takeChanges} and {@linkcode Queue.takeParent}. If the commit fails the
 * kernel ends, so what is in memory never has to be undone.
 *
 * What follows from a change is done as far as the budget of the transaction goes, see `work_budget.ts`.
 *
 * @module
 */
import type { JobEventType } from "../../schemas/event.ts";
import type { JobWait } from "../../schemas/job.ts";
import type { ProblemCode } from "../../schemas/problem.ts";
import { type JobRow, untoldEnded } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import { Dependents } from "./dependents.ts";
import { jsonWithOutput, viewJob } from "./job_view.ts";
import type { Lanes } from "./lanes.ts";
import { checkLeaseHeld, type Lease, LeaseLostError } from "./lease.ts";
import { type Inserted, newRow } from "./new_job.ts";
import { isLost, isOver, transition } from "./transition.ts";
import type { WaitingCounts } from "./waiting_counts.ts";
import { WorkBudget } from "./work_budget.ts";

export type { Inserted };

export interface QueueDeps {
  readonly table: JobsTable;
  readonly lanes: Lanes;
  readonly events: { stage(job: number, type: JobEventType, json: string): boolean };
  nowMs(): number;
  readonly waiting: WaitingCounts;
}

/** What a commit changed. */
export interface Changes {
  /** Every change, in order. */
  readonly events: { readonly type: JobEventType; readonly row: JobRow; readonly isNew: boolean }[];
  /** Jobs that run and are to be told to stop. */
  readonly cancelled: number[];
}

/** Larger outputs are not repeated in the event that tells of them. */
const outputCharsInEvent = 65_536;
const decoder = new TextDecoder();

export class Queue {
  #changes: Changes = noChanges();
  readonly #parents = new Map<number, JobRow[]>();
  /** Given back before they began: that their attempt starts was told, and is not told again. */
  readonly #givenBack = new Set<number>();
  readonly #dependents: Dependents;
  #endedChange = 0;
  /** Of the transaction that is open, or comes next. */
  readonly budget = new WorkBudget();

  constructor(private readonly deps: QueueDeps) {
    this.#dependents = new Dependents({
      ...{ table: deps.table, budget: this.budget },
      free: (row) => this.#await(row, this.#firstWait(row.dueAtMs, false)),
      fail: (row, lostId) => void this.#failDependent(row, lostId),
    });
  }

  /** Jobs that are pending. */
  get waiting(): Pick<WaitingCounts, "all" | "of"> {
    return this.deps.waiting;
  }

  /** Jobs that have ended and are no part of a pipeline: how many more there are than at the start. */
  get endedChange(): number {
    return this.#endedChange;
  }

  /** After a commit: the next transaction begins. */
  takeChanges(): Changes {
    this.budget.renew();
    const changes = this.#changes;
    this.#changes = noChanges();
    return changes;
  }

  /** A pipeline that has something to do, with those of its jobs that have ended meanwhile. */
  takeParent(): [seq: number, ended: JobRow[]] | undefined {
    const [first] = this.#parents;
    if (first !== undefined) this.#parents.delete(first[0]);
    return first;
  }

  get hasParents(): boolean {
    return this.#parents.size > 0;
  }

  /** The pipeline has something to do. */
  touchParent(seq: number, ended?: JobRow): void {
    const rows = this.#parents.getOrInsertComputed(seq, () => []);
    if (ended !== undefined) rows.push(ended);
  }

  /** `dependsOn`: rows that are there. */
  insert(job: Inserted, input: Uint8Array, dependsOn: readonly JobRow[] = []): JobRow {
    const { table } = this.deps;
    const wait = this.#firstWait(job.dueAtMs, dependsOn.some(({ state }) => state !== "completed"));
    const row = table.insert(newRow(job, wait, this.deps.nowMs()), input);
    for (const { seq } of dependsOn) table.depend(row.seq, seq);
    this.budget.spend(dependsOn.length);
    this.budget.spend();
    this.deps.waiting.entered(row.actor);
    this.#enter(row);
    this.#stage("JOB_QUEUED", row, "null", true);
    const lost = dependsOn.find(({ state }) => isLost(state));
    return lost === undefined ? row : this.#failDependent(row, lost.id);
  }

  /** Its attempt may begin when this is on disk. */
  claim(seq: number, lease: Lease, terms: Pick<JobRow, "isIdempotent" | "policy">): JobRow {
    const row = this.#get(seq);
    const next: JobRow = {
      ...row,
      state: transition(row.state, "claim"),
      wait: null,
      attempt: row.attempt + 1,
      leaseToken: lease.token,
      leaseLife: lease.life,
      ...terms,
      progress: 0,
      note: null,
      startedAtMs: this.deps.nowMs(),
    };
    this.deps.waiting.left(row.actor);
    this.#leave(row);
    this.deps.lanes.began(row, row.concurrencyKey);
    this.#save(next, row);
    if (!this.#givenBack.has(seq)) this.#stage("JOB_STARTED", next);
    this.#unpark(row);
    return next;
  }

  /** A running pipeline of a life before this one is taken over. */
  adopt(seq: number, leaseOf: (row: JobRow) => Lease): JobRow {
    const row = this.#get(seq);
    const lease = leaseOf(row);
    const next = { ...row, leaseToken: lease.token, leaseLife: lease.life };
    this.deps.lanes.began(row, row.concurrencyKey);
    this.#save(next, row);
    return next;
  }

  /** Throws LeaseLostError unless `lease` holds it. */
  held(seq: number, lease: Lease): JobRow {
    const row = this.deps.table.get(seq);
    if (row === undefined) throw new LeaseLostError(`Cannot settle job "${lease.jobId}": it was deleted`);
    checkLeaseHeld(row, lease);
    return row;
  }

  complete(row: JobRow, output: Uint8Array, outputSha256: string): JobRow {
    const next = this.#ended(row, "complete", {
      progress: 1,
      errorCode: null,
      errorMessage: null,
      outputSha256,
    });
    this.#save(next, row, output);
    this.#stage("JOB_COMPLETED", next, output.length <= outputCharsInEvent ? decoder.decode(output) : "null");
    this.#release(row);
    this.#end(next);
    return next;
  }

  fail(row: JobRow, code: ProblemCode, message: string): JobRow {
    const next = this.#ended(row, "fail", {
      errorCode: code,
      errorMessage: message,
      failures: row.failures + Number(row.state === "running"),
    });
    this.#save(next, row);
    this.#stage("JOB_FAILED", next);
    this.#release(row);
    this.#end(next);
    return next;
  }

  cancel(row: JobRow): JobRow {
    const next = this.#ended(row, "cancel", { cancelRequested: true });
    this.#save(next, row);
    this.#stage("JOB_CANCELLED", next);
    this.#release(row);
    this.#end(next);
    return next;
  }

  /** Another attempt will be made. */
  again(
    row: JobRow,
    problem: { code: ProblemCode; message: string },
    { delayMs, cost }: { delayMs: number; cost: "failure" | "interruption" | "none" },
  ): JobRow {
    return this.#back(row, "again", delayMs, {
      errorCode: problem.code,
      errorMessage: problem.message,
      // It has begun: its time cannot be over any more.
      expiresAtMs: null,
      failures: row.failures + Number(cost === "failure"),
      interruptions: row.interruptions + Number(cost === "interruption"),
    });
  }

  /**
   * The attempt has not begun, and does not count. Nothing is told: the next one has the same number, and a job that
   * is refused again and again would tell without an end.
   */
  giveBack(row: JobRow): JobRow {
    this.#givenBack.add(row.seq);
    return this.#back(row, "release", 0, { attempt: row.attempt - 1 });
  }

  /** Pending jobs end at once; one that runs is told. */
  requestCancel(row: JobRow): JobRow {
    if (isOver(row.state) || row.cancelRequested) return row;
    if (row.state === "pending") return this.cancel(row);
    const next = { ...row, cancelRequested: true };
    this.#save(next, row);
    if (row.kind === "pipeline") this.touchParent(row.seq);
    else this.#changes.cancelled.push(row.seq);
    return next;
  }

  redrive(row: JobRow): JobRow {
    const unmet = this.deps.table.unmet(row.seq);
    const next: JobRow = {
      ...row,
      state: transition(row.state, "redrive"),
      wait: this.#firstWait(null, unmet !== undefined),
      ...{ dueAtMs: null, expiresAtMs: null, failures: 0, interruptions: 0 },
      ...{ cancelRequested: false, progress: 0, note: null, endedAtMs: null },
    };
    this.deps.waiting.entered(row.actor);
    this.#save(next, row);
    this.#enter(next);
    this.#stage("JOB_QUEUED", next);
    if (row.parent === null) this.#endedChange--;
    return unmet !== undefined && isLost(unmet.state) ? this.#failDependent(next, unmet.id) : next;
  }

  /** Moves those whose time has come into line, and ends those whose time is over. True if there may be more. */
  sweep(): boolean {
    const { table } = this.deps;
    const nowMs = this.deps.nowMs();
    const limit = Math.max(1, this.budget.left >> 2);
    const expired = table.expired(nowMs, limit);
    for (const seq of expired) {
      // What ended before it in this loop may have taken it along.
      const row = this.#get(seq);
      if (row.state !== "pending") continue;
      this.fail(row, "JOB_EXPIRED", `Cannot run job "${row.id}": it had not begun when its time was over`);
    }
    const due = table.due(nowMs, limit);
    for (const seq of due) this.#await(this.#get(seq), "turn");
    return expired.length === limit || due.length === limit;
  }

  /** Follows ends of jobs to those that depend on them; leaves `kept` of the budget. True if there is more. */
  follow(kept: number): boolean {
    this.#dependents.follow(kept);
    return this.#dependents.hasMore;
  }

  /** Jobs wait for one that has ended, and have not been told. */
  get hasEnds(): boolean {
    return this.#dependents.hasMore;
  }

  /** The first in line waits for its key. */
  park(seq: number): void {
    this.#await(this.#get(seq), "key");
  }

  #back(row: JobRow, change: "again" | "release", delayMs: number, patch: Partial<JobRow>): JobRow {
    const dueAtMs = delayMs === 0 ? row.dueAtMs : this.deps.nowMs() + delayMs;
    const next: JobRow = {
      ...row,
      ...patch,
      state: transition(row.state, change),
      wait: delayMs === 0 ? "turn" : "time",
      ...{ dueAtMs, leaseLife: null, isIdempotent: false, policy: null },
    };
    this.#save(next, row);
    this.deps.waiting.entered(row.actor);
    this.#release(row);
    this.#enter(next);
    if (change === "again") this.#stage("JOB_FAILED", next);
    return next;
  }

  #ended(row: JobRow, change: "complete" | "fail" | "cancel", patch: Partial<JobRow>): JobRow {
    return {
      ...row,
      ...patch,
      state: transition(row.state, change),
      ...{ wait: null, leaseLife: null, isIdempotent: false, policy: null },
      endedAtMs: this.deps.nowMs(),
      untold: row.untold | untoldEnded,
    };
  }

  /** It neither waits nor runs any more as `row` says. */
  #release(row: JobRow): void {
    if (row.state === "pending") {
      this.deps.waiting.left(row.actor);
      this.#leave(row);
    } else this.deps.lanes.ended(row, row.concurrencyKey);
    this.#unpark(row);
  }

  /**
   * A job with this key runs, or neither runs nor waits any more: the first that is parked goes back into line if it
   * has room. So whenever one is parked, another with its key runs or is in line, and will come by here.
   */
  #unpark({ plugin, action, concurrencyKey }: JobRow): void {
    const { table, lanes } = this.deps;
    if (plugin === null || action === null || concurrencyKey === null) return;
    const next = table.headOfKey(plugin, action, concurrencyKey);
    if (next === undefined) return;
    const row = this.#get(next);
    const running = lanes.runningOfKey(row, concurrencyKey);
    if (running < (row.concurrencyMax ?? 1)) this.#await(row, "turn");
  }

  /** What follows from it comes later. */
  #end(row: JobRow): void {
    this.#dependents.ended(row.seq);
    if (row.parent === null) this.#endedChange++;
    else this.touchParent(row.parent, row);
  }

  #failDependent(row: JobRow, lostId: string): JobRow {
    const state = `job "${lostId}", which it depends on, did not complete`;
    return this.fail(row, "DEPENDENCY_FAILED", `Cannot run job "${row.id}": ${state}`);
  }

  #firstWait(dueAtMs: number | null, isBlocked: boolean): JobWait {
    if (isBlocked) return "jobs";
    return dueAtMs !== null && dueAtMs > this.deps.nowMs() ? "time" : "turn";
  }

  /** A pending job waits for something else now. */
  #await(row: JobRow, wait: JobWait): void {
    const next = { ...row, wait };
    this.#leave(row);
    this.#save(next, row);
    this.#enter(next);
  }

  #enter(row: JobRow): void {
    if (row.wait === "turn") this.deps.lanes.entered(row, row);
  }

  #leave(row: JobRow): void {
    if (row.wait === "turn") this.deps.lanes.left(row);
  }

  #save(row: JobRow, before: JobRow, output?: Uint8Array): void {
    this.budget.spend();
    this.deps.table.save(row, { before, output });
  }

  #stage(type: JobEventType, row: JobRow, output = "null", isNew = false): void {
    if (type !== "JOB_STARTED") this.#givenBack.delete(row.seq);
    this.deps.events.stage(row.seq, type, jsonWithOutput(viewJob(row, this.deps.table), output));
    this.#changes.events.push({ type, row, isNew });
  }

  #get(seq: number): JobRow {
    const row = this.deps.table.get(seq);
    if (row === undefined) throw new TypeError(`Cannot change job ${seq}: there is none`);
    return row;
  }
}

function noChanges(): Changes {
  return { events: [], cancelled: [] };
}
