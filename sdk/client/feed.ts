/**
 * The feed: what happens at the server, told to every reader of one client.
 *
 * One feed comes with each connection and is resumed with the next. It waits for nobody: where a reader's buffer is
 * full, events are dropped for that reader, and an EVENTS_DROPPED with their count stands in their place.
 *
 * @module
 */
import { TooManyRequestsError } from "./errors.ts";
import { Inbox, type InboxLimits } from "./inbox.ts";
import { readFeedEvent } from "./read_message.ts";
import type { EventPayload, FeedEvent } from "./server_messages.ts";

const readersMax = 256;

export class Feed {
  readonly #limits: InboxLimits;
  readonly #onEvent: ((event: FeedEvent) => void) | undefined;
  readonly #readers = new Set<FeedReader>();
  #after: string | undefined;

  constructor(limits: InboxLimits, onEvent: ((event: FeedEvent) => void) | undefined) {
    this.#limits = limits;
    this.#onEvent = onEvent;
  }

  /** Id of the last event that came; before the first one, where the feed began. */
  get after(): string | undefined {
    return this.#after;
  }

  /** Throws TypeError when it cannot begin there any more. */
  resumeAfter(after: string, isStarted: boolean): void {
    if (after === this.#after) return;
    if (isStarted || this.#after !== undefined) {
      throw new TypeError(`Cannot resume the feed after "${after}": it has begun elsewhere`);
    }
    this.#after = after;
  }

  /** A connection is READY. `position`: where its feed begins; null: it has none. */
  ready(position: string | null): void {
    this.#after ??= position ?? undefined;
  }

  /** Throws ProtocolError. */
  receive(payload: EventPayload, chars: number): void {
    const { seq, event } = readFeedEvent(payload);
    if (seq === this.#after) return;
    this.#after = seq;
    if (event === undefined) return;
    for (const reader of this.#readers) reader.offer(event, chars);
    this.#onEvent?.(event);
  }

  failed(cause: Error): void {
    for (const reader of this.#readers) reader.inbox.fail(cause);
  }

  /** From now on, until the signal aborts (then it throws its reason) or the client fails. */
  async *read(signal: AbortSignal | undefined): AsyncGenerator<FeedEvent, void, void> {
    signal?.throwIfAborted();
    if (this.#readers.size >= readersMax) {
      throw new TooManyRequestsError(`Cannot read "the feed": it has ${readersMax} readers`);
    }
    const reader = new FeedReader(this.#limits);
    const abort = () => reader.inbox.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    this.#readers.add(reader);
    try {
      for (let next = await reader.take(); next !== undefined; next = await reader.take()) yield next;
    } finally {
      this.#readers.delete(reader);
      signal?.removeEventListener("abort", abort);
    }
  }
}

class FeedReader {
  readonly inbox: Inbox<FeedEvent>;
  /** Not told yet. */
  #dropped: { readonly count: number | null; readonly seq: string } | undefined;

  constructor(limits: InboxLimits) {
    this.inbox = new Inbox(limits);
  }

  offer(event: FeedEvent, chars: number): void {
    if (this.inbox.isFull || this.#dropped !== undefined) {
      const before = this.#dropped === undefined ? 0 : this.#dropped.count;
      this.#dropped = { count: sum(before, missingWith(event)), seq: event.seq };
    } else this.inbox.push(event, chars);
  }

  /** Dropped are those after all that is in the inbox, so their marker is told when it is empty. */
  async take(): Promise<FeedEvent | undefined> {
    if (this.inbox.size === 0 && this.#dropped !== undefined) {
      const { count, seq } = this.#dropped;
      this.#dropped = undefined;
      return { event: "EVENTS_DROPPED", seq, data: { count } };
    }
    return (await this.inbox.take())?.item;
  }
}

/** How many events are missing where this one is dropped; null: unknown. */
function missingWith(event: FeedEvent): number | null {
  return event.event === "EVENTS_DROPPED" ? event.data.count : 1;
}

function sum(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other;
}
