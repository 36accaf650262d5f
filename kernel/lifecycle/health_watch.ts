/**
 * The health watch asks one cell's plugin at an interval whether it is well, by the plugin's own `health`
 * function.
 *
 * A check that ran out of time while calls are under way says nothing: a plugin that computes is busy, and the
 * calls' own deadlines judge them. Nor does one that did while its cell stood still. One check at a time; asking does not count as use of the plugin.
 *
 * @module
 */
import type { Manifest } from "../../schemas/manifest.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { SupervisedCell } from "./supervised_cell.ts";
import type { Clock } from "../../sandbox/clock.ts";

/** What the last check said. */
export interface Health {
  readonly status: "healthy" | "unhealthy";
  readonly atMs: number;
  /** Why it is unhealthy: the plugin's word. */
  readonly message: string | null;
}

export interface HealthWatchOptions {
  readonly plugin: string;
  readonly cell: Pick<SupervisedCell, "health" | "kill"> & {
    readonly cell: Pick<SupervisedCell["cell"], "callsUnderWay" | "pulse">;
  };
  readonly timing: Clock;
  readonly terms: NonNullable<Manifest["health"]>;
  /** In a row; then the cell is killed. */
  readonly failuresMax: number;
  /** Of the time of day. */
  nowMs(): number;
  /** Whether there is something to ask now; a suspended cell is left alone. */
  isAwake(): boolean;
  onResult(health: Health): void;
  track(work: Promise<unknown>): void;
}

/** Timers may be this early. */
const toleranceMs = 5;

export class HealthWatch implements Disposable {
  #failures = 0;
  #isOver = false;
  #cancelTimer: () => void = () => {};

  constructor(private readonly options: HealthWatchOptions) {
    this.#schedule();
  }

  #schedule(): void {
    const { timing, terms, track } = this.options;
    this.#cancelTimer = timing.setTimer(() => track(this.#tick()), terms.intervalMs);
  }

  async #tick(): Promise<void> {
    try {
      if (this.options.isAwake()) await this.#check();
    } finally {
      if (!this.#isOver) this.#schedule();
    }
  }

  async #check(): Promise<void> {
    const { plugin, cell, timing, terms: { timeoutMs }, failuresMax } = this.options;
    const startedMs = timing.nowMs();
    const message = await cell.health(timeoutMs);
    // The cell has ended or was suspended meanwhile: its answer is of no more interest.
    if (this.#isOver || !this.options.isAwake()) return;
    const isLate = timing.nowMs() - startedMs >= timeoutMs - toleranceMs;
    const { callsUnderWay, pulse } = cell.cell;
    const couldAnswer = callsUnderWay === 0 && pulse.restsUntilMs <= startedMs;
    if (message !== undefined && isLate && !couldAnswer) return;
    const status = message === undefined ? "healthy" : "unhealthy";
    this.#failures = message === undefined ? 0 : this.#failures + 1;
    this.options.onResult({ status, atMs: this.options.nowMs(), message: message ?? null });
    if (message === undefined || this.#failures < failuresMax) return;
    this.#isOver = true;
    const state = `${failuresMax} health checks in a row failed, the last one with: ${message}`;
    cell.kill(new ProblemError("PLUGIN_UNHEALTHY", `Cannot call plugin "${plugin}": ${state}`));
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancelTimer();
  }
}
