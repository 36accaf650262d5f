/**
 * A supervised cell: the part of a cell that supervision needs. `sandbox/` provides it.
 *
 * Types only.
 *
 * @module
 */
import type { ProblemError } from "../../schemas/problem.ts";

/** How a cell ended. */
export interface CellEnd {
  readonly cause: ProblemError;
  readonly exitCode: number;
  readonly signal: string | null;
  /** Calls that were under way. */
  readonly calls: number;
  readonly by: "killed" | "stopped" | "crashed";
}

export interface SupervisedCell {
  readonly cell: {
    readonly callsUnderWay: number;
    readonly takesCalls: boolean;
    readonly ended: Promise<CellEnd>;
    /** While it was suspended a call ended without it: it is to be ended, and another to take its place. */
    readonly isStale: boolean;
  };
  readonly pid: number | null;
  /** It uses no CPU once this resolves. Rejects with ProblemError when it ended before. */
  suspend(): Promise<void>;
  resume(): Promise<void>;
  /** Asks the plugin's own `health`. Resolves to what is wrong, or to `undefined`. */
  health(timeoutMs: number): Promise<string | undefined>;
  /** Ends it at once, because of `problem`. */
  kill(problem: ProblemError): void;
  /** Drain → stop → kill, each with its deadline; also of a suspended one. Resolves at the end of the process. */
  stop(): Promise<void>;
}
