/**
 * An event body: the body of an answer of type `text/event-stream`, read from a cursor as its reader takes it.
 *
 * Invariants:
 * - the cursor is read only when the reader has taken what it was given: so one who never reads costs one chunk,
 *   and what the socket holds;
 * - a reader who takes nothing for `takeTimeoutMs` while something waits for it is cut off: nothing is kept for it
 *   any more, and the body ends where it is;
 * - nothing is sent later than {@linkcode keepAliveMs} after the reader lost its right to read;
 * - the cursor is disposed and `ended` called once, whichever way it ends, also when the body was never read.
 *
 * @module
 */
import type { Clock } from "../../sandbox/clock.ts";
import type { EventCursor } from "../bus/event_cursor.ts";
import { eventText, keepAliveMs, keepAliveText, tooSlowText } from "./event_text.ts";

export interface EventBodyOptions {
  /** Read at a time, about. */
  readonly bytesMax: number;
  readonly takeTimeoutMs: number;
  readonly clock: Clock;
  /** What comes before the first event. */
  readonly head?: string;
  /** False when the reader's right to read is over. */
  mayRead(): boolean;
  ended(): void;
}

const encoder = new TextEncoder();

/** A body that is ended is given up after this, lest a stuck reader holds up the end of the kernel. */
export const closeGraceMs = 1_000;

export class EventBody {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #cursor: EventCursor;
  readonly #options: EventBodyOptions;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #state: "open" | "closing" | "closed" = "open";
  #head: string;
  #checkedMs: number;
  /** Of a reader that took everything. */
  #wait: AbortController | undefined;
  #cancelTimer: () => void = () => undefined;

  /** Takes the cursor over. */
  constructor(cursor: EventCursor, options: EventBodyOptions) {
    this.#cursor = cursor;
    this.#options = options;
    this.#head = options.head ?? "";
    this.#checkedMs = options.clock.nowMs();
    // Asks when somebody reads and never before, so that each question says that the last chunk was taken.
    this.body = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
        this.#awaitReader(options.takeTimeoutMs);
      },
      pull: () => this.#pull(),
      cancel: () => {
        this.#controller = undefined;
        this.#letGo();
      },
    }, { highWaterMark: 0 });
  }

  /** Ends it when the reader has taken what it was given, or has not for {@linkcode closeGraceMs}. */
  close(): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (this.#wait === undefined) this.#awaitReader(closeGraceMs);
    else this.#wait.abort();
  }

  async #pull(): Promise<void> {
    this.#cancelTimer();
    try {
      const text = await this.#next();
      if (this.#state === "closed") return;
      if (text === undefined) {
        this.#letGo();
        this.#controller?.close();
        return;
      }
      this.#controller?.enqueue(encoder.encode(text));
      this.#awaitReader(this.#options.takeTimeoutMs);
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  /** What is sent next; undefined: nothing, ever. */
  async #next(): Promise<string | undefined> {
    let text = this.#head || this.#read();
    this.#head = "";
    if (text === "" && !this.#cursor.isEnded && this.#state === "open") {
      await this.#awaitEvent();
      text = this.#read();
    }
    if (this.#state !== "open" || !this.#mayRead()) return undefined;
    if (text === "") return this.#cursor.isEnded ? undefined : keepAliveText;
    return text;
  }

  #read(): string {
    if (this.#state !== "open") return "";
    return this.#cursor.read(this.#options.bytesMax)
      .map(({ id, type, json }) => eventText(id, type, json)).join("");
  }

  /** Until there is one, it is time for a sign of life, or the body is ended. */
  async #awaitEvent(): Promise<void> {
    const wait = new AbortController();
    this.#wait = wait;
    this.#cancelTimer = this.#options.clock.setTimer(() => wait.abort(), keepAliveMs);
    await this.#cursor.changed(wait.signal);
    this.#cancelTimer();
    this.#wait = undefined;
  }

  #mayRead(): boolean {
    const { clock, mayRead } = this.#options;
    if (clock.nowMs() - this.#checkedMs < keepAliveMs) return true;
    this.#checkedMs = clock.nowMs();
    return mayRead();
  }

  #awaitReader(timeoutMs: number): void {
    this.#cancelTimer();
    // Deno's server cancels from within `enqueue` when its connection is lost.
    if (this.#state === "closed") return;
    this.#cancelTimer = this.#options.clock.setTimer(() => {
      // A reader that is ended with the kernel was not too slow for anything.
      const isTooSlow = this.#state === "open";
      this.#letGo();
      if (isTooSlow) this.#controller?.enqueue(encoder.encode(tooSlowText));
      this.#controller?.close();
    }, timeoutMs);
  }

  #letGo(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#cancelTimer();
    this.#wait?.abort();
    this.#cursor[Symbol.dispose]();
    this.#options.ended();
  }
}
