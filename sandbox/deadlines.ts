/**
 * Deadlines of many calls on one timer.
 *
 * Nearly every call ends long before its deadline. A timer for each, set and cleared, cost a call 10 µs of its
 * 110: the event loop looks at its timers anew each time. Here the timer stays where it is when a call ends,
 * and looks for the next deadline when it fires: a timer fires at most once for each span of the shortest
 * deadline, however many calls pass.
 *
 * Invariant: while there is a deadline, the timer is set to fire at it or before.
 *
 * @module
 */

import { type Clock, systemClock } from "./clock.ts";

export class Deadlines implements Disposable {
  readonly #dueMs = new Map<number, number>();
  #cancelTimer = () => {};
  #firesAtMs = Infinity;

  /** `overdue` is told each id once, when its time is up; its deadline is then gone. */
  constructor(private readonly overdue: (id: number) => void, private readonly clock: Clock = systemClock) {}

  /** Replaces the deadline of `id`. */
  set(id: number, inMs: number): void {
    const dueMs = this.clock.nowMs() + inMs;
    this.#dueMs.set(id, dueMs);
    if (dueMs < this.#firesAtMs) this.#arm(dueMs);
  }

  /** Brings the deadline of `id` forward; false when it is due by then as it stands, or has none. */
  hasten(id: number, inMs: number): boolean {
    const dueMs = this.#dueMs.get(id);
    if (dueMs === undefined || dueMs <= this.clock.nowMs() + inMs) return false;
    this.set(id, inMs);
    return true;
  }

  delete(id: number): void {
    this.#dueMs.delete(id);
  }

  #arm(dueMs: number): void {
    this.#cancelTimer();
    this.#firesAtMs = dueMs;
    // Rounded up: a timer that fires a moment early would find nothing due.
    this.#cancelTimer = this.clock.setTimer(() => this.#fire(), Math.ceil(dueMs - this.clock.nowMs()));
  }

  #fire(): void {
    this.#firesAtMs = Infinity;
    const nowMs = this.clock.nowMs();
    const overdue = [...this.#dueMs].filter(([, dueMs]) => dueMs <= nowMs).map(([id]) => id);
    for (const id of overdue) this.#dueMs.delete(id);
    const nextMs = Math.min(...this.#dueMs.values());
    if (nextMs < Infinity) this.#arm(nextMs);
    for (const id of overdue) this.overdue(id);
  }

  [Symbol.dispose](): void {
    this.#cancelTimer();
    this.#firesAtMs = Infinity;
    this.#dueMs.clear();
  }
}
