/**
 * An outbox is what one job has told and nobody has written yet: numbered events, the newest progress, lines of log.
 *
 * Progress is held back: of what comes in `progressIntervalMs` only the last counts, and it has no number before it
 * is due or another event follows it. Only numbered events are ever written, so numbers have no gap but those that
 * {@linkcode JobOutbox.skip} leaves.
 *
 * Bounded by what the file keeps of one job: tokens and progress that would be above that are refused here. Events of
 * state are not counted: there are a few for each attempt. Pure.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { JobEventType } from "../../schemas/event.ts";
import type { Event } from "../bus/event_cursor.ts";
import { type JobLogLevel, type JobLogRow, logRowBytes } from "../store/job_logs_table.ts";
import { createEvent, type EventChunk, lineBytes } from "./job_event_chunk.ts";

/** At most one event of progress in so long, unless another event comes between. */
export const progressIntervalMs = 50;

/** A reader in the middle of a chunk reads all of it from the file: small. A larger event is a chunk of its own. */
const chunkBytesMax = 16_384;

/** What tokens and progress are: written without a sync of the disk, and refused when there are too many. */
export const isLight = (type: string): boolean => type === "JOB_TOKEN" || type === "JOB_PROGRESS";

/** `state`: with a change of the job's state. `light`: up to the first event that tells of one. */
export type WriteScope = "state" | "light";

interface Staged {
  readonly seq: number;
  readonly event: Event;
  /** 0 of an event of state. */
  readonly lightBytes: number;
}

export interface OutboxChunk extends EventChunk {
  /** What tokens and progress take of its text, in UTF-8. */
  readonly lightBytes: number;
}

export class JobOutbox {
  readonly #staged: Staged[] = [];
  #progress: string | undefined;
  #progressAtMs = -Infinity;
  #lastSeq: number;
  #nextSeq: number;
  #bytes: number;

  /** What the file has of the job: number of its last event, and the bytes of its tokens and progress. */
  constructor(kept: { lastSeq: number; bytes: number }, private readonly bytesMax: number) {
    this.#lastSeq = kept.lastSeq;
    this.#nextSeq = kept.lastSeq + 1;
    this.#bytes = kept.bytes;
  }

  /** Number of the newest event, written or not. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Neither an event nor held progress is in it. */
  get isEmpty(): boolean {
    return this.#staged.length === 0 && this.#progress === undefined;
  }

  /** The next event does not have the number that follows from the file. */
  get hasSkipped(): boolean {
    return this.#nextSeq !== this.#lastSeq + 1;
  }

  /** False where a token or progress would be above the limit. */
  stage(type: JobEventType, json: string): boolean {
    if (type !== "JOB_PROGRESS") this.#endProgress();
    const isRefused = isLight(type) && this.#bytes + lineBytes + Buffer.byteLength(json) > this.bytesMax;
    if (isRefused) return false;
    if (type === "JOB_PROGRESS") this.#progress = json;
    else this.#push(type, json);
    return true;
  }

  skip(count: number): void {
    this.#endProgress();
    this.#nextSeq += count;
  }

  /** Milliseconds until held progress is due; undefined: none is held. */
  progressDueInMs(nowMs: number): number | undefined {
    if (this.#progress === undefined) return undefined;
    return Math.max(0, this.#progressAtMs + progressIntervalMs - nowMs);
  }

  /** Numbers the held progress. */
  releaseProgress(nowMs: number): void {
    this.#endProgress();
    this.#progressAtMs = nowMs;
  }

  /** Takes the numbered events out, to be written now. */
  take(scope: WriteScope): OutboxChunk[] {
    const stateAt = scope === "state" ? -1 : this.#staged.findIndex(({ event }) => !isLight(event.type));
    return toChunks(this.#staged.splice(0, stateAt === -1 ? this.#staged.length : stateAt));
  }

  #endProgress(): void {
    if (this.#progress === undefined) return;
    this.#push("JOB_PROGRESS", this.#progress);
    this.#progress = undefined;
  }

  #push(type: JobEventType, json: string): void {
    const seq = this.#nextSeq++;
    this.#lastSeq = seq;
    const lightBytes = isLight(type) ? lineBytes + Buffer.byteLength(json) : 0;
    this.#bytes += lightBytes;
    this.#staged.push({ seq, event: createEvent(seq, type, json), lightBytes });
  }
}

function toChunks(staged: readonly Staged[]): OutboxChunk[] {
  const chunks: OutboxChunk[] = [];
  let [first] = staged;
  let events: Event[] = [];
  let [bytes, lightBytes] = [0, 0];
  const end = () => {
    if (first === undefined) return;
    chunks.push({ firstSeq: first.seq, lastSeq: first.seq + events.length - 1, events, lightBytes });
  };
  for (const next of staged) {
    const size = next.event.json.length + lineBytes;
    const follows = first !== undefined && next.seq === first.seq + events.length;
    if (!follows || (events.length > 0 && bytes + size > chunkBytesMax)) {
      end();
      first = next;
      events = [];
      [bytes, lightBytes] = [0, 0];
    }
    events.push(next.event);
    bytes += size;
    lightBytes += next.lightBytes;
  }
  end();
  return chunks;
}

/** What the last line of a full log says. */
export const logFullText = "… the job's log is full: later lines are dropped";

/** The same for lines of log. */
export class JobLogOutbox {
  #staged: JobLogRow[] = [];
  #lastSeq: number;
  #bytes: number;
  #state: "open" | "full";

  constructor(kept: { last: JobLogRow | undefined; bytes: number }, private readonly bytesMax: number) {
    this.#lastSeq = kept.last?.seq ?? 0;
    this.#bytes = kept.bytes;
    // A plugin that writes this line itself has nothing but its own log to lose.
    this.#state = kept.last?.text === logFullText ? "full" : "open";
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get isEmpty(): boolean {
    return this.#staged.length === 0;
  }

  /** False where nothing was staged: the log is full. */
  stage(line: { attempt: number; level: JobLogLevel; text: string; atMs: number }): boolean {
    if (this.#state === "full") return false;
    // SQLite reads a text to its first NUL, and has no way to write half a pair of surrogates.
    const text = line.text.replaceAll("\0", "\u2400").toWellFormed();
    const bytes = Buffer.byteLength(text) + logRowBytes;
    const isFull = this.#bytes + bytes > this.bytesMax;
    if (isFull) this.#state = "full";
    else this.#bytes += bytes;
    this.#staged.push({
      seq: ++this.#lastSeq,
      atMs: line.atMs,
      attempt: line.attempt,
      level: isFull ? "warning" : line.level,
      text: isFull ? logFullText : text,
    });
    return true;
  }

  /** Takes the lines out, to be written now. */
  take(): JobLogRow[] {
    const taken = this.#staged;
    this.#staged = [];
    return taken;
  }
}
