/**
 * A tracker holds the promises of work that nobody awaits, so that none fails in silence and a shutdown can
 * wait for all.
 *
 * @module
 */

export class Tracker {
  readonly #pending = new Set<Promise<unknown>>();

  constructor(private readonly onError: (error: unknown) => void) {}

  track(work: Promise<unknown>): void {
    const tracked = work.catch(this.onError).finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  /** Resolves when nothing is pending, also nothing that was begun meanwhile. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }
}
