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

  /** Lets time pass; each timer fires when it is due. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const [next] = [...this.#timers].filter(([, { dueMs }]) => dueMs <= endMs)
        .sort(([, first], [, second]) => first.dueMs - second.dueMs);
      if (next === undefined) break;
      const [timer, { dueMs, fire }] = next;
      this.#timers.delete(timer);
      this.#nowMs = Math.max(this.#nowMs, dueMs);
      fire();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass as it does for a process that is held up: what was due meanwhile fires once, late. */
  holdUp(byMs: number): void {
    this.#nowMs += byMs;
    this.advance(0);
  }
}
