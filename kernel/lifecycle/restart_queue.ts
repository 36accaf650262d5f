/**
 * The restart queue: who of the plugins that failed is started again, and when.
 *
 * After a fault of the machine many plugins are due at once, and starting them all would take the CPU from
 * those that work. So at most `restartsMax` are under way; those that are due and wait go critical ones first,
 * then by the time they were due.
 *
 * Invariants:
 * - at most `restartsMax` are under way, and a place is free again however its restart ended;
 * - what was cancelled does not run.
 *
 * Pure but for the injected clock and timers. It holds at most one entry for each plugin: its owner sees to
 * that.
 *
 * @module
 */
import type { Clock } from "../../sandbox/clock.ts";

export interface Restart {
  readonly critical: boolean;
  /** Of the queue's clock. */
  readonly dueMs: number;
  /** Settles when the place is free again. Its failure is its own. */
  run(): Promise<unknown>;
}

export class RestartQueue {
  readonly #waiting = new Set<Restart>();
  #underWay = 0;
  #isClosed = false;
  #cancelTimer: (() => void) | undefined;

  constructor(private readonly timing: Clock, private readonly restartsMax: number) {}

  get underWayCount(): number {
    return this.#underWay;
  }

  /**
   * Returns what takes it out again; that does nothing once it runs. `undefined` where it is closed: nothing
   * runs.
   */
  add(restart: Restart): (() => void) | undefined {
    if (this.#isClosed) return undefined;
    this.#waiting.add(restart);
    this.#serve();
    return () => {
      if (this.#waiting.delete(restart)) this.#serve();
    };
  }

  /** Forgets those that wait, and takes no more. */
  close(): void {
    this.#isClosed = true;
    this.#waiting.clear();
    this.#serve();
  }

  /** Runs those that are due while there is room, and sets the timer for the next one that will be. */
  #serve(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const nowMs = this.timing.nowMs();
    const due = [...this.#waiting].filter(({ dueMs }) => dueMs <= nowMs)
      .sort((a, b) => Number(b.critical) - Number(a.critical) || a.dueMs - b.dueMs);
    for (const restart of due.slice(0, Math.max(0, this.restartsMax - this.#underWay))) this.#run(restart);
    // Those that are due and wait are served when a place is free.
    const laterMs = [...this.#waiting].map(({ dueMs }) => dueMs - nowMs).filter((ms) => ms > 0);
    if (laterMs.length > 0) {
      this.#cancelTimer = this.timing.setTimer(() => this.#serve(), Math.min(...laterMs));
    }
  }

  #run(restart: Restart): void {
    this.#waiting.delete(restart);
    this.#underWay++;
    const leave = () => {
      this.#underWay--;
      this.#serve();
    };
    restart.run().then(leave, leave);
  }
}
