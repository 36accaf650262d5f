/**
 * A job's watch: its events, each once and in order, over any number of connections.
 *
 * After each connection it subscribes again after the last `seq` that came, and drops what is not above it. When its
 * reader is so slow that the buffer is full, it ends the subscription, and subscribes again once the reader has read
 * all that is in it: Airlock keeps the events, so nothing need be kept here.
 *
 * @module
 */
import { AirlockError, ProtocolError } from "./errors.ts";
import type { Exchange, Exchanges } from "./exchanges.ts";
import { Inbox, type InboxLimits } from "./inbox.ts";
import { readJobEvent } from "./read_message.ts";
import type { EventPayload, JobEvent, ServerMessage } from "./server_messages.ts";

export interface JobWatchOptions {
  readonly job: string;
  /** The last `seq` that is known; 0: from the first event. */
  readonly after: number;
  readonly signal?: AbortSignal | undefined;
}

/** Ends when the job has ended. Subscribes at the first read, and ends the subscription when its reader goes. */
export async function* watchJob(
  exchanges: Exchanges,
  limits: InboxLimits,
  options: JobWatchOptions,
): AsyncGenerator<JobEvent, void, void> {
  const { signal } = options;
  signal?.throwIfAborted();
  const watch = new JobWatch(exchanges, limits, options);
  const abort = () => watch.abort(signal?.reason);
  signal?.addEventListener("abort", abort);
  try {
    exchanges.open(watch);
    for (let next = await watch.take(); next !== undefined; next = await watch.take()) yield next.item;
  } finally {
    signal?.removeEventListener("abort", abort);
    watch.end();
  }
}

class JobWatch implements Exchange {
  readonly #exchanges: Exchanges;
  readonly #job: string;
  readonly #inbox: Inbox<JobEvent>;
  /** Of the last event that came. */
  #seq: number;
  /** `waiting`: for its turn. `paused`: for its reader. */
  #state: "waiting" | "subscribed" | "paused" | "ended" = "waiting";

  constructor(exchanges: Exchanges, limits: InboxLimits, { job, after }: JobWatchOptions) {
    this.#exchanges = exchanges;
    this.#job = job;
    this.#seq = after;
    this.#inbox = new Inbox(limits);
  }

  take(): Promise<{ readonly item: JobEvent } | undefined> {
    if (this.#state === "paused" && this.#inbox.size === 0) {
      this.#state = "waiting";
      this.#exchanges.wait(this);
    }
    return this.#inbox.take();
  }

  begin(): void {
    try {
      const payload = { job: this.#job, after: this.#seq };
      this.#exchanges.send(this, { type: "SUBSCRIBE", payload });
      this.#state = "subscribed";
    } catch (error) {
      this.fail(error);
    }
  }

  receive(message: ServerMessage, chars: number): void {
    switch (message.type) {
      case "RESULT":
        if (message.payload.kind === "done") return;
        break;
      case "EVENT":
        return this.#take(message.payload, chars);
      case "ERROR":
        return this.#refused(new AirlockError(message.payload));
      case "COMPLETE":
        if (message.payload.kind !== "subscribed") break;
        this.end();
        return this.#inbox.close();
    }
    throw new ProtocolError(`Cannot take "${message.type}": it does not answer SUBSCRIBE`);
  }

  lost(): void {
    this.#state = "waiting";
    this.#exchanges.wait(this);
  }

  fail(cause: unknown): void {
    this.end();
    this.#inbox.fail(cause);
  }

  abort(reason: unknown): void {
    this.end();
    this.#inbox.abort(reason);
  }

  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#exchanges.cancel(this);
    this.#exchanges.close(this);
  }

  #take(payload: EventPayload, chars: number): void {
    const event = this.#read(payload);
    if (event === undefined || event.seq <= this.#seq) return;
    this.#seq = event.seq;
    this.#inbox.push(event, chars);
    if (!this.#inbox.isFull) return;
    this.#state = "paused";
    this.#exchanges.cancel(this);
  }

  /** undefined: none to be told. One that cannot be read ends this watch, and not the connection. */
  #read(payload: EventPayload): JobEvent | undefined {
    try {
      return readJobEvent(payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error);
      return undefined;
    }
  }

  #refused(error: AirlockError): void {
    if (error.code !== "NOT_READY") return this.fail(error);
    // Airlock is on its way down: the next connection will do.
    this.#state = "waiting";
    this.#exchanges.postpone(this);
  }
}
