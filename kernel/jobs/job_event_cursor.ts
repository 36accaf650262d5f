/**
 * A job event cursor is one reader's place in the events of one job: a number.
 *
 * It holds no events, and asks for them when it is read. What all cursors of a job share is their watch, which wakes
 * those that wait.
 *
 * @module
 */
import type { Event, EventCursor } from "../bus/event_cursor.ts";

/** Those who read one job. */
export class JobWatch {
  readonly #waiting = new Set<() => void>();
  /** Cursors that were not disposed of. */
  cursors = 0;
  #isDeleted = false;

  /** The job is gone. Its number may come to mean another one: nobody may read on. */
  get isDeleted(): boolean {
    return this.#isDeleted;
  }

  markDeleted(): void {
    this.#isDeleted = true;
    this.wake();
  }

  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  /** Resolves at the next `wake`, or when the signal aborts. */
  async woken(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const abort = () => resolve();
    signal.addEventListener("abort", abort);
    await promise;
    this.#waiting.delete(resolve);
    signal.removeEventListener("abort", abort);
  }
}

/** The events of one job, as a cursor needs them. */
export interface JobEventSource {
  readonly watch: JobWatch;
  /** Visible events above `after`, ascending: about as many as `bytesMax` holds, at least one if there is one. */
  read(after: number, bytesMax: number): { events: readonly Event[]; after: number };
  /** An event above `after` is visible. */
  hasNews(after: number): boolean;
  /** The job is over and all its events are visible. */
  isComplete(): boolean;
  /** A cursor is done with it. */
  release(): void;
}

export class JobEventCursor implements EventCursor {
  #state: "open" | "closed" = "open";

  constructor(private readonly source: JobEventSource, private after: number) {}

  get isEnded(): boolean {
    if (this.#isClosed) return true;
    return this.source.isComplete() && !this.source.hasNews(this.after);
  }

  read(bytesMax: number): readonly Event[] {
    if (this.#isClosed) return [];
    const { events, after } = this.source.read(this.after, bytesMax);
    this.after = after;
    return events;
  }

  async changed(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#mustWait()) await this.source.watch.woken(signal);
  }

  [Symbol.dispose](): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.source.release();
    // One of this cursor's own waits may be among those that wait.
    this.source.watch.wake();
  }

  #mustWait(): boolean {
    try {
      return !this.#isClosed && !this.source.hasNews(this.after) && !this.source.isComplete();
    } catch {
      // The file cannot be read: the next `read` says why.
      return false;
    }
  }

  get #isClosed(): boolean {
    return this.#state === "closed" || this.source.watch.isDeleted;
  }
}
