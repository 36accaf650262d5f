/**
 * The jobs of a kernel, composed: store, queue, dispatcher, events, pipelines, schedules.
 *
 * Start: what the last life left is settled (`recover_jobs.ts`), the entries that it owed are written, and then jobs
 * are claimed. Every change of a job's state goes through one write group, whose commits also claim.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { JobEventType } from "../../schemas/event.ts";
import type { Clock } from "../../sandbox/clock.ts";
import type { Feed } from "../bus/feed.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Call, CallResult, CallTerms } from "../router/call.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsStore } from "../store/jobs_store.ts";
import { acceptJobs, askedOf } from "./accept_jobs.ts";
import { Dispatcher } from "./dispatcher.ts";
import { JobEvents } from "./job_events.ts";
import type { JobTraces } from "./job_traces.ts";
import { factOf } from "./job_view.ts";
import { JobsService } from "./jobs_service.ts";
import { Lanes } from "./lanes.ts";
import { Pipelines } from "./pipelines.ts";
import { Queue } from "./queue.ts";
import { recoverJobs, tellOwed } from "./recover_jobs.ts";
import { Retention } from "./retention.ts";
import { RetryDues } from "./retry_dues.ts";
import { Schedules } from "./schedules.ts";
import { Teller } from "./teller.ts";
import { isOver } from "./transition.ts";
import { WaitingCounts } from "./waiting_counts.ts";
import { rowsPerCommit } from "./work_budget.ts";
import { WriteGroup } from "./write_group.ts";

export interface JobsDeps {
  readonly config: Config["jobs"];
  /** Largest input of a pipeline's step, and output of a pipeline. */
  readonly inputBytesMax: number;
  readonly store: JobsStore;
  readonly ledger: Pick<Ledger, "append" | "checkpointBase64">;
  readonly router: {
    invoke(call: Call): Promise<CallResult>;
    check(plugin: string, action: string): CallTerms;
    /** Throws where there is no such plugin or action, or its package was rejected. */
    describe(plugin: string, action: string): unknown;
  };
  readonly feed: Pick<Feed, "publish">;
  readonly metrics: Pick<Metrics, "jobEnded" | "jobsNow" | "jobsCommitted">;
  readonly traces: JobTraces;
  /** Names this life of the kernel. */
  readonly life: string;
  /** `id@version`, as it stands in the ledger; "" where it is not known. */
  nameOf(plugin: string): string;
  /** Whether the token behind an actor still counts. */
  isActive(actor: string): boolean;
  newId(): string;
  nowMs(): number;
  random(): number;
  /** Timers, and a clock that only runs forward. */
  readonly clock: Clock;
  defer(work: () => void): void;
  track(work: Promise<unknown>): void;
  warn(message: string): void;
  fatal(error: Error): void;
}

/** What a kernel holds. */
export interface JobsParts {
  readonly service: JobsService;
  /** The plugin may take calls again. */
  pluginChanged(plugin: string): void;
  /** Claims nothing more; what runs goes on. */
  close(): void;
  /** Resolves when nothing runs, and all that came of it is on disk and in the ledger. */
  settled(): Promise<void>;
}

/** Longest time between two looks at what waits for the time; a clock that was set makes a shorter one wrong. */
const lookMsMax = 60_000;
const sweepIntervalMs = 60_000;
const sweepIntervalMsMin = 500;
const changesMax = 100_000;
/** Of `jobs.bytesMax`: up to here tokens are kept, and above it no jobs are accepted. */
const eventsReserve = 1.25;
const tailBytesMax = 33_554_432;

/** Resolves when what the last life left is settled, and in the ledger. */
export async function createJobs(deps: JobsDeps): Promise<JobsParts> {
  const engine = new JobsEngine(deps);
  await engine.start();
  return engine;
}

class JobsEngine implements JobsParts {
  readonly service: JobsService;
  readonly #lanes: Lanes;
  readonly #events: JobEvents;
  readonly #queue: Queue;
  readonly #teller: Teller;
  readonly #pipelines: Pipelines;
  readonly #group: WriteGroup;
  readonly #dispatcher: Dispatcher;
  readonly #schedules: Schedules;
  readonly #retryDues: RetryDues;
  readonly #retention: Retention;
  /** In the transaction that is being committed. */
  #marks = 0;
  /** What cancels each timer. */
  readonly #timers = new Map<string, () => void>();

  constructor(private readonly deps: JobsDeps) {
    const { config, store, clock, nowMs, defer, fatal, track } = deps;
    const table = store.jobs;
    const lanes = new Lanes(({ plugin, action }) => table.head(plugin, action), table.lanes());
    const events = createEvents(deps);
    const queue = new Queue({ table, lanes, events, nowMs, waiting: new WaitingCounts(table.waiting()) });
    this.#teller = new Teller({
      ...{ ledger: deps.ledger, table, nameOf: deps.nameOf, defer, track, fatal },
      light: { transact: store.light.transact, table: store.light.jobs },
      pause: (ms) => new Promise((resolve) => clock.setTimer(() => resolve(), ms)),
    });
    const { inputBytesMax: bytesMax } = deps;
    this.#pipelines = new Pipelines({
      ...{ table, queue, events, config, newId: deps.newId, nowMs, hasRoom: () => hasRoom(deps) },
      limits: { inputBytesMax: bytesMax, outputBytesMax: bytesMax, batchBytesMax: bytesMax },
    });
    const group = new WriteGroup({
      ...{ transact: store.transact, defer, fatal, changesMax },
      conclude: () => this.#conclude(),
      committed: () => this.#committed(),
      isFull: () => queue.budget.isSpent,
    });
    const dispatcher = new Dispatcher({
      ...{ table, queue, lanes, group, events, config, router: deps.router, life: deps.life },
      ...{ nowMs, monotonicMs: () => clock.nowMs(), random: deps.random, track, warn: deps.warn },
      isActive: deps.isActive,
      preceded: (seq) => this.#teller.preceded(seq),
      progressed: (row) => this.#publish("JOB_PROGRESS", row),
      pipelineBegan: (row) => this.#pipelines.began(row),
    });
    const { backoffMaxMs } = config;
    this.#retryDues = new RetryDues({
      ...{ table, budget: queue.budget, backoffMaxMs, nowMs, monotonicMs: () => clock.nowMs() },
    });
    this.#retention = new Retention({ table, ended: store.ended, queue, events, config, nowMs });
    this.#schedules = createSchedules(deps, queue, group);
    const [teller, schedules] = [this.#teller, this.#schedules];
    this.service = new JobsService({
      ...{ ...deps, table, events, queue, group, dispatcher, teller, schedules },
    });
    [this.#lanes, this.#events, this.#queue] = [lanes, events, queue];
    [this.#group, this.#dispatcher] = [group, dispatcher];
  }

  async start(): Promise<void> {
    const { deps } = this;
    const { config, store: { jobs: table, transact }, traces, track } = deps;
    const [queue, events] = [this.#queue, this.#events];
    const adopted = recoverJobs({ ...deps, table, transact, queue, lanes: this.#lanes, events });
    // Their entries are owed, like all others that the last life had no time for.
    for (const { type, row } of queue.takeChanges().events) {
      this.#publish(type, row);
      if (isOver(row.state)) deps.metrics.jobEnded({ plugin: row.plugin, state: row.state });
    }
    await tellOwed({ table, teller: this.#teller, traces });
    await this.#group.run(() => {
      for (const seq of adopted) {
        queue.adopt(seq, (row) => this.#dispatcher.leasePipeline(row));
        queue.touchParent(seq);
      }
    });
    await this.#schedules.start();
    this.#every("leases", config.leaseMs, () => this.#dispatcher.expireLeases());
    const sweepMs = Math.min(sweepIntervalMs, Math.max(sweepIntervalMsMin, config.retentionMs));
    this.#every("retention", sweepMs, () => track(this.#deleteOld()));
  }

  pluginChanged(plugin: string): void {
    this.#lanes.unhold(plugin);
    this.#group.poke();
  }

  close(): void {
    this.#dispatcher.close();
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  async settled(): Promise<void> {
    await this.#schedules.close();
    await this.#dispatcher.settled();
    await this.#group.close();
    await this.#teller.settled();
    this.close();
    this.#events.close();
  }

  /** Inside the transaction: what follows from its changes, and from those before it. */
  #conclude(): void {
    const [queue, pipelines] = [this.#queue, this.#pipelines];
    // However much was asked for, something is done of what follows.
    queue.budget.renew();
    let hasMore = this.#retryDues.follow();
    hasMore = queue.sweep() || hasMore;
    do {
      // The pipelines have a part of each budget for themselves.
      hasMore = queue.follow(rowsPerCommit >> 2) || hasMore;
      hasMore = pipelines.advance() || hasMore;
      this.#dispatcher.claim();
      // A claim may have ended jobs, whose plugin is gone, and begun pipelines.
    } while (!hasMore && !queue.budget.isSpent && (queue.hasEnds || queue.hasParents));
    if (hasMore || queue.hasEnds || queue.hasParents) this.#group.poke();
    this.#marks = this.#teller.writeMarks(this.deps.store.jobs);
    this.#events.write();
  }

  #committed(): void {
    this.#events.published();
    const { events, cancelled } = this.#queue.takeChanges();
    // One that changed nothing is no matter for the disk.
    if (events.length + this.#marks > 0) this.deps.metrics.jobsCommitted();
    const last = new Map<number, JobRow>();
    for (const { type, row, isNew } of events) {
      this.#publish(type, row);
      if (isNew) this.#teller.tell(row, "enqueued");
      last.set(row.seq, row);
    }
    for (const row of last.values()) {
      if (!isOver(row.state)) continue;
      this.deps.metrics.jobEnded({ plugin: row.plugin, state: row.state });
      this.#events.ended(row.seq);
      this.#events.forget(row.seq);
      this.#teller.tell(row, "ended");
      this.service.ended(row.seq);
    }
    for (const seq of cancelled) this.#dispatcher.stop(seq);
    this.#dispatcher.begin();
    this.deps.metrics.jobsNow({ waiting: this.#queue.waiting.all, running: this.#lanes.running });
    this.#setLook();
  }

  #publish(type: JobEventType, row: JobRow): void {
    if (type !== "JOB_TOKEN") this.deps.feed.publish(type, factOf(row, this.deps.store.jobs));
  }

  /** Looks again when the next job is due, or expires, or its plugin may take calls. */
  #setLook(): void {
    const { store: { jobs: table }, clock, nowMs } = this.deps;
    const wallMs = Math.min(table.nextDueMs() ?? Infinity, table.nextExpiryMs() ?? Infinity) - nowMs();
    const waitMs = Math.min(wallMs, this.#dispatcher.heldUntilMs() - clock.nowMs());
    if (waitMs === Infinity) return this.#setTimer("look", undefined);
    const look = () => this.#group.poke();
    this.#setTimer("look", clock.setTimer(look, Math.max(1, Math.min(waitMs, lookMsMax))));
  }

  #setTimer(name: string, cancel: (() => void) | undefined): void {
    this.#timers.get(name)?.();
    if (cancel === undefined) this.#timers.delete(name);
    else this.#timers.set(name, cancel);
  }

  #every(name: string, ms: number, work: () => void): void {
    const arm = () => this.#setTimer(name, this.deps.clock.setTimer(fire, ms));
    const fire = () => {
      arm();
      work();
    };
    arm();
  }

  async #deleteOld(): Promise<void> {
    while (await this.#group.run(() => this.#retention.deleteSome()));
  }
}

function createSchedules(deps: JobsDeps, queue: Queue, group: WriteGroup): Schedules {
  const { store, newId, nowMs, config } = deps;
  return new Schedules({
    ...{ ...deps, table: store.schedules, timers: deps.clock, schedulesMax: config.schedulesMax },
    describe: (plugin, action) => deps.router.describe(plugin, action),
    transact: (work) => group.run(work),
    insertJob: (request, { actor, schedule }) => {
      const accepting = { ...config, table: store.jobs, queue, newId, nowMs, bytes: () => store.bytes() };
      const [accepted] = acceptJobs([askedOf(request, actor, schedule)], accepting);
      if (accepted === undefined) throw new TypeError("Cannot insert a job: none was accepted");
      return accepted.row.id;
    },
  });
}

function createEvents({ config, store, clock, defer, fatal }: JobsDeps): JobEvents {
  const { jobs, light } = store;
  return new JobEvents({
    ...{ table: store.events, logs: store.logs },
    ...{ light: light.transact, lightTable: light.events, lightLogs: light.logs },
    ...{ eventsBytesMax: config.eventsBytesMax, logBytesMax: config.logBytesMax, tailBytesMax },
    // What was accepted has a reserve: who fills the file with jobs does not end those of others.
    ...{ clock, defer, fatal, hasRoom: () => store.bytes() <= config.bytesMax * eventsReserve },
    isOver: (seq) => isOver(jobs.state(seq) ?? "cancelled"),
  });
}

/** Above its limit the file gets no new jobs from anybody, nor what jobs say; what they end with it gets. */
function hasRoom({ store, config }: Pick<JobsDeps, "store" | "config">): boolean {
  return store.bytes() <= config.bytesMax;
}
