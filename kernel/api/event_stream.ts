/**
 * An event stream: the body of an answer of type `text/event-stream`, made of what one call tells. What many
 * read, each from its own place, is an `event_body.ts`.
 *
 * Invariants:
 * - one call is one event: data is one line, so that nothing in it can end an event and begin another;
 * - `id` counts from 1 without a gap;
 * - what waits in memory is what the caller of `send` does not wait for, and one pending progress.
 *
 * @module
 */
import { eventText, keepAliveText } from "./event_text.ts";

export type EventName = "TOKEN" | "PROGRESS" | "COMPLETE" | "ERROR";

const encoder = new TextEncoder();
const keepAlive = encoder.encode(keepAliveText);

/** Above this, `send` makes its caller wait for the reader. */
const bufferedBytesMax = 16_384;

export interface EventStreamOptions {
  /** A comment is sent whenever nothing else was for this long, lest a proxy gives the stream up. */
  readonly keepAliveMs: number;
  /** The reader is gone before the last event. */
  onCancel(): void;
}

export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Resolves with the first thing sent; from then on the answer's status is settled. */
  readonly opened: Promise<void>;
  readonly #open: () => void;
  readonly #keepAliveTimer: ReturnType<typeof setInterval>;
  #state: "waiting" | "open" | "closed" = "waiting";
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #progress: string | undefined;
  #sequence = 0;
  #idle = true;

  constructor({ keepAliveMs, onCancel }: EventStreamOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.#open = resolve;
    this.body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#resume(),
      cancel: () => {
        this.close();
        onCancel();
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: bufferedBytesMax }));
    this.#keepAliveTimer = setInterval(() => this.#keepAlive(), keepAliveMs);
  }

  get state(): "waiting" | "open" | "closed" {
    return this.#state;
  }

  /** Sends the text of one JSON value. Resolves when the reader has room for more, or is gone. */
  async send(event: EventName, json: string): Promise<void> {
    if (this.#state === "closed") return;
    this.#flushProgress();
    this.#enqueueEvent(event, json);
    if (this.#hasRoom()) return;
    this.#room ??= Promise.withResolvers<void>();
    await this.#room.promise;
  }

  /** Sends a progress; if the reader is slow, only the latest one. */
  sendProgress(json: string): void {
    if (this.#state === "closed") return;
    this.#progress = json;
    if (this.#hasRoom()) this.#flushProgress();
  }

  /** Sends the last event. */
  end(event: EventName, json: string): void {
    if (this.#state === "closed") return;
    this.#flushProgress();
    this.#enqueueEvent(event, json);
    this.#controller?.close();
    this.close();
  }

  /** Lets go of everything; safe to repeat. */
  close(): void {
    this.#state = "closed";
    clearInterval(this.#keepAliveTimer);
    this.#resume();
  }

  #enqueueEvent(event: EventName, json: string): void {
    this.#sequence += 1;
    this.#enqueue(encoder.encode(eventText(this.#sequence, event, json)));
  }

  #enqueue(bytes: Uint8Array): void {
    this.#idle = false;
    this.#controller?.enqueue(bytes);
    if (this.#state !== "waiting") return;
    this.#state = "open";
    this.#open();
  }

  #keepAlive(): void {
    if (this.#idle && this.#hasRoom()) this.#enqueue(keepAlive);
    this.#idle = true;
  }

  #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0;
  }

  #resume(): void {
    if (this.#state !== "closed") this.#flushProgress();
    this.#room?.resolve();
    this.#room = undefined;
  }

  #flushProgress(): void {
    if (this.#progress === undefined) return;
    const json = this.#progress;
    this.#progress = undefined;
    this.#enqueueEvent("PROGRESS", json);
  }
}
