/**
 * The report of calls tells the warden what each cell works on, so that it can charge CPU time to calls and
 * hold `cpuMs` by itself, also while the kernel's loop is busy.
 *
 * It is lazy, because a message for each call would cost as much as a short call does. A cell that the warden
 * has as idle is reported at its first call, at once: the kernel may be held up right after. From then on at
 * most once in an interval, and only what changed. It is idle again when a whole interval has passed without a
 * call. So what the warden charges to a call may be off by what its cell did in one interval.
 *
 * Invariant: while the warden has a cell as not idle, the timer runs; else it does not.
 *
 * @module
 */
import { reportedCallsMax } from "../schemas/warden_protocol.ts";
import { type Clock, systemClock } from "./clock.ts";

/** The calls of one cell. */
export interface ReportedCalls {
  /** How many are under way. */
  readonly count: number;
  /** Id of the newest, under way or over; ids only grow. */
  readonly newest: number;
  /** Ids of calls under way, the oldest first. */
  oldest(max: number): number[];
}

export interface CallsReportOptions {
  readonly intervalMs: number;
  report(cell: string, count: number, ids: number[]): void;
}

interface Reported {
  readonly calls: ReportedCalls;
  /** As it was at the last look. */
  count: number;
  newest: number;
}

export class CallsReport {
  readonly #busy = new Map<string, Reported>();
  #cancelTimer: (() => void) | undefined;

  constructor(private readonly options: CallsReportOptions, private readonly clock: Clock = systemClock) {}

  /** A call of `cell` has begun. */
  began(cell: string, calls: ReportedCalls): void {
    if (this.#busy.has(cell)) return;
    const { count, newest } = calls;
    this.#busy.set(cell, { calls, count, newest });
    this.options.report(cell, count, calls.oldest(reportedCallsMax));
    if (this.#cancelTimer === undefined) this.#arm();
  }

  /** The cell has ended. */
  forget(cell: string): void {
    this.#busy.delete(cell);
    if (this.#busy.size > 0) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #arm(): void {
    this.#cancelTimer = this.clock.setTimer(() => this.#look(), this.options.intervalMs);
  }

  #look(): void {
    for (const [cell, reported] of this.#busy) this.#lookAt(cell, reported);
    if (this.#busy.size > 0) this.#arm();
    else this.#cancelTimer = undefined;
  }

  #lookAt(cell: string, reported: Reported): void {
    const { calls } = reported;
    const { count, newest } = calls;
    const hasNew = newest !== reported.newest;
    const hasChanged = hasNew || count !== reported.count;
    reported.count = count;
    reported.newest = newest;
    if (count > 0) {
      if (hasChanged) this.options.report(cell, count, calls.oldest(reportedCallsMax));
    } else if (hasNew) {
      // Between two calls. Told as idle it would be reported again at the next one; left as it was, all
      // that follows would be charged to a call that is long over.
      this.options.report(cell, 1, [newest]);
    } else if (!hasChanged) {
      this.#busy.delete(cell);
      this.options.report(cell, 0, []);
    }
  }
}
