/**
 * The service of jobs: what callers ask, answered from the queue and its store.
 *
 * A change is answered when it is on disk and its entry in the ledger.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type {
  JobLogLine,
  JobRequest,
  JobView,
  Redrive,
  ScheduleRequest,
  ScheduleView,
} from "../../schemas/job.ts";
import { type PipelineRequest, pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Clock } from "../../sandbox/clock.ts";
import type { EventCursor } from "../bus/event_cursor.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { type JobRow, untoldEnded } from "../store/job_row.ts";
import type { JobsStore } from "../store/jobs_store.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import { acceptJobs, type Asked, askedOf, hashOf } from "./accept_jobs.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { JobEvents } from "./job_events.ts";
import { mayRead, viewJob, withoutContents } from "./job_view.ts";
import type { Jobs, JobsQuery, Reader, Recorded, SchedulesPage, ShownJob } from "./jobs.ts";
import { compilePlan } from "./pipeline/compile_plan.ts";
import { planSha256 } from "./pipeline/plan_hash.ts";
import { storedPlan } from "./pipelines.ts";
import type { Queue } from "./queue.ts";
import type { Schedules } from "./schedules.ts";
import type { Teller } from "./teller.ts";
import { isLost, isOver } from "./transition.ts";
import type { WriteGroup } from "./write_group.ts";

export interface JobsServiceDeps {
  readonly config: Config["jobs"];
  readonly store: Pick<JobsStore, "list" | "bytes" | "logs">;
  readonly ledger: Pick<Ledger, "append" | "checkpointBase64">;
  readonly router: { describe(plugin: string, action: string): unknown };
  readonly table: JobsTable;
  readonly events: Pick<JobEvents, "watch">;
  readonly queue: Queue;
  readonly teller: Teller;
  readonly group: Pick<WriteGroup, "run">;
  readonly dispatcher: Pick<Dispatcher, "saidBy">;
  readonly schedules: Pick<Schedules, "create" | "list" | "delete">;
  readonly clock: Clock;
  nameOf(plugin: string): string;
  newId(): string;
  nowMs(): number;
}

const childrenPage = 1_000;
/** Beside the grace: for the cell to be killed, and its end to be written. */
const cancelSlackMs = 10_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class JobsService implements Jobs {
  /** Who waits for the end of a job. */
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();

  /** Jobs that somebody is redriving. */
  readonly #ordered = new Set<number>();

  constructor(private readonly deps: JobsServiceDeps) {}

  /** The job has ended, and its entry is on its way. */
  ended(seq: number): void {
    const waiting = this.#waiting.get(seq);
    if (waiting === undefined) return;
    this.#waiting.delete(seq);
    const done = () => waiting.resolve();
    this.#told(seq).then(done, done);
  }

  async enqueue(requests: readonly JobRequest[], actor: string): Promise<Recorded<ShownJob[]>> {
    for (const { plugin, action } of requests) this.deps.router.describe(plugin, action);
    return await this.#accept(requests.map((request) => askedOf(request, actor)));
  }

  async enqueuePipeline(request: PipelineRequest, actor: string): Promise<Recorded<ShownJob>> {
    const { nodes } = compilePlan(request, { depthMax: this.deps.config.pipelineDepthMax });
    for (const { plugin, action } of nodes) this.deps.router.describe(plugin, action);
    const { idempotencyKey, priority, runAt, delayMs, ttlMs } = request;
    const { value: [shown], checkpoint } = await this.#accept([{
      job: {
        ...{ kind: "pipeline", plugin: null, action: null, actor, parent: null, step: null, schedule: null },
        ...{ idempotencyKey, priority, deadlineMs: null, retry: null },
        requestSha256: hashOf(pipelineRequestSchema, request),
        ...{ concurrencyKey: null, concurrencyMax: null, planSha256: planSha256(request) },
      },
      input: encoder.encode(storedPlan(request)),
      dependsOn: [],
      ...{ runAt, delayMs, ttlMs },
    }]);
    if (shown === undefined) throw new TypeError("Cannot accept a pipeline: nothing was inserted");
    return { value: shown, checkpoint };
  }

  async get(id: string, reader: Reader): Promise<ShownJob> {
    const { seq } = this.#find(id);
    await this.#told(seq);
    return this.#view(this.#find(id), reader);
  }

  list({ state, plugin, parent, after, limit }: JobsQuery, reader: Reader) {
    const above = parent === undefined ? undefined : this.#find(parent).seq;
    const { rows, next } = this.deps.store.list({ state, plugin, parent: above, after, limit });
    return { items: rows.map((row) => this.#shown(row, reader)), next };
  }

  async cancel(id: string, actor: string, reader: Reader): Promise<Recorded<ShownJob>> {
    const { queue, group, config, clock } = this.deps;
    const { seq, state } = this.#mayChange(id, reader);
    if (!isOver(state)) {
      await this.#order(this.#find(id), "cancel", actor);
      await group.run(() => void queue.requestCancel(this.#find(id)));
      if (!isOver(this.#find(id).state)) {
        const ended = this.#waiting.getOrInsertComputed(seq, () => Promise.withResolvers<void>());
        const { promise: over, resolve } = Promise.withResolvers<void>();
        const cancelTimer = clock.setTimer(resolve, config.cancelGraceMs + cancelSlackMs);
        await Promise.race([ended.promise, over]);
        cancelTimer();
      }
      await this.#told(seq);
    }
    return { value: this.#view(this.#find(id), reader), checkpoint: this.deps.ledger.checkpointBase64() };
  }

  async retry(id: string, actor: string, reader: Reader): Promise<Recorded<ShownJob>> {
    const { seq } = this.#mayChange(id, reader);
    checkRedrivable(this.#find(id));
    if (this.#ordered.has(seq)) {
      throw new ProblemError("CONFLICT", `Cannot try job "${id}" again: somebody else is about to`);
    }
    return await this.#ordering([seq], async () => {
      await this.#settleEnds([seq]);
      const { checkpoint } = await this.#order(this.#find(id), "retry", actor);
      await this.#redrive([seq]);
      return { value: this.#view(this.#find(id), reader), checkpoint };
    });
  }

  async redrive({ limit, ...filter }: Redrive, actor: string): Promise<Recorded<{ jobs: string[] }>> {
    const rows = this.deps.table.failed(filter, limit).filter(({ seq }) => !this.#ordered.has(seq));
    const seqs = rows.map(({ seq }) => seq);
    return await this.#ordering(seqs, async () => {
      await this.#settleEnds(seqs);
      await Promise.all(rows.map((row) => this.#order(row, "retry", actor)));
      const jobs = await this.#redrive(seqs);
      return { value: { jobs }, checkpoint: this.deps.ledger.checkpointBase64() };
    });
  }

  watch(id: string, after: number, reader: Reader): EventCursor {
    return this.deps.events.watch(this.#mayRead(id, reader).seq, after);
  }

  logs(
    id: string,
    { after = 0, limit }: { after?: number | undefined; limit: number },
    reader: Reader,
  ): JobLogLine[] {
    return this.deps.store.logs.list(this.#mayRead(id, reader).seq, after, limit)
      .map(({ seq, atMs, attempt, level, text }) => ({
        ...{ seq, at: new Date(atMs).toISOString(), attempt, level, text },
      }));
  }

  async createSchedule(request: ScheduleRequest, actor: string): Promise<Recorded<ScheduleView>> {
    return await this.deps.schedules.create(request, actor);
  }

  listSchedules(page: { after?: string | undefined; limit: number }, reader: Reader): SchedulesPage {
    return this.deps.schedules.list(page, reader);
  }

  async deleteSchedule(id: string, actor: string): Promise<Recorded<null>> {
    return await this.deps.schedules.delete(id, actor);
  }

  async #accept(asked: readonly Asked[]): Promise<Recorded<ShownJob[]>> {
    const { config, store, group, teller, ledger, table } = this.deps;
    const deps = { ...this.deps, ...config, bytes: () => store.bytes() };
    const accepted = await group.run(() => acceptJobs(asked, deps));
    await Promise.all(accepted.flatMap(({ row, isRepeated }) => [
      teller.pending(row.seq, "enqueued"),
      isRepeated && teller.pending(row.seq, "ended"),
    ]));
    // A key is its caller's own, and so is what came of it. Of many at once the outputs could fill the memory.
    const isAlone = accepted.length === 1;
    const value = accepted.map(({ row, isRepeated }) =>
      isRepeated && isAlone
        ? this.#view(row, { actor: row.actor, readsAll: false })
        : { view: viewJob(row, table), outputJson: null }
    );
    return { value, checkpoint: ledger.checkpointBase64() };
  }

  async #order(row: JobRow, verb: "cancel" | "retry", actor: string) {
    const plugin = row.plugin === null ? "" : this.deps.nameOf(row.plugin);
    return await this.deps.ledger.append({ type: "job.ordered", actor, plugin, data: { job: row.id, verb } });
  }

  /**
   * Nobody else redrives these meanwhile: an order that came after the end which another one led to would say of that
   * end that it was before.
   */
  async #ordering<T>(seqs: readonly number[], work: () => Promise<T>): Promise<T> {
    for (const seq of seqs) this.#ordered.add(seq);
    try {
      return await work();
    } finally {
      for (const seq of seqs) this.#ordered.delete(seq);
    }
  }

  /** The entries of their ends, and of what is below them, are in the ledger, and the rows say so, on disk. */
  async #settleEnds(seqs: readonly number[]): Promise<void> {
    const { table } = this.deps;
    const rows = seqs.flatMap((seq) => table.get(seq) ?? []);
    await this.#settle(rows);
    for (const { seq, kind } of rows) {
      if (kind !== "pipeline") continue;
      for (let after = "";;) {
        const page = table.lostChildren(seq, after, childrenPage);
        // A transaction for each page, so that others have their turn.
        await this.#settle(page);
        after = page.at(-1)?.step ?? after;
        if (page.length < childrenPage) break;
      }
    }
  }

  async #settle(rows: readonly JobRow[]): Promise<void> {
    const { table, queue, group, teller } = this.deps;
    const owed = rows.filter(({ untold }) => (untold & untoldEnded) !== 0);
    await Promise.all(owed.map(({ seq }) => this.#told(seq)));
    // A mark that comes late would say of the next end that it was told.
    teller.flush();
    await group.run(() => {
      queue.budget.spend(owed.length);
      for (const { seq, endedAtMs } of owed) {
        // It may have ended once more meanwhile: that end is still owed.
        const isSame = table.get(seq)?.endedAtMs === endedAtMs;
        if (isSame && teller.pending(seq, "ended") === undefined) table.clearUntold(seq, untoldEnded);
      }
    });
  }

  /** Ids of those that are pending again. Another may have redriven some meanwhile, and they may have ended again. */
  async #redrive(seqs: readonly number[]): Promise<string[]> {
    const { table, queue, group } = this.deps;
    return await group.run(() => {
      const ids: string[] = [];
      for (const seq of seqs) {
        const row = table.get(seq);
        const isSettled = row !== undefined && (row.untold & untoldEnded) === 0;
        if (isSettled && isRedrivable(row)) ids.push(queue.redrive(row).id);
      }
      return ids;
    });
  }

  /** Resolves when the entry of its end, if there is one, is in the ledger. */
  async #told(seq: number): Promise<void> {
    await this.deps.teller.pending(seq, "ended");
  }

  #find(id: string): JobRow {
    const row = this.deps.table.find(id);
    if (row === undefined) throw new ProblemError("JOB_NOT_FOUND", `Cannot find job "${id}": there is none`);
    return row;
  }

  #mayRead(id: string, reader: Reader): JobRow {
    const row = this.#find(id);
    if (mayRead(row, reader)) return row;
    const state = "it is another's, and only an operator may read those";
    throw new ProblemError("FORBIDDEN", `Cannot read job "${id}": ${state}`);
  }

  #mayChange(id: string, reader: Reader): JobRow {
    const row = this.#find(id);
    if (mayRead(row, reader)) return row;
    const state = "it is another's, and only an operator may change those";
    throw new ProblemError("FORBIDDEN", `Cannot change job "${id}": ${state}`);
  }

  /** With its output. */
  #view(row: JobRow, reader: Reader): ShownJob {
    const view = this.#shown(row, reader);
    const isShown = row.state === "completed" && mayRead(row, reader);
    const output = isShown ? this.deps.table.output(row.seq) : undefined;
    return { view, outputJson: output === undefined ? null : decoder.decode(output) };
  }

  #shown(row: JobRow, reader: Reader): JobView {
    const said = this.deps.dispatcher.saidBy(row.seq);
    const { progress, note } = said ?? row;
    const view = viewJob({ ...row, progress, note }, this.deps.table);
    return mayRead(row, reader) ? view : withoutContents(view);
  }
}

const isRedrivable = (row: JobRow) => isLost(row.state) && row.parent === null;

function checkRedrivable(row: JobRow): void {
  if (isRedrivable(row)) return;
  const state = row.parent === null ? `it is ${row.state}` : "it is a part of a pipeline; try that again";
  throw new ProblemError("CONFLICT", `Cannot try job "${row.id}" again: ${state}`);
}
