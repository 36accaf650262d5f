/**
 * A turnstile lets so many through at a time and keeps a bounded line of those who wait. Pure of I/O.
 *
 * @module
 */

export class Turnstile {
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(private readonly insideMax: number, private readonly waitingMax: number) {}

  get insideCount(): number {
    return this.#inside;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** True when entered at once; pair with {@linkcode leave}. */
  tryEnter(): boolean {
    if (this.#inside >= this.insideMax) return false;
    this.#inside++;
    return true;
  }

  /**
   * Waits in line, at most `waitMs`. Resolves to true when entered; to false when `signal` aborts first, the
   * time is over or the line is full.
   */
  async enter(signal: AbortSignal, waitMs: number): Promise<boolean> {
    if (this.tryEnter()) return true;
    if (this.#waiting.size >= this.waitingMax || signal.aborted) return false;
    const turn = Promise.withResolvers<boolean>();
    const admit = () => turn.resolve(true);
    // Out of the line at once, so that no place is handed to somebody who has left.
    const giveUp = () => {
      this.#waiting.delete(admit);
      turn.resolve(false);
    };
    this.#waiting.add(admit);
    const timer = setTimeout(giveUp, waitMs);
    signal.addEventListener("abort", giveUp, { once: true });
    const entered = await turn.promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
    return entered;
  }

  /** Hands the place to the first in line, if there is one. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#inside--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
