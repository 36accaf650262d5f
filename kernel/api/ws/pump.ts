/**
 * A pump carries events from a cursor to a WebSocket client, as fast as that reads them.
 *
 * @module
 */
import type { Event, EventCursor } from "../../bus/event_cursor.ts";
import type { Outbox } from "./outbox.ts";

export interface PumpOptions {
  readonly cursor: EventCursor;
  readonly outbox: Pick<Outbox, "take">;
  readonly signal: AbortSignal;
  toText(event: Event): string;
}

/** Resolves when the cursor has ended and all was sent, or `signal` has aborted. */
export async function pump({ cursor, outbox, signal, toText }: PumpOptions): Promise<void> {
  while (!signal.aborted) {
    let count = 0;
    // Read only when the client has room: until then nothing is held for it.
    await outbox.take((bytesMax) => {
      const events = signal.aborted ? [] : cursor.read(bytesMax);
      count = events.length;
      return events.map(toText);
    });
    if (signal.aborted || (count === 0 && cursor.isEnded)) return;
    if (count === 0) await cursor.changed(signal);
  }
}
