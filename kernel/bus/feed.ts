/**
 * The feed is one row of events for everybody: what happens, and never what is in it.
 *
 * It is kept in memory, the newest `feedEventsMax` of it, and shared: a reader is a number, its place in the row,
 * so that ten thousand of them cost no copy of anything. Who falls behind what is kept is told how much is missing.
 *
 * Invariants:
 * - events are numbered from 1 without a gap, and an id is `<life>-<number>`: a start of the kernel is a life;
 * - a reader gets every event after the one it named, or in place of those that are gone one `EVENTS_DROPPED`,
 *   whose id resumes exactly there;
 * - a wait leaves nothing behind, however it ends.
 *
 * Pure of I/O, no clock.
 *
 * @module
 */
import type { FeedEventData, FeedEventType } from "../../schemas/event.ts";
import type { Event, EventCursor } from "./event_cursor.ts";

export interface FeedOptions {
  /** So many events are kept. */
  readonly feedEventsMax: number;
  /** Eight hex digits by chance: no id of another start of the kernel is taken for one of this. */
  readonly life: string;
}

export interface FeedCursor extends EventCursor {
  /**
   * Watching after this id goes on where this reader is. The id that it was asked for, until the reader was told that
   * nobody knows what came after that.
   */
  readonly id: string;
}

/** The part of an event's text that is not its data, about. */
const frameBytes = 64;

export class Feed {
  readonly #kept: Event[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #idPattern: RegExp;
  /** Number of the newest event. */
  #last = 0;

  constructor(private readonly options: FeedOptions) {
    this.#idPattern = new RegExp(`^${options.life}-(0|[1-9]\\d{0,14})$`);
  }

  /** Tells everybody. Returns at once: whoever is slow pays for it alone. */
  publish<T extends Exclude<FeedEventType, "EVENTS_DROPPED">>(type: T, data: FeedEventData<T>): void {
    const number = this.#last + 1;
    this.#kept[number % this.options.feedEventsMax] = {
      id: this.#id(number),
      type,
      json: JSON.stringify(data),
    };
    this.#last = number;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * From now on; with `afterId`, the events after that one. If that cannot be told, for the id is of another life
   * or none of ours, all that is kept, after an `EVENTS_DROPPED` of unknown count.
   */
  watch(afterId?: string): FeedCursor {
    if (afterId === undefined) return this.#cursor(this.#last + 1);
    const after = Number(this.#idPattern.exec(afterId)?.[1] ?? NaN);
    return after <= this.#last ? this.#cursor(after + 1) : this.#cursor(undefined, afterId);
  }

  /** `next`: number of the event that comes next; undefined: nobody knows. */
  #cursor(next: number | undefined, unknownId = ""): FeedCursor {
    let state: "open" | "closed" = "open";
    const ended = new AbortController();
    const hasNews = () => next === undefined || next <= this.#last;
    const id = () => next === undefined ? unknownId : this.#id(next - 1);
    return {
      get id() {
        return id();
      },
      get isEnded() {
        return state === "closed";
      },
      read: (bytesMax) => {
        if (state === "closed") return [];
        const events: Event[] = [];
        let bytes = 0;
        const oldest = this.#oldest;
        if (next === undefined || next < oldest) {
          events.push(this.#dropped(next === undefined ? null : oldest - next));
          next = oldest;
        }
        for (; next <= this.#last; next++) {
          const event = this.#at(next);
          bytes += event.json.length + frameBytes;
          if (events.length > 0 && bytes > bytesMax) break;
          events.push(event);
        }
        return events;
      },
      changed: async (signal) => {
        if (state === "open" && !hasNews()) await this.#news(signal, ended.signal);
      },
      [Symbol.dispose]: () => {
        state = "closed";
        ended.abort();
      },
    };
  }

  /** Number of the oldest event that is kept, or of the next one if none is. */
  get #oldest(): number {
    return Math.max(1, this.#last - this.options.feedEventsMax + 1);
  }

  #at(number: number): Event {
    const event = this.#kept[number % this.options.feedEventsMax];
    if (event === undefined) throw new RangeError(`Cannot read event ${number} of the feed: it is not kept`);
    return event;
  }

  #dropped(count: number | null): Event {
    const data: FeedEventData<"EVENTS_DROPPED"> = { count };
    return { id: this.#id(this.#oldest - 1), type: "EVENTS_DROPPED", json: JSON.stringify(data) };
  }

  #id(number: number): string {
    return `${this.options.life}-${number}`;
  }

  /** Resolves with the next event, or when one of the signals aborts. */
  async #news(...signals: AbortSignal[]): Promise<void> {
    if (signals.some(({ aborted }) => aborted)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#waiting.add(wake);
    for (const signal of signals) signal.addEventListener("abort", wake);
    await promise;
    this.#waiting.delete(wake);
    for (const signal of signals) signal.removeEventListener("abort", wake);
  }
}
