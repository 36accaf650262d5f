/**
 * A chunk is a run of consecutive events of one job, as it is kept in one row of the file.
 *
 * Its text has a line for each event: a letter for the type, then the event's JSON, then a line feed. JSON needs no
 * line feed (inside a string it is escaped, between values it is white space), so that one ends the event and nothing
 * that a plugin sends can begin another. Neither U+2028 nor a carriage return ends a line here. The number of an
 * event is its place: the chunk's first number, plus the lines before it.
 *
 * Pure.
 *
 * @module
 */
import type { JobEventType } from "../../schemas/event.ts";
import type { Event } from "../bus/event_cursor.ts";

export interface EventChunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly events: readonly Event[];
}

/** On disk: grows, and is never changed. */
const letters = {
  JOB_QUEUED: "Q",
  JOB_STARTED: "S",
  JOB_PROGRESS: "P",
  JOB_TOKEN: "T",
  JOB_COMPLETED: "C",
  JOB_FAILED: "F",
  JOB_CANCELLED: "X",
} as const satisfies Record<JobEventType, string>;

const letterOf: ReadonlyMap<string, string> = new Map(Object.entries(letters));
const typeOf: ReadonlyMap<string, string> = new Map(
  Object.entries(letters).map(([type, letter]) => [letter, type]),
);

/** What an event's line has beside its JSON. */
export const lineBytes = 2;

/** The event that `json`, the text of one JSON value, makes; on one line, so that SSE can carry it too. */
export function createEvent(seq: number, type: JobEventType, json: string): Event {
  // Outside of strings these are white space, and inside one JSON has none of them.
  const line = json.includes("\n") || json.includes("\r") ? json.replaceAll(/[\n\r]/g, " ") : json;
  return { id: String(seq), type, json: line };
}

export function chunkText({ events }: EventChunk): string {
  let text = "";
  for (const { type, json } of events) text += `${letterOf.get(type)}${json}\n`;
  return text;
}

/** Throws RangeError where the text does not hold the events that the row names. */
export function parseChunk(row: { firstSeq: number; lastSeq: number; text: string }): EventChunk {
  const { firstSeq, lastSeq, text } = row;
  const events: Event[] = [];
  for (let start = 0; start < text.length;) {
    const type = typeOf.get(text.charAt(start));
    const end = text.indexOf("\n", start);
    if (type === undefined || end === -1) throw unreadable(firstSeq + events.length);
    events.push({ id: String(firstSeq + events.length), type, json: text.slice(start + 1, end) });
    start = end + 1;
  }
  if (firstSeq + events.length !== lastSeq + 1) throw unreadable(firstSeq + events.length);
  return { firstSeq, lastSeq, events };
}

function unreadable(seq: number): RangeError {
  return new RangeError(`Cannot read event ${seq} of a job: the file does not hold it`);
}

/** Events for one reader, as many as it has room for and at least one. */
export class EventPage {
  readonly events: Event[] = [];
  #bytes = 0;
  #after: number;

  constructor(after: number, private readonly bytesMax: number) {
    this.#after = after;
  }

  /** Number of its last event, or of the one before its first. */
  get after(): number {
    return this.#after;
  }

  get bytesLeft(): number {
    return this.bytesMax - this.#bytes;
  }

  /** Takes from the chunk what comes after `after`, up to `lastSeq`; false: the page is full. */
  take({ firstSeq, events }: EventChunk, lastSeq: number): boolean {
    for (let place = Math.max(0, this.#after + 1 - firstSeq); place < events.length; place++) {
      const event = events[place];
      if (event === undefined || firstSeq + place > lastSeq) return true;
      const bytes = event.json.length + frameBytes;
      if (this.events.length > 0 && bytes > this.bytesLeft) return false;
      this.events.push(event);
      this.#bytes += bytes;
      this.#after = firstSeq + place;
    }
    return this.bytesLeft > 0;
  }
}

/** The part of an event that is not its data, on its way to a reader, about. */
const frameBytes = 64;
