/**
 * The dispatcher runs jobs: it claims those whose turn it is, makes their calls, and settles what comes of them.
 *
 * A claim is a part of the write group that is being committed, so that what frees a place and what takes it cost
 * one sync. A call begins after its claim is on disk. An outcome counts only under the lease of its attempt.
 *
 * A job is not claimed while its plugin would refuse it: its lane is held for a while, and the job waits at no cost.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import { type JobRetry, jobRetrySchema } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { CallTerms } from "../router/call.ts";
import type { JobRow } from "../store/job_row.ts";
import type { Head, JobsTable } from "../store/jobs_table.ts";
import { Attempt, type AttemptDeps, type AttemptEnd } from "./attempt.ts";
import { comesBefore, type Lane, type Lanes } from "./lanes.ts";
import { acquireLease, isExpired, type Lease, LeaseLostError } from "./lease.ts";
import type { Queue } from "./queue.ts";
import { decideRetry, isInterruption, isWorthWaiting } from "./retry_policy.ts";
import type { WriteGroup } from "./write_group.ts";

export interface DispatcherDeps extends AttemptDeps {
  readonly table: Pick<JobsTable, "get" | "input">;
  readonly queue: Queue;
  readonly lanes: Lanes;
  readonly group: Pick<WriteGroup, "run" | "poke">;
  readonly router: AttemptDeps["router"] & { check(plugin: string, action: string): CallTerms };
  /** Of the kernel. */
  readonly life: string;
  readonly config: Config["jobs"];
  random(): number;
  track(work: Promise<unknown>): void;
  warn(message: string): void;
  /** Whether the token behind an actor still counts. */
  isActive(actor: string): boolean;
  /** Resolves when a call's entries will stand after the job's own in the ledger. */
  preceded(seq: number): Promise<void>;
  /** A pipeline was claimed. */
  pipelineBegan(row: JobRow): void;
}

/** Jobs that are claimed, parked or refused in one transaction. */
const claimsMax = 256;
const messageCharsMax = 4_096;

export class Dispatcher {
  readonly #attempts = new Map<number, Attempt>();
  readonly #ending = new Set<Promise<void>>();
  #claimed: Attempt[] = [];
  /** Actors of one round of claims: whether they still count. */
  readonly #active = new Map<string, boolean>();
  #isDraining = false;

  constructor(private readonly deps: DispatcherDeps) {}

  /** Claims what there is room for; inside a transaction. */
  claim(): void {
    if (this.#isDraining) return;
    this.#active.clear();
    for (let claims = 0; claims < claimsMax; claims++) {
      const next = this.#next();
      if (next === undefined) return;
      this.#take(next.lane, next.head);
    }
    this.deps.group.poke();
  }

  /** Begins what was claimed; after the commit. */
  begin(): void {
    for (const attempt of this.#claimed.splice(0)) {
      const ending = this.#run(attempt).finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
      this.deps.track(ending);
    }
  }

  /** Tells the attempt of a job to stop; nothing if it does not run. */
  stop(seq: number): void {
    this.#attempts.get(seq)?.stop();
  }

  /** What a running job said last. */
  saidBy(seq: number): Pick<Attempt, "progress" | "note"> | undefined {
    return this.#attempts.get(seq);
  }

  /** Takes back the jobs of attempts that should long be over. */
  expireLeases(): void {
    const nowMs = this.deps.monotonicMs();
    for (const [seq, attempt] of this.#attempts) {
      if (!isExpired(attempt.lease, nowMs)) continue;
      this.#attempts.delete(seq);
      attempt.lose();
      const state = "its attempt did not end in the time that it had";
      const problem = new ProblemError("JOB_INTERRUPTED", `Cannot run job "${attempt.row.id}": ${state}`);
      this.deps.track(this.#settle(attempt, { problem }));
    }
  }

  /** When a lane that is held may go on; Infinity if none is. */
  heldUntilMs(): number {
    const nowMs = this.deps.monotonicMs();
    let untilMs = Infinity;
    for (const { waiting, heldUntilMs } of this.deps.lanes.all()) {
      if (waiting > 0 && heldUntilMs > nowMs) untilMs = Math.min(untilMs, heldUntilMs);
    }
    return untilMs;
  }

  /** The right to run a pipeline, in this life of the kernel. */
  leasePipeline(row: JobRow): Lease {
    return this.#leaseFor(row, Infinity);
  }

  /** Claims nothing more. */
  close(): void {
    this.#isDraining = true;
  }

  /** Resolves when nothing runs, and what came of it is on disk. */
  async settled(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  #next(): { lane: Lane; head: Head } | undefined {
    const { lanes, config } = this.deps;
    const isFull = lanes.running >= config.runningMax;
    const nowMs = this.deps.monotonicMs();
    let best: { lane: Lane; head: Head } | undefined;
    for (const lane of lanes.all()) {
      if (lane.waiting === 0 || lane.heldUntilMs > nowMs) continue;
      if (lane.plugin !== null && (isFull || lanes.runningOf(lane.plugin) >= config.perPluginMax)) continue;
      const head = lanes.head(lane);
      if (head === undefined || (best !== undefined && !comesBefore(head, best.head))) continue;
      if (this.#hasRoom(lane, nowMs)) best = { lane, head };
    }
    return best;
  }

  /** Whether the action has room; a lane whose plugin takes no calls is held. */
  #hasRoom(lane: Lane, nowMs: number): boolean {
    const { plugin, action } = lane;
    const { lanes, config, router } = this.deps;
    if (plugin === null || action === null) return lane.running < config.pipelinesMax;
    try {
      const { concurrency, isPerCall } = router.check(plugin, action);
      return (isPerCall ? lanes.runningOf(plugin) : lane.running) < concurrency;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      // What no waiting mends is told to each job, when it is taken.
      if (!isWorthWaiting(error.code)) return true;
      lane.heldUntilMs = nowMs + this.#pauseMs(error);
      return false;
    }
  }

  #pauseMs({ options }: ProblemError): number {
    return Math.max(this.deps.config.pauseMs, options.retryAfterMs ?? 0);
  }

  #take({ plugin, action }: Lane, { seq, concurrencyKey, concurrencyMax }: Head): void {
    const { queue, lanes, table, config } = this.deps;
    const row = table.get(seq);
    if (row === undefined) throw new TypeError(`Cannot claim job ${seq}: there is none`);
    if (!this.#active.getOrInsertComputed(row.actor, () => this.deps.isActive(row.actor))) {
      const state = "the token of whoever enqueued it was revoked";
      return void queue.fail(row, "FORBIDDEN", `Cannot run job "${row.id}": ${state}`);
    }
    if (plugin === null || action === null) {
      const claimed = queue.claim(seq, this.leasePipeline(row), { isIdempotent: true, policy: null });
      return this.deps.pipelineBegan(claimed);
    }
    if (concurrencyKey !== null && lanes.runningOfKey(row, concurrencyKey) >= (concurrencyMax ?? 1)) {
      return queue.park(seq);
    }
    let terms: CallTerms;
    try {
      terms = this.deps.router.check(plugin, action);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      return void queue.fail(row, error.code, clip(error.message));
    }
    // Beside its own time it may wait as long in the action's line, and then for its cell and the disk.
    const lease = this.#leaseFor(row, 2 * Math.min(terms.wallMs, config.deadlineMs) + config.leaseMs);
    const policy: JobRetry = row.retry ?? jobRetrySchema.parse(terms.retry ?? {});
    const claimed = queue.claim(seq, lease, { isIdempotent: terms.isIdempotent, policy });
    const attempt = new Attempt(claimed, lease, policy, this.deps);
    this.#attempts.set(seq, attempt);
    this.#claimed.push(attempt);
  }

  #leaseFor(row: JobRow, ttlMs: number): Lease {
    return acquireLease(row, { life: this.deps.life, nowMs: this.deps.monotonicMs(), ttlMs });
  }

  async #run(attempt: Attempt): Promise<void> {
    const { table, config } = this.deps;
    const { seq, deadlineMs } = attempt.row;
    await this.deps.preceded(seq);
    const input = table.input(seq) ?? new Uint8Array();
    const wallMsMax = Math.min(config.deadlineMs, deadlineMs ?? Infinity);
    const end = await attempt.run(input, { wallMsMax, cancelGraceMs: config.cancelGraceMs });
    await this.#settle(attempt, end);
  }

  async #settle(attempt: Attempt, end: AttemptEnd): Promise<void> {
    const { seq, id } = attempt.row;
    try {
      await this.deps.group.run(() => {
        if (this.#attempts.get(seq) === attempt) this.#attempts.delete(seq);
        const held = this.deps.queue.held(seq, attempt.lease);
        const row = { ...held, progress: attempt.progress, note: attempt.note };
        // What an action returns that was told to stop is what it had by then.
        if (row.cancelRequested) this.deps.queue.cancel(row);
        else if ("result" in end) this.deps.queue.complete(row, end.result.output, end.result.outputSha256);
        else this.#fail(attempt, row, end.problem);
      }, { isOwed: true });
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      this.deps.warn(`An outcome of job "${id}" came too late: ${error.message}`);
    }
  }

  #fail({ hasBegun, policy }: Attempt, row: JobRow, problem: ProblemError): void {
    const { queue, config } = this.deps;
    // Whatever the end of Airlock looks like from inside a call, the job is told the same as after a crash.
    const isCut = this.#isDraining && hasBegun && isInterruption(problem.code);
    const code = isCut ? "JOB_INTERRUPTED" : problem.code;
    const message = clip(isCut ? `Cannot run job "${row.id}": Airlock ended under it` : problem.message);
    const { isIdempotent, failures, interruptions } = row;
    const decision = decideRetry({ code, hasBegun, isIdempotent, failures, interruptions }, {
      policy,
      interruptionsMax: this.#isDraining ? Infinity : config.interruptionsMax,
      backoffMaxMs: config.backoffMaxMs,
      random: () => this.deps.random(),
    });
    switch (decision.next) {
      case "release":
        queue.giveBack(row);
        // What refused it now would refuse it again at once, as fast as the disk can write that.
        return this.deps.lanes.hold(row, this.deps.monotonicMs() + this.#pauseMs(problem));
      case "again": {
        // What the end of Airlock cuts short is made again by its next life, as if nothing had been.
        const isHandedOver = this.#isDraining && decision.cost === "interruption";
        return void queue.again(
          row,
          { code, message },
          isHandedOver ? { delayMs: 0, cost: "none" } : decision,
        );
      }
      case "fail":
        return void queue.fail(row, code, message);
    }
  }
}

function clip(message: string): string {
  return message.length <= messageCharsMax ? message : `${message.slice(0, messageCharsMax)}…`;
}
