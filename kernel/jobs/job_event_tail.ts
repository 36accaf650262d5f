/**
 * A tail is the newest events of one job in memory, for those who follow it: they share its strings.
 *
 * It is a cache of what is in the file, and holds all of it from some number on. Pure.
 *
 * @module
 */
import type { EventChunk, EventPage } from "./job_event_chunk.ts";

export class JobEventTail {
  readonly #chunks: EventChunk[] = [];
  #afterSeq: number;

  /** `afterSeq`: number of the last event that is in the file already. */
  constructor(afterSeq: number) {
    this.#afterSeq = afterSeq;
  }

  /** It holds all events that come after this one. */
  get afterSeq(): number {
    return this.#afterSeq;
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** What it holds, in bytes of memory, about. */
  get bytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + heldBytes(chunk), 0);
  }

  /** Returns how many bytes it grew. */
  push(chunk: EventChunk): number {
    this.#chunks.push(chunk);
    return heldBytes(chunk);
  }

  /** Lets the oldest chunk go. Returns its bytes, 0 if there was none. */
  shift(): number {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return 0;
    this.#afterSeq = chunk.lastSeq;
    return heldBytes(chunk);
  }

  /** Fills `page`, whose events so far must reach `afterSeq`. */
  read(page: EventPage): void {
    for (let place = this.#placeAfter(page.after); place < this.#chunks.length; place++) {
      const chunk = this.#chunks[place];
      if (chunk === undefined || !page.take(chunk, chunk.lastSeq)) return;
    }
  }

  /** Of the first chunk that has an event after `seq`. */
  #placeAfter(seq: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#chunks[middle]?.lastSeq ?? Infinity) > seq) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const eventBytes = 128;
const chunkBytes = 256;

/** A string may take two bytes for each of its units. */
function heldBytes({ events }: EventChunk): number {
  return events.reduce((sum, { json }) => sum + 2 * json.length + eventBytes, chunkBytes);
}
