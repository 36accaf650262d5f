/**
 * A started cell is a cell whose plugin is loaded, as the one who asked for it holds it: each of its orders
 * comes to an end, by the cell's doing or by a kill.
 *
 * @module
 */
import { ProblemError } from "../schemas/problem.ts";
import type { StopCode } from "./cell_end.ts";
import type { LiveCell } from "./live_cell.ts";

export interface StartedCell {
  readonly cell: LiveCell;
  /** Of the cell's program as the host sees it; `null` where that is not to be had. */
  readonly pid: number | null;
  /**
   * Drain → stop → kill, each with its deadline; a suspended one is killed. Calls that are cut off get `code`,
   * PLUGIN_STOPPED where it is left out. Resolves at the end of the process.
   */
  stop(code?: StopCode): Promise<void>;
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
  /** Resolves when its audit was told all that it asked for until now. */
  audited(): Promise<void>;
  /** Ends the process at once. Calls under way get `problem` where it is an error of calls, see `cell_end.ts`. */
  kill(problem: ProblemError): void;
}

export interface StartedCellOptions {
  readonly plugin: string;
  readonly cell: LiveCell;
  readonly pid: number | null;
  readonly stopTimeoutMs: number;
  audited(): Promise<void>;
}

export function createStartedCell(
  { plugin, cell, pid, stopTimeoutMs, audited }: StartedCellOptions,
): StartedCell {
  const cannot = `Cannot call plugin "${plugin}"`;
  // A cell that the warden can neither suspend nor resume is of no use.
  const inTime = async (change: Promise<void>, state: string) => {
    const timer = setTimeout(
      () => cell.kill(new ProblemError("INTERNAL", `${cannot}: ${state}`)),
      stopTimeoutMs,
    );
    try {
      await change;
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    cell,
    pid,
    audited,
    async stop(code = "PLUGIN_STOPPED") {
      const stopTimer = setTimeout(() => cell.stop(), stopTimeoutMs);
      const killTimer = setTimeout(() => cell.killStopped(), 2 * stopTimeoutMs);
      await cell.drain(code);
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
