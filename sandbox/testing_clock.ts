/**
 * A clock that goes when the test says so. Only `*_test.ts` files import this.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

export class TestingClock implements Clock {
  readonly #timers = new Map<number, { dueMs: number; fire: () => void }>();
  #nowMs = 0;
  #lastTimer = 0;
  /** So far, cancelled ones too. */
  timersSet = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(fire: () => void, inMs: number): () => void {
    const timer = ++this.#lastTimer;
    this.timersSet++;
    this.#timers.set(timer, { dueMs: this.#nowMs + inMs, fire });
    return () => this.#timers.delete(timer);
  }

  get isTimerSet(): boolean {
    return this.#timers.size > 0;
  }

  /** How long each timer that is set still runs, ascending. */
  get pendingMs(): number[] {
    return [...this.#timers.values()].map(({ dueMs }) => dueMs - this.#nowMs).sort((a, b) => a - b);
  }

  /** Lets time pass; each timer fires when it is due. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    while (this.#fireNext(endMs));
    this.#nowMs = endMs;
  }

  /** The same, and after each timer what is pending goes on. */
  async pass(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    while (this.#fireNext(endMs)) await settle();
    this.#nowMs = endMs;
    await settle();
  }

  /** Fires the timer that is due first, if one is due by then. */
  #fireNext(byMs: number): boolean {
    const [next] = [...this.#timers].filter(([, { dueMs }]) => dueMs <= byMs)
      .sort(([a, first], [b, second]) => first.dueMs - second.dueMs || a - b);
    if (next === undefined) return false;
    const [timer, { dueMs, fire }] = next;
    this.#timers.delete(timer);
    this.#nowMs = Math.max(this.#nowMs, dueMs);
    fire();
    return true;
  }

  /** Lets time pass as it does for a process that is held up: what was due meanwhile fires once, late. */
  holdUp(byMs: number): void {
    this.#nowMs += byMs;
    this.advance(0);
  }
}

/** Lets what is pending go on. */
export async function settle(): Promise<void> {
  for (let tick = 0; tick < 20; tick++) await null;
}
