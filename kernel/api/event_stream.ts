/**
 * An event stream: the body of an answer of type `text/event-stream`, made of what one call tells. What many
 * read, each from its own place, is an `event_body.ts`.
 *
 * Invariants:
 * - one call is one event: data is one line, so that nothing in it can end an event and begin another;
 * - `id` counts from 1 without a gap;
 * - a reader that lost its right to read is told so within `keepAliveMs`, and nothing after it;
 * - what waits in memory is what the caller of `send` does not wait for, one pending progress, and a large result,
 *   which is sent in pieces.
 *
 * @module
 */
import type { Clock } from "../../sandbox/clock.ts";
import { eventEnd, eventHead, eventText, keepAliveText, withoutLineBreaks } from "./event_text.ts";

export type EventName = "TOKEN" | "PROGRESS" | "COMPLETE" | "ERROR";

const encoder = new TextEncoder();
const keepAlive = encoder.encode(keepAliveText);

/** Above this, `send` makes its caller wait for the reader. */
const bufferedBytesMax = 16_384;

export interface EventStreamOptions {
  /** A comment is sent whenever nothing else was for this long, lest a proxy gives the stream up. */
  readonly keepAliveMs: number;
  readonly clock: Clock;
  /** Data of the ERROR that ends the stream before its time; asked for as often. */
  refusal(): string | undefined;
  /** The reader is gone, or was refused, before the last event. */
  onCancel(): void;
}

export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Resolves with the first thing sent; from then on the answer's status is settled. */
  readonly opened: Promise<void>;
  readonly #open: () => void;
  #cancelTimer: () => void = () => undefined;
  #state: "waiting" | "open" | "closed" = "waiting";
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #progress: string | undefined;
  #sequence = 0;
  #idle = true;
  /** Of the last event, what the reader has not taken yet. */
  #pieces: Iterator<Uint8Array, undefined> | undefined;

  constructor(private readonly options: EventStreamOptions) {
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
        options.onCancel();
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: bufferedBytesMax }));
    this.#awaitTick();
  }

  get state(): "waiting" | "open" | "closed" {
    return this.#state;
  }

  /** Sends the text of one JSON value. Resolves when the reader has room for more, or is gone. */
  async send(event: EventName, json: string): Promise<void> {
    if (this.#state === "closed") return;
    this.#flushProgress();
    this.#enqueueEvent(event, json);
    if (this.state === "closed" || this.#hasRoom()) return;
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
    this.#finish();
  }

  /** Sends the last event as its reader takes it. `pieces`: UTF-8 of the text of one JSON value. */
  endInPieces(event: EventName, pieces: Iterator<Uint8Array, undefined>): void {
    if (this.#state === "closed") return;
    this.#flushProgress();
    this.#sequence += 1;
    this.#enqueue(encoder.encode(eventHead(this.#sequence, event)));
    this.#pieces = pieces;
    this.#sendPieces();
  }

  #sendPieces(): void {
    while (this.#pieces !== undefined && this.#state !== "closed" && this.#hasRoom()) {
      const { value, done } = this.#pieces.next();
      this.#enqueue(done ? encoder.encode(eventEnd) : withoutLineBreaks(value));
      if (done) this.#finish();
    }
  }

  #finish(): void {
    if (this.state === "closed") return;
    this.#controller?.close();
    this.close();
  }

  /** Lets go of everything; safe to repeat. */
  close(): void {
    this.#state = "closed";
    this.#pieces = undefined;
    this.#cancelTimer();
    this.#resume();
  }

  #enqueueEvent(event: EventName, json: string): void {
    this.#sequence += 1;
    this.#enqueue(encoder.encode(eventText(this.#sequence, event, json)));
  }

  /** Deno's server cancels from within it when its connection is lost. */
  #enqueue(bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#idle = false;
    this.#controller?.enqueue(bytes);
    if (this.state !== "waiting") return;
    this.#state = "open";
    this.#open();
  }

  #awaitTick(): void {
    const { clock, keepAliveMs } = this.options;
    this.#cancelTimer = clock.setTimer(() => this.#keepAlive(), keepAliveMs);
  }

  #keepAlive(): void {
    const refusal = this.options.refusal();
    if (refusal !== undefined) {
      // An event that has no end is none: its reader forgets what it has of it.
      if (this.#pieces !== undefined) this.#finish();
      else this.end("ERROR", refusal);
      return this.options.onCancel();
    }
    if (this.#idle && this.#pieces === undefined && this.#hasRoom()) this.#enqueue(keepAlive);
    this.#idle = true;
    if (this.#state !== "closed") this.#awaitTick();
  }

  #hasRoom(): boolean {
    return (this.#controller?.desiredSize ?? 0) > 0;
  }

  #resume(): void {
    if (this.#state !== "closed") this.#flushProgress();
    this.#sendPieces();
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
