/**
 * Schedules make a job for each time that a cron expression names.
 *
 * The job's row and the schedule's next time are one transaction: each time gives one job, however often the
 * kernel ends. Times that passed while Airlock was down, or over which the clock was set forward, give one job
 * together, at once. The next time only grows, so that a clock that is set back repeats none: nothing is due
 * until it has caught up.
 *
 * A time whose job cannot be accepted because too many wait is tried again until it can, and with it those of the same
 * maker, for whom there is a share of what may wait; nobody else's are held up by it. One whose plugin or action
 * is gone passes, with a warning. When the token of whoever made a schedule is revoked, the schedule ends at its
 * next time.
 *
 * What a crash leaves: a row without its `schedule.created`, or one that is going without its `schedule.deleted`.
 * The next start writes the entry, which may then stand twice, and goes on where it was; see the table.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { JobRequest, ScheduleRequest, ScheduleView } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Clock } from "../../sandbox/clock.ts";
import type { LedgerEventInput } from "../ledger/event.ts";
import type { ScheduleRow, SchedulesTable, ScheduleSummary } from "../store/schedules_table.ts";
import { parseCron } from "./cron.ts";
import type { Reader, Recorded, SchedulesPage } from "./jobs.ts";
import { checkDepth } from "./pipeline/input_template.ts";

export interface SchedulesDeps {
  readonly table: SchedulesTable;
  /** Runs `work` in a transaction; resolves when that is on disk. */
  transact<T>(work: () => T): Promise<T>;
  /** Inside a transaction. Returns the job's id; throws ProblemError before it has written anything. */
  insertJob(request: JobRequest, from: { actor: string; schedule: string }): string;
  readonly ledger: {
    /** Durable when it resolves. */
    append(
      event: LedgerEventInput<"schedule.created" | "schedule.deleted">,
    ): Promise<{ readonly checkpoint: string }>;
  };
  /** Throws ProblemError where there is no such plugin or action, or its package was rejected. */
  describe(plugin: string, action: string): unknown;
  /** `id@version`, as it stands in the ledger; "" where it is not known. */
  nameOf(plugin: string): string;
  /** Whether the token behind an actor still counts. */
  isActive(actor: string): boolean;
  /** A ULID. */
  newId(): string;
  nowMs(): number;
  readonly timers: Pick<Clock, "setTimer">;
  track(work: Promise<unknown>): void;
  warn(message: string): void;
  readonly schedulesMax: number;
}

/** Longest time between two looks: the clock may have been set meanwhile. */
const lookMsMax = 60_000;
/** After a time whose job could not be accepted. */
const pauseMs = 1_000;
/** Jobs that one transaction makes. */
const dueMax = 64;
/** Of a request: it stays, and is read whenever it is due. */
const requestBytesMax = 65_536;

const kernelActor = "kernel";

export class Schedules {
  #cancelTimer: () => void = () => {};
  #look: Promise<void> | undefined;
  #isOpen = false;

  constructor(private readonly deps: SchedulesDeps) {}

  /** Resolves when the entries are written that a crash left out; makes jobs from then on. */
  async start(): Promise<void> {
    const { table } = this.deps;
    for (const row of table.untold()) await this.#tellCreated(row);
    for (const row of table.going()) await this.#tellDeleted(row, kernelActor);
    this.#isOpen = true;
    this.#arm();
  }

  /** Makes no more jobs. Resolves when a look that is under way is over. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#cancelTimer();
    await this.#look;
  }

  /**
   * In force, and in the ledger, when it resolves. Rejects with ProblemError INPUT_INVALID, BODY_TOO_LARGE, what
   * `describe` throws, CONFLICT where there are too many.
   */
  async create(request: ScheduleRequest, actor: string): Promise<Recorded<ScheduleView>> {
    const { table, newId, nowMs, schedulesMax, transact } = this.deps;
    const { name, plugin, action, cron, timeZone } = request;
    this.deps.describe(plugin, action);
    const refuse = (code: "INPUT_INVALID" | "BODY_TOO_LARGE" | "CONFLICT", state: string, path?: string) =>
      new ProblemError(code, `Cannot create schedule "${name}": ${state}`, {
        errors: path === undefined ? [] : [{ path, message: state }],
      });
    // SQLite reads it as JSON, and not of any depth.
    checkDepth(request.input, "/input", ({ path, message }) => {
      throw refuse("INPUT_INVALID", `its input ${message}`, path);
    });
    if (Buffer.byteLength(JSON.stringify(request)) > requestBytesMax) {
      throw refuse("BODY_TOO_LARGE", `it is larger than ${requestBytesMax} bytes`);
    }
    const createdAtMs = nowMs();
    const nextAtMs = parseCron(cron, timeZone).nextAt(createdAtMs);
    if (nextAtMs === undefined) throw refuse("INPUT_INVALID", "it names no time", "/cron");
    const row = { id: newId(), actor, request, nextAtMs, lastAtMs: null, lastJob: null, createdAtMs };
    await transact(() => {
      if (table.count() >= schedulesMax) throw refuse("CONFLICT", `${schedulesMax} schedules exist`);
      table.insert(row);
    });
    const checkpoint = await this.#tellCreated(row);
    this.#arm();
    return { value: viewSchedule(row, { actor, readsAll: false }), checkpoint };
  }

  /** See `Jobs.listSchedules`. */
  list({ after = "", limit }: { after?: string | undefined; limit: number }, reader: Reader): SchedulesPage {
    const rows = this.deps.table.list(after, limit + 1);
    const items = rows.slice(0, limit).map((row) => viewSchedule(row, reader));
    return { items, next: rows.length > limit ? items.at(-1)?.id ?? null : null };
  }

  /** Makes no job from then on, and is in the ledger, when it resolves. Rejects with SCHEDULE_NOT_FOUND. */
  async delete(id: string, actor: string): Promise<Recorded<null>> {
    const { table, transact } = this.deps;
    const row = await transact(() => table.begone(id));
    if (row === undefined) {
      throw new ProblemError("SCHEDULE_NOT_FOUND", `Cannot delete schedule "${id}": there is none`);
    }
    const checkpoint = await this.#tellDeleted(row, actor);
    this.#arm();
    return { value: null, checkpoint };
  }

  async #tellCreated({ id, actor, request }: Pick<ScheduleRow, "id" | "actor" | "request">): Promise<string> {
    const { ledger, nameOf, table, transact } = this.deps;
    const { plugin, action } = request;
    try {
      const { checkpoint } = await ledger.append({
        type: "schedule.created",
        actor,
        plugin: nameOf(plugin),
        data: { schedule: id, action },
        commit: { schedule: JSON.stringify(request) },
      });
      await transact(() => table.enforce(id));
      return checkpoint;
    } catch (error) {
      // The ledger took nothing. Whatever else it was, it is not known that there is no entry.
      if (error instanceof ProblemError && error.code === "QUEUE_FULL") {
        await transact(() => table.discard(id));
      }
      throw error;
    }
  }

  async #tellDeleted({ id, request }: Pick<ScheduleRow, "id" | "request">, actor: string): Promise<string> {
    const { ledger, nameOf, table, transact } = this.deps;
    const { checkpoint } = await ledger.append({
      type: "schedule.deleted",
      actor,
      plugin: nameOf(request.plugin),
      data: { schedule: id },
    });
    await transact(() => table.delete(id));
    return checkpoint;
  }

  /** One timer, for the nearest time; none where there is none. */
  #arm(afterMs = 1): void {
    this.#cancelTimer();
    if (!this.#isOpen || this.#look !== undefined) return;
    const { table, timers, track, nowMs } = this.deps;
    const nextAtMs = table.nextAtMs();
    if (nextAtMs === undefined) return;
    const waitMs = Math.min(Math.max(nextAtMs - nowMs(), afterMs), lookMsMax);
    this.#cancelTimer = timers.setTimer(() => {
      this.#look = this.#passAll();
      track(this.#look);
    }, waitMs);
  }

  async #passAll(): Promise<void> {
    let isPaused = true;
    // Makers whose share is full: none of their schedules is looked at again before the pause is over.
    const held = new Set<string>();
    try {
      for (let hasMore = true; hasMore && this.#isOpen;) {
        const round = await this.deps.transact(() => this.#passDue(held));
        for (const row of round.ended) await this.#tellDeleted(row, kernelActor);
        ({ hasMore } = round);
      }
      isPaused = held.size > 0;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.deps.warn(`Cannot make the jobs of schedules: ${error.message}`);
    } finally {
      this.#look = undefined;
      this.#arm(isPaused ? pauseMs : 1);
    }
  }

  /** Inside a transaction: the jobs of those whose time has come, each with its next time. Adds to `held`. */
  #passDue(held: Set<string>): { ended: ScheduleRow[]; hasMore: boolean } {
    const { table, isActive, nowMs } = this.deps;
    const atMs = nowMs();
    const ended: ScheduleRow[] = [];
    const due = table.due(atMs, dueMax, [...held]);
    for (const row of due) {
      if (held.has(row.actor)) continue;
      if (!isActive(row.actor)) {
        table.begone(row.id);
        ended.push(row);
        continue;
      }
      const job = this.#insert(row);
      if (job === "full") {
        // Where there is no room for anybody, each maker is refused once; the table bounds how many there are.
        held.add(row.actor);
        continue;
      }
      const nextAtMs = this.#nextOf(row, atMs);
      table.passed(row.id, nextAtMs, job === undefined ? undefined : { atMs, job: job.id });
    }
    return { ended, hasMore: due.length === dueMax };
  }

  /** The job. Undefined: this time gives none. "full": not yet. */
  #insert({ id, actor, request }: ScheduleRow): { id: string } | "full" | undefined {
    const { plugin, action, input, deadlineMs, retry, concurrency, priority, ttlMs } = request;
    try {
      this.deps.describe(plugin, action);
      const job = this.deps.insertJob({
        ...{ plugin, action, input, deadlineMs, retry, concurrency, priority, ttlMs },
        ...{ idempotencyKey: null, runAt: null, delayMs: null, dependsOn: [] },
      }, { actor, schedule: id });
      return { id: job };
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.code === "QUEUE_FULL" || error.code === "NOT_READY") return "full";
      this.deps.warn(`Cannot make the job of schedule "${id}": ${error.message}`);
      return undefined;
    }
  }

  /** Null: it has no time any more, as when its time zone is not known to a later Airlock. */
  #nextOf({ id, request: { cron, timeZone }, nextAtMs }: ScheduleRow, nowMs: number): number | null {
    try {
      return parseCron(cron, timeZone).nextAt(Math.max(nowMs, nextAtMs ?? 0)) ?? null;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.deps.warn(`Cannot go on with schedule "${id}": ${error.message}`);
      return null;
    }
  }
}

function viewSchedule(
  { id, actor, request, nextAtMs, lastAtMs, lastJob, createdAtMs }: ScheduleSummary,
  reader: Reader,
): ScheduleView {
  const name = reader.readsAll || reader.actor === actor ? request.name : null;
  const { plugin, action, cron, timeZone } = request;
  const at = (ms: number | null) => ms === null ? null : new Date(ms).toISOString();
  return {
    ...{ id, name, plugin, action, cron, timeZone, lastJob },
    ...{ nextAt: at(nextAtMs), lastAt: at(lastAtMs), createdAt: new Date(createdAtMs).toISOString() },
  };
}
