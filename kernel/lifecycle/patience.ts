/**
 * Patience: how long a call waits for its plugin, all its waits together.
 *
 * A call may wait for a cell to end, for a pause to be over and for an operator to resume; it has one deadline
 * for the sum of these.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { Clock } from "../../sandbox/clock.ts";

/** How long a call is willing to wait. */
export interface Wait {
  /** The caller has gone away. */
  readonly signal?: AbortSignal;
  readonly waitMs?: number;
}

/** A caller whose wait ran out should come again after this long. */
const retryAfterMs = 1_000;

export class Patience implements Disposable {
  readonly #over = Promise.withResolvers<"late" | "aborted">();
  readonly #cancelTimer: () => void;
  readonly #onAbort = () => this.#over.resolve("aborted");

  constructor(
    private readonly plugin: string,
    timing: Clock,
    private readonly wait: Wait & { readonly waitMs: number },
  ) {
    this.#cancelTimer = timing.setTimer(() => this.#over.resolve("late"), wait.waitMs);
    wait.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (wait.signal?.aborted) this.#onAbort();
  }

  /**
   * Waits until `event` settles, and for what becomes of it. Rejects with CANCELLED when the caller went away,
   * with QUEUE_FULL when the time is over: like a call that waited too long in line, it can be made again.
   * `state` says what was waited for. `event` must come to an end by itself: it keeps what waits for it, also
   * those who gave up.
   */
  async until<T>(event: Promise<T>, state: () => string): Promise<T> {
    const done = event.then((value) => ({ value }));
    const outcome = await Promise.race([done, this.#over.promise]);
    if (typeof outcome === "object") return outcome.value;
    const cannot = `Cannot call plugin "${this.plugin}"`;
    if (outcome === "aborted") {
      throw new ProblemError("CANCELLED", `${cannot}: its caller went away while it waited`);
    }
    throw new ProblemError(
      "QUEUE_FULL",
      `${cannot}: ${state()}, and the call waited for ${this.wait.waitMs} ms`,
      {
        retryAfterMs,
      },
    );
  }

  [Symbol.dispose](): void {
    this.#cancelTimer();
    this.wait.signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Tells of changes to those who wait for the next one. A wait that is given up leaves nothing behind. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  get waitingCount(): number {
    return this.#waiting.size;
  }

  announce(): void {
    const woken = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of woken) wake();
  }

  /** The next one; its owner disposes of it. */
  next(): { readonly change: Promise<void> } & Disposable {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    return { change: promise, [Symbol.dispose]: () => void this.#waiting.delete(resolve) };
  }
}
