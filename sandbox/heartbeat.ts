/**
 * The heartbeat asks every cell for a sign of life, and tells which one gave none for too long.
 *
 * What it measures is the main thread of a cell, which does little: a Worker that computes for minutes is
 * healthy. A cell that says nothing there can be neither cancelled nor stopped, so it is of no use.
 *
 * Time in which nothing could be heard does not count. While a cell is suspended, and after the kernel's own
 * loop was held up, the cells' time begins anew: a busy kernel must not kill healthy cells.
 *
 * Invariant: one ping of a cell is under way at most, so that a cell that does not read is not sent more, and
 * an answer can only be to that one.
 *
 * @module
 */
import { type Clock, systemClock } from "./clock.ts";

/** A cell, as far as its heartbeat goes. */
export interface BeatingCell {
  readonly pulse: Pulse;
  /** Connected, not suspended, and not on its way to its end. */
  readonly takesPings: boolean;
  ping(nonce: number): void;
  /** It answered nothing for `silentMs`. */
  unresponsive(silentMs: number): void;
}

/** What one cell was asked, and whether it has answered. */
export class Pulse {
  #nonce = 0;
  #askedAtMs: number | undefined;
  /** It stands still until then, and has heard of nothing that it is asked meanwhile. */
  #restsUntilMs = 0;

  /** A later one than now only while it rests. */
  get restsUntilMs(): number {
    return this.#restsUntilMs;
  }

  /** The nonce of the next ping. Only when the last one was answered. */
  ask(nowMs: number): number {
    this.#askedAtMs = Math.max(nowMs, this.#restsUntilMs);
    return ++this.#nonce;
  }

  /** False when this was not asked, or answered before. */
  answer(nonce: number): boolean {
    if (this.#askedAtMs === undefined || nonce !== this.#nonce) return false;
    this.#askedAtMs = undefined;
    return true;
  }

  /** The time of a ping that is under way begins anew. */
  renew(nowMs: number): void {
    if (this.#askedAtMs !== undefined) this.#askedAtMs = Math.max(nowMs, this.#restsUntilMs);
  }

  /** It will not run for `restMs`, which count for nothing. */
  rest(nowMs: number, restMs: number): void {
    this.#restsUntilMs = Math.max(this.#restsUntilMs, nowMs) + restMs;
    if (this.#askedAtMs !== undefined) this.#askedAtMs += restMs;
  }

  /** For how long a ping has been under way; negative before it can be heard. */
  silentMs(nowMs: number): number | undefined {
    return this.#askedAtMs === undefined ? undefined : nowMs - this.#askedAtMs;
  }
}

export interface HeartbeatOptions {
  readonly intervalMs: number;
  /** A cell is told off at the first beat after so long a silence. */
  readonly timeoutMs: number;
}

/** A beat that comes later than this share of an interval shows that the kernel was held up. */
const heldUpShare = 0.5;

export class Heartbeat {
  readonly #cells = new Set<BeatingCell>();
  #cancelTimer: (() => void) | undefined;

  constructor(private readonly options: HeartbeatOptions, private readonly clock: Clock = systemClock) {}

  add(cell: BeatingCell): void {
    this.#cells.add(cell);
    if (this.#cancelTimer === undefined) this.#arm();
  }

  delete(cell: BeatingCell): void {
    this.#cells.delete(cell);
    if (this.#cells.size > 0) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #arm(): void {
    const dueMs = this.clock.nowMs() + this.options.intervalMs;
    this.#cancelTimer = this.clock.setTimer(() => {
      this.#arm();
      this.#beat(dueMs);
    }, this.options.intervalMs);
  }

  #beat(dueMs: number): void {
    const { intervalMs, timeoutMs } = this.options;
    const nowMs = this.clock.nowMs();
    const wasHeldUp = nowMs - dueMs > intervalMs * heldUpShare;
    for (const cell of this.#cells) {
      const { pulse, takesPings } = cell;
      if (wasHeldUp || !takesPings) pulse.renew(nowMs);
      if (!takesPings) continue;
      const silentMs = pulse.silentMs(nowMs);
      if (silentMs === undefined) cell.ping(pulse.ask(nowMs));
      else if (silentMs >= timeoutMs) cell.unresponsive(silentMs);
    }
  }
}
