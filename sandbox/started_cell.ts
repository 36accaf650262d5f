/**
 * A started cell is a cell whose plugin is loaded, as the one who asked for it holds it: each of its orders
 * comes to an end, by the cell's doing or by a kill.
 *
 * @module
 */
import { ProblemError } from "../schemas/problem.ts";
import type { LiveCell } from "./live_cell.ts";

export interface StartedCell {
  readonly cell: LiveCell;
  /** Of the cell's program as the host sees it; `null` where that is not to be had. */
  readonly pid: number | null;
  /** While it was suspended a call ended without it. It is to be ended, and another to take its place. */
  readonly isStale: boolean;
  /** Drain → stop → kill, each with its deadline; a suspended one is killed. Resolves at the end of the process. */
  stop(): Promise<void>;
  /**
   * No CPU at all from when it resolves until {@linkcode StartedCell.resume}. A call whose deadline passes
   * meanwhile, or whose caller goes away, ends at once, and the cell is then stale. Rejects with ProblemError
   * when the cell ends.
   */
  suspend(): Promise<void>;
  /** Rejects with ProblemError when the cell ends. */
  resume(): Promise<void>;
  /** What is wrong in the plugin's own words, or that it did not answer in time; `undefined` when it is well. */
  health(timeoutMs: number): Promise<string | undefined>;
  /** Ends the process at once. Calls under way get `problem` where it is an error of calls, see `cell_end.ts`. */
  kill(problem: ProblemError): void;
}

export interface StartedCellOptions {
  readonly plugin: string;
  readonly cell: LiveCell;
  readonly pid: number | null;
  readonly stopTimeoutMs: number;
}

export function createStartedCell({ plugin, cell, pid, stopTimeoutMs }: StartedCellOptions): StartedCell {
  const killFor = (code: ProblemError["code"], state: string) =>
    cell.kill(new ProblemError(code, `Cannot call plugin "${plugin}": ${state}`));
  // A cell that the warden can neither suspend nor resume is of no use.
  const inTime = async (change: Promise<void>, state: string) => {
    const timer = setTimeout(() => killFor("INTERNAL", state), stopTimeoutMs);
    try {
      await change;
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    cell,
    pid,
    get isStale() {
      return cell.isStale;
    },
    async stop() {
      const stopTimer = setTimeout(() => cell.stop(), stopTimeoutMs);
      const killTimer = setTimeout(() => killFor("PLUGIN_STOPPED", "it was stopped"), 2 * stopTimeoutMs);
      await cell.drain();
      cell.stop();
      await cell.ended;
      clearTimeout(stopTimer);
      clearTimeout(killTimer);
    },
    suspend: () => inTime(cell.suspend(), "it could not be suspended"),
    resume: () => inTime(cell.resume(), "it could not be resumed"),
    health: (timeoutMs) => cell.health(timeoutMs),
    kill: (problem) => cell.kill(problem),
  };
}
