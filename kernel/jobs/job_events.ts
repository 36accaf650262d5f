/**
 * Job events: what jobs tell, on its way to the file and from there to those who watch.
 *
 * An event is staged, written and published. Events that tell of a change of state are written by the transaction
 * that makes the change, `write` inside and `published` after it; it is on disk with the change or not at all.
 * Tokens, progress and log need no sync of the disk: they go along with such a transaction, or in the next turn of
 * the event loop in a light one of their own, which never writes an event of state nor what comes after it.
 *
 * Invariants:
 * - a reader sees nothing that is not in the file, and sees the events of a job in the order in which they were
 *   staged, each once;
 * - nothing is queued for a reader. What is kept in memory for all of them together is bounded by `tailBytesMax`,
 *   and the job that was used least recently is dropped first.
 *
 * What a crash leaves: the process killed, all that was published. A power cut, all up to the last change of state;
 * tokens after that may be gone though they were shown, so their numbers are not used again: `skip`.
 *
 * When a write fails nobody knows what the file holds: nothing is written any more, and the kernel ends.
 *
 * @module
 */
import type { JobEventType } from "../../schemas/event.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Clock } from "../../sandbox/clock.ts";
import type { EventCursor } from "../bus/event_cursor.ts";
import type { Transact } from "../store/database.ts";
import type { JobEventsTable } from "../store/job_events_table.ts";
import type { JobLogLevel, JobLogRow, JobLogsTable } from "../store/job_logs_table.ts";
import { chunkText, type EventChunk, EventPage, parseChunk } from "./job_event_chunk.ts";
import { JobEventCursor, JobWatch } from "./job_event_cursor.ts";
import { JobEventTail } from "./job_event_tail.ts";
import { isLight, JobLogOutbox, JobOutbox, type OutboxChunk, type WriteScope } from "./job_outbox.ts";

export interface JobEventsDeps {
  /** On the connection whose commits are on disk. Only used inside a transaction of it, and to read. */
  readonly table: JobEventsTable;
  readonly logs: JobLogsTable;
  /** The same file by the connection whose commits survive the process, and its transactions. */
  readonly lightTable: JobEventsTable;
  readonly lightLogs: JobLogsTable;
  readonly light: Transact;
  /** Of one job's tokens and progress. */
  readonly eventsBytesMax: number;
  /** Of one job's log. */
  readonly logBytesMax: number;
  /** Of what is kept in memory for readers, all jobs together. */
  readonly tailBytesMax: number;
  readonly clock: Clock;
  /** The file may grow. Asked for each token and line. */
  hasRoom(): boolean;
  /** The job has ended, and its last event was staged; or there is no such job. */
  isOver(job: number): boolean;
  /** Runs `work` in the next turn of the event loop. */
  defer(work: () => void): void;
  fatal(error: Error): void;
}

/** What is in memory of one job. */
interface Told {
  readonly job: number;
  /**
   * `begun`: an attempt may be under way. `idle`: none is, and what a plugin still says is late: it must not come
   * after the job's end, nor be written for a job that is gone.
   */
  state: "begun" | "idle";
  readonly outbox: JobOutbox;
  log: JobLogOutbox | undefined;
  readonly tail: JobEventTail;
  /** Written by a transaction that may not have been committed yet. */
  written: EventChunk[];
  publishedSeq: number;
  /** Number of the last line of log that is in the file for good. */
  publishedLine: number;
}

/** What one job writes in one transaction. */
interface Batch {
  readonly told: Told;
  readonly chunks: readonly OutboxChunk[];
  readonly lines: readonly JobLogRow[];
}

/** What a job takes in memory beside its tail, about. */
const toldBytes = 1_024;

export class JobEvents {
  /** In the order in which they were last used. */
  readonly #told = new Map<number, Told>();
  readonly #watches = new Map<number, JobWatch>();
  /** Those with something staged. */
  readonly #staged = new Set<Told>();
  readonly #written = new Map<Told, number>();
  #state: "open" | "closed" | "failed" = "open";
  #bytes = 0;
  #isDeferred = false;
  /** Nothing could be dropped when it was last tried. */
  #isCrowded = false;
  #cancelTimer: (() => void) | undefined;
  /** Resolves when something was published, or never will be. */
  #progressed: PromiseWithResolvers<void> | undefined;

  constructor(private readonly deps: JobEventsDeps) {}

  /** What is kept in memory of all jobs, about; above `tailBytesMax` only for what is not written yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * `json` is the text of one JSON value. False, and nothing is staged, where a token or progress is above the limit,
   * the file is full, or no attempt is under way. An event that tells of a change of state is staged in the transaction that makes the change.
   */
  stage(job: number, type: JobEventType, json: string): boolean {
    const told = this.#use(job);
    if (!isLight(type)) told.state = type === "JOB_STARTED" ? "begun" : "idle";
    else if (told.state === "idle" || !this.deps.hasRoom()) return false;
    const isStaged = told.outbox.stage(type, json);
    // Also where it is not: held progress may have got its number.
    if (!told.outbox.isEmpty) this.#staged.add(told);
    if (isLight(type)) this.#defer();
    return isStaged;
  }

  /** Above the limit one last line says that later ones are dropped; so are those of no attempt under way, and all while the file is full. */
  stageLog(job: number, attempt: number, level: JobLogLevel, text: string, atMs: number): void {
    const told = this.#use(job);
    if (told.state === "idle" || !this.deps.hasRoom()) return;
    told.log ??= this.#loadLog(told);
    if (!told.log.stage({ attempt, level, text, atMs })) return;
    this.#staged.add(told);
    this.#defer();
  }

  /** Leaves so many numbers of the job out: they may have been shown, and lost in a power cut. */
  skip(job: number, count: number): void {
    if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`Cannot skip ${count} events`);
    const told = this.#use(job);
    told.outbox.skip(count);
    if (told.outbox.isEmpty) return;
    this.#staged.add(told);
    this.#defer();
  }

  /** Writes all that is staged. Only inside an open transaction of `table`'s connection. */
  write(): void {
    this.#append(this.#take("state"), this.deps.table, this.deps.logs);
  }

  /** The transaction that called `write` is on disk: readers see it. */
  published(): void {
    for (const [told, line] of this.#written) {
      for (const chunk of told.written) {
        this.#bytes += told.tail.push(chunk);
        told.publishedSeq = chunk.lastSeq;
      }
      told.written = [];
      told.publishedLine = Math.max(told.publishedLine, line);
    }
    const jobs = [...this.#written.keys()];
    this.#written.clear();
    this.#isCrowded = false;
    this.#makeRoom();
    for (const { job } of jobs) this.#watches.get(job)?.wake();
    this.#progress();
  }

  /**
   * Resolves when what the job has staged so far is visible, progress that is held back excepted. Rejects with
   * ProblemError when that cannot be any more.
   */
  async flushed(job: number): Promise<void> {
    const told = this.#told.get(job);
    if (told === undefined) return;
    const { lastSeq } = told.outbox;
    const lastLine = told.log?.lastSeq ?? 0;
    while (told.publishedSeq < lastSeq || told.publishedLine < lastLine) {
      if (this.#state !== "open" || this.#told.get(job) !== told) {
        throw new ProblemError("INTERNAL", `Cannot write events of job ${job}: they are not kept any more`);
      }
      this.#progressed ??= Promise.withResolvers();
      await this.#progressed.promise;
    }
  }

  /** The events with a number above `after`, an integer from 0 on. The caller bounds how many watch. */
  watch(job: number, after: number): EventCursor {
    if (!Number.isSafeInteger(after) || after < 0) throw new RangeError(`Cannot watch from event ${after}`);
    const watch = this.#watches.get(job) ?? new JobWatch();
    this.#watches.set(job, watch);
    watch.cursors++;
    return new JobEventCursor({
      watch,
      read: (from, bytesMax) => this.#read(job, new EventPage(from, bytesMax)),
      hasNews: (from) => this.#lastVisible(job) > from,
      isComplete: () => this.deps.isOver(job) && this.#isSettled(job),
      release: () => {
        watch.cursors--;
        if (watch.cursors === 0 && this.#watches.get(job) === watch) this.#watches.delete(job);
      },
    }, after);
  }

  /** The job is over: those who have read all of it learn that nothing comes after. */
  ended(job: number): void {
    this.#watches.get(job)?.wake();
  }

  /** Drops what is in memory of a job that is over, if nobody watches it and all is written. */
  forget(job: number): void {
    const told = this.#told.get(job);
    if (told === undefined || this.#watches.has(job) || !this.deps.isOver(job)) return;
    if (this.#isIdle(told)) this.#drop(told);
  }

  /** The job is gone from the file: whoever reads it has reached the end, and what was staged is void. */
  deleted(job: number): void {
    const told = this.#told.get(job);
    if (told !== undefined) this.#drop(told);
    this.#watches.get(job)?.markDeleted();
    this.#watches.delete(job);
    this.#progress();
  }

  /** Writes what a light transaction may write, held progress too, and nothing after that. */
  close(): void {
    const nowMs = this.deps.clock.nowMs();
    for (const { outbox } of this.#staged) outbox.releaseProgress(nowMs);
    this.#flush();
    this.#cancelTimer?.();
    if (this.#state === "open") this.#state = "closed";
    this.#progress();
  }

  #use(job: number): Told {
    const found = this.#told.get(job);
    const told = found ?? this.#load(job);
    if (found === undefined) {
      this.#bytes += toldBytes;
      this.#makeRoom();
    }
    this.#told.delete(job);
    this.#told.set(job, told);
    return told;
  }

  #load(job: number): Told {
    // By the connection of whoever is writing: it may have begun with this job in its own transaction.
    const { table, eventsBytesMax } = this.deps;
    const lastSeq = table.lastSeq(job);
    return {
      job,
      state: this.deps.isOver(job) ? "idle" : "begun",
      outbox: new JobOutbox({ lastSeq, bytes: lastSeq === 0 ? 0 : table.lightBytes(job) }, eventsBytesMax),
      log: undefined,
      tail: new JobEventTail(lastSeq),
      written: [],
      publishedSeq: lastSeq,
      publishedLine: 0,
    };
  }

  #loadLog(told: Told): JobLogOutbox {
    const { logs, logBytesMax } = this.deps;
    const last = logs.last(told.job);
    told.publishedLine = last?.seq ?? 0;
    return new JobLogOutbox({ last, bytes: last === undefined ? 0 : logs.bytes(told.job) }, logBytesMax);
  }

  #defer(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.deps.defer(() => {
      this.#isDeferred = false;
      this.#flush();
    });
  }

  /** Writes and publishes what needs no sync of the disk. */
  #flush(): void {
    if (this.#state !== "open") return;
    // A transaction that wrote did not come to its end: its owner has told the kernel.
    if (this.#written.size > 0) return this.#fail();
    try {
      const batches = this.#take("light");
      if (batches.length > 0) {
        this.deps.light(() => this.#append(batches, this.deps.lightTable, this.deps.lightLogs));
        this.published();
      }
    } catch (error) {
      this.#fail();
      this.deps.fatal(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#setTimer();
  }

  #fail(): void {
    this.#state = "failed";
    this.#progress();
  }

  /** Takes out what can be written now. */
  #take(scope: WriteScope): Batch[] {
    const nowMs = this.deps.clock.nowMs();
    const batches: Batch[] = [];
    for (const told of this.#staged) {
      const { outbox, log } = told;
      if (outbox.progressDueInMs(nowMs) === 0) outbox.releaseProgress(nowMs);
      const batch = { told, chunks: outbox.take(scope), lines: log?.take() ?? [] };
      if (batch.chunks.length > 0 || batch.lines.length > 0) batches.push(batch);
      if (outbox.isEmpty) this.#staged.delete(told);
    }
    return batches;
  }

  #append(batches: readonly Batch[], table: JobEventsTable, logs: JobLogsTable): void {
    for (const { told, chunks, lines } of batches) {
      for (const chunk of chunks) {
        const { firstSeq, lastSeq, lightBytes } = chunk;
        table.append({ job: told.job, firstSeq, lastSeq, text: chunkText(chunk), lightBytes });
      }
      logs.append(told.job, lines);
      told.written.push(...chunks);
      this.#written.set(told, lines.at(-1)?.seq ?? this.#written.get(told) ?? 0);
    }
  }

  /** One timer, for the held progress that is due first. */
  #setTimer(): void {
    if (this.#cancelTimer !== undefined) return;
    const nowMs = this.deps.clock.nowMs();
    let dueInMs = Infinity;
    for (const { outbox } of this.#staged) {
      dueInMs = Math.min(dueInMs, outbox.progressDueInMs(nowMs) ?? Infinity);
    }
    if (dueInMs === Infinity) return;
    this.#cancelTimer = this.deps.clock.setTimer(() => {
      this.#cancelTimer = undefined;
      this.#flush();
    }, dueInMs);
  }

  #read(job: number, page: EventPage): EventPage {
    const told = this.#told.get(job);
    if (told !== undefined && !told.tail.isEmpty && page.after >= told.tail.afterSeq) {
      this.#use(job);
      told.tail.read(page);
      return page;
    }
    const lastSeq = told?.publishedSeq ?? Infinity;
    for (let before = -1; before < page.after;) {
      before = page.after;
      const rows = this.deps.lightTable.read(job, before, page.bytesLeft);
      if (!rows.every((row) => page.take(parseChunk(row), lastSeq))) break;
    }
    return page;
  }

  #lastVisible(job: number): number {
    return this.#told.get(job)?.publishedSeq ?? this.deps.lightTable.lastSeq(job);
  }

  /** Nothing of the job is on its way to the file. */
  #isSettled(job: number): boolean {
    const told = this.#told.get(job);
    return told === undefined || (told.outbox.isEmpty && told.written.length === 0);
  }

  #isIdle(told: Told): boolean {
    return !this.#staged.has(told) && !this.#written.has(told) && !told.outbox.hasSkipped;
  }

  /**
   * Drops the oldest of what was used least recently, until the limit holds. What is not written yet stays; where
   * nothing else is left it is not looked for again before something was published.
   */
  #makeRoom(): void {
    if (this.#isCrowded) return;
    for (const told of this.#told.values()) {
      while (this.#bytes > this.deps.tailBytesMax && !told.tail.isEmpty) this.#bytes -= told.tail.shift();
      if (this.#bytes <= this.deps.tailBytesMax) return;
      if (this.#isIdle(told)) this.#drop(told);
    }
    this.#isCrowded = this.#bytes > this.deps.tailBytesMax;
  }

  #drop(told: Told): void {
    this.#told.delete(told.job);
    this.#staged.delete(told);
    this.#written.delete(told);
    this.#bytes -= told.tail.bytes + toldBytes;
  }

  #progress(): void {
    this.#progressed?.resolve();
    this.#progressed = undefined;
  }
}
