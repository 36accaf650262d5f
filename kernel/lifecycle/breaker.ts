/**
 * A circuit breaker keeps calls away from a plugin that only fails.
 *
 *     closed ──failures in a row──> open ──openMs──> half_open ──the trial succeeds──> closed
 *                                     ^────────────the trial fails────┘
 *
 * A failing plugin costs each caller a cell's start, a deadline and two entries of the ledger; an open breaker
 * costs it an answer that says when to come again.
 *
 * Invariants:
 * - while open nothing passes; half open, one call at a time;
 * - only calls that were let through in the present state change it: late news of an earlier one does not.
 *
 * Pure but for the injected clock.
 *
 * @module
 */
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";

export type BreakerState = "closed" | "open" | "half_open";

/** What a call says of its plugin. A call that was cancelled, or whose input was wrong, says nothing. */
export type Outcome = "success" | "failure" | "neutral";

export interface BreakerOptions {
  /** In a row. */
  readonly failuresMax: number;
  readonly openMs: number;
  /** Never goes back. */
  nowMs(): number;
  onChange(state: BreakerState): void;
}

/** Leave to make one call; `done` is told once how it went. */
export interface Permit {
  done(outcome: Outcome): void;
  /** It failed. One end of a cell, which all the calls in it are told, is one failure. */
  failed(problem: ProblemError): void;
}

/** By these codes a plugin fails its caller. */
const pluginFailures: ReadonlySet<ProblemCode> = new Set([
  "ACTION_FAILED",
  "OUTPUT_INVALID",
  "PLUGIN_CRASHED",
  "PLUGIN_START_FAILED",
  "LIMIT_WALL",
  "LIMIT_CPU",
  "LIMIT_MEMORY",
  "LIMIT_DISK",
  "LIMIT_FILES",
  "LIMIT_DESCRIPTORS",
  "LIMIT_CONNECTIONS",
  "LIMIT_OUTPUT",
  "LIMIT_THREADS",
  "LIMIT_MESSAGES",
]);

/** What a call that ended with `code` says of its plugin. */
export function outcomeOf(code: ProblemCode): Outcome {
  return pluginFailures.has(code) ? "failure" : "neutral";
}

/** What others are told while the one trial is under way. */
const trialRetryAfterMs = 1_000;

export class Breaker {
  #state: BreakerState = "closed";
  #failures = 0;
  #openedAtMs = 0;
  #hasTrial = false;
  /** Of the last failure. */
  #lastCause: unknown;
  /** Of the present state: calls that were let through in another one have no say. */
  #era = 0;

  constructor(private readonly options: BreakerOptions) {}

  /** An open breaker whose time is up reads as `half_open`: the next call will be its trial. */
  get state(): BreakerState {
    return this.#state === "open" && this.#openForMs() === 0 ? "half_open" : this.#state;
  }

  /** How long a call would have to wait; 0 when one may pass now. */
  retryAfterMs(): number {
    if (this.#state === "open") return this.#openForMs();
    return this.#hasTrial ? trialRetryAfterMs : 0;
  }

  /** Leave to call, or `undefined`: see {@linkcode retryAfterMs}. */
  enter(): Permit | undefined {
    if (this.retryAfterMs() > 0) return undefined;
    if (this.#state === "open") this.#become("half_open");
    this.#hasTrial = this.#state === "half_open";
    const era = this.#era;
    const done = (outcome: Outcome) => {
      if (era === this.#era) this.#learn(outcome);
    };
    return {
      done,
      failed: (problem) => {
        const cause = problem.cause instanceof ProblemError ? problem.cause : problem;
        const isKnown = cause === this.#lastCause;
        this.#lastCause = cause;
        // Whoever may cancel must not be able to open a breaker, also by the calls beside the cancelled one.
        done(isKnown || cause.code === "CANCELLED" ? "neutral" : outcomeOf(problem.code));
      },
    };
  }

  /** An operator's: closed, and nothing is held against the plugin. */
  reset(): void {
    this.#failures = 0;
    if (this.#state !== "closed") this.#become("closed");
  }

  #learn(outcome: Outcome): void {
    this.#hasTrial = false;
    if (outcome === "success") this.reset();
    if (outcome !== "failure") return;
    this.#failures++;
    if (this.#state === "half_open" || this.#failures >= this.options.failuresMax) this.#become("open");
  }

  #openForMs(): number {
    return Math.max(0, this.#openedAtMs + this.options.openMs - this.options.nowMs());
  }

  /** The one writer of the state. */
  #become(state: BreakerState): void {
    this.#state = state;
    this.#era++;
    this.#failures = 0;
    this.#hasTrial = false;
    if (state === "open") this.#openedAtMs = this.options.nowMs();
    this.options.onChange(state);
  }
}
