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
  /**
   * Calls under way were its cause, and were told so: the breaker judges that, and no plugin is given up for
   * it.
   */
  readonly isCallsDoing: boolean;
}

export interface SupervisedCell {
  readonly cell: {
    readonly callsUnderWay: number;
    readonly takesCalls: boolean;
    readonly ended: Promise<CellEnd>;
    /** While it was suspended a call ended without it: it is to be ended, and another to take its place. */
    readonly isStale: boolean;
    /** `restsUntilMs`: by the warden's order it does not run before that; of `performance.now()`. */
    readonly pulse: { readonly restsUntilMs: number };
  };
  readonly pid: number | null;
  /** It uses no CPU once this resolves. Rejects with ProblemError when it ended before. */
  suspend(): Promise<void>;
  resume(): Promise<void>;
  /** Asks the plugin's own `health`. Resolves to what is wrong, or to `undefined`. */
  health(timeoutMs: number): Promise<string | undefined>;
  /** Resolves when its audit was told of all that its code asked for until now. */
  audited(): Promise<void>;
  /** Ends it at once, because of `problem`. */
  kill(problem: ProblemError): void;
  /**
   * Drain → stop → kill, each with its deadline; also of a suspended one. Calls that are cut off get `code`.
   * Resolves at the end of the process.
   */
  stop(code?: "PLUGIN_STOPPED" | "PLUGIN_CRASHED"): Promise<void>;
}
