/**
 * Event readers: everybody who watches events, by server-sent events or WebSocket.
 *
 * A reader costs little and stays for long. So there are many at once, none waits for a place, and all can be
 * ended together: they would hold up the end of the kernel.
 *
 * Invariants:
 * - all callers together are `readersMax` at most, one caller {@linkcode readersPerCallerMax};
 * - after {@linkcode EventReaders.closeAll} none comes in.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import { readyRetryMs } from "./authenticate.ts";

/** Places that one caller may hold. */
export const readersPerCallerMax = 256;

const retryAfterMs = 5_000;

export class EventReaders {
  readonly #closers = new Set<() => void>();
  readonly #counts = new Map<string, number>();
  #state: "open" | "closed" = "open";

  constructor(private readonly limits: { readonly readersMax: number }) {}

  get count(): number {
    return this.#closers.size;
  }

  /**
   * Takes a place for `caller`, and returns what gives it back, once. `close` is called, at most once, when the
   * reader must end. Throws QUEUE_FULL, and NOT_READY where all were ended.
   */
  enter(caller: string, close: () => void): () => void {
    if (this.#state === "closed") {
      throw new ProblemError("NOT_READY", "Cannot watch events: the kernel is draining", {
        retryAfterMs: readyRetryMs,
      });
    }
    const own = this.#counts.get(caller) ?? 0;
    if (own >= readersPerCallerMax) throw full(`${own} readers of yours are there`);
    if (this.count >= this.limits.readersMax) throw full(`${this.count} readers are there`);
    this.#counts.set(caller, own + 1);
    const closer = () => close();
    this.#closers.add(closer);
    return () => {
      if (!this.#closers.delete(closer)) return;
      const left = (this.#counts.get(caller) ?? 0) - 1;
      if (left > 0) this.#counts.set(caller, left);
      else this.#counts.delete(caller);
    };
  }

  /** Ends all that are there; to be called when the server takes no more connections. Safe to repeat. */
  closeAll(): void {
    this.#state = "closed";
    for (const close of [...this.#closers]) close();
  }
}

function full(state: string): ProblemError {
  return new ProblemError("QUEUE_FULL", `Cannot watch events: ${state}`, { retryAfterMs });
}
