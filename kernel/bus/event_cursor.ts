/**
 * An event cursor is one reader's place in a row of events.
 *
 * Readers pull: nothing is queued for anybody, so that a slow one costs no memory. Events are shared between
 * readers, their data as JSON text that was made once.
 *
 * Types only.
 *
 * @module
 */

export interface Event {
  /** Names the event, and where to resume. */
  readonly id: string;
  readonly type: string;
  /** Text of exactly one JSON value, on one line. */
  readonly json: string;
}

export interface EventCursor extends Disposable {
  /** The next events, in order, about as many as `bytesMax` of text holds and at least one if there is one. */
  read(bytesMax: number): readonly Event[];
  /** Nothing comes after what was read. */
  readonly isEnded: boolean;
  /** Resolves when there is something to read, or the end is reached, or `signal` aborts. Never rejects. */
  changed(signal: AbortSignal): Promise<void>;
}
