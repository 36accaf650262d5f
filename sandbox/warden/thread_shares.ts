/**
 * The shares of a core that the threads of some processes want: what each had of the CPU, and what it waited for.
 *
 * What a thread was given says little of it while others want the CPU too; what it would have taken changes less
 * with its neighbours. A thread that takes the place of one that ended goes on with its share: a loop that moves on
 * to a new Worker is the same loop. Pure.
 *
 * @module
 */
import type { ThreadDemand } from "./proc.ts";

/** Of a thread that ended, less is forgotten. */
const endedShareMin = 0.01;

interface Known extends ThreadDemand {
  readonly share: number;
}

export class ThreadShares {
  /** Undefined before the first look. */
  #threads: ReadonlyMap<number, Known> | undefined;
  /** Shares of threads that ended and whose place none has taken, ascending. */
  #ended: readonly number[] = [];

  /** Of the thread that wants most. */
  get most(): number {
    return Math.max(0, ...this.#shares());
  }

  /** Cores that all want together. */
  get sum(): number {
    return [...this.#shares(), ...this.#ended].reduce((sum, share) => sum + share, 0);
  }

  /**
   * `elapsedMs`: since the last time, without that in which they could not run. A share is that of about `windowMs`
   * until now.
   */
  take(threads: ReadonlyMap<number, ThreadDemand>, elapsedMs: number, windowMs: number): void {
    const weight = 1 - Math.exp(-elapsedMs / windowMs);
    // At the first look nobody knows since when it ran.
    const known = this.#threads;
    const found = [...threads].map(([thread, { ranMs, waitedMs }]) => {
      const before = known === undefined ? { ranMs, waitedMs, share: 0 } : known.get(thread);
      const wantedMs = ranMs + waitedMs - (before?.ranMs ?? 0) - (before?.waitedMs ?? 0);
      return { thread, ranMs, waitedMs, wantedMs, before };
    }).sort((a, b) => b.wantedMs - a.wantedMs);
    const gone = [...known ?? []].filter(([thread]) => !threads.has(thread)).map(([, { share }]) => share);
    const ended = [...this.#ended, ...gone].sort((a, b) => a - b);
    const taken = new Map<number, Known>();
    for (const { thread, ranMs, waitedMs, wantedMs, before } of found) {
      const share = before?.share ?? ended.pop() ?? 0;
      const wanted = Math.min(1, Math.max(0, wantedMs) / elapsedMs);
      taken.set(thread, { ranMs, waitedMs, share: share * (1 - weight) + wanted * weight });
    }
    this.#threads = taken;
    this.#ended = ended.map((share) => share * (1 - weight)).filter((share) => share >= endedShareMin);
  }

  /** What they wanted so far counts for nothing. */
  forget(): void {
    this.#threads &&= new Map([...this.#threads].map(([thread, known]) => [thread, { ...known, share: 0 }]));
    this.#ended = [];
  }

  #shares(): number[] {
    return Array.from(this.#threads?.values() ?? [], ({ share }) => share);
  }
}
