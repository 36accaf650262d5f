/**
 * The end of a cell: what became of its process, and what that means to its calls. Pure.
 *
 * @module
 */
import type { ProblemCode, ProblemError } from "../schemas/problem.ts";
import type { FromWarden, WardenKillReason } from "../schemas/warden_protocol.ts";

/** What the warden says of the end of a process. */
export type ProcessEnd = Omit<Extract<FromWarden, { type: "ended" }>, "type" | "cell">;

/** What became of a cell. */
export interface CellEnd {
  /** Why it ended. Calls under way got it as their error, or PLUGIN_CRASHED where it was not their doing. */
  readonly cause: ProblemError;
  readonly exitCode: number;
  readonly signal: string | null;
  /** Calls that were under way. */
  readonly calls: number;
  /** Who ended it: the kernel or warden by a kill, the cell at the kernel's word, or nobody. */
  readonly by: "killed" | "stopped" | "crashed";
  /** Calls under way were its cause, and were told so: it says little of the plugin's next cell. */
  readonly isCallsDoing: boolean;
}

/** What its calls get when it is stopped: a plugin that was stopped, or a cell that another one follows. */
export type StopCode = "PLUGIN_STOPPED" | "PLUGIN_CRASHED";

/** A cause in words; `culprits` are the calls whose doing it was, all of them where it is left out. */
export interface EndCause {
  readonly code: ProblemCode;
  readonly state: string;
  readonly culprits?: readonly number[];
}

const killStates: Record<WardenKillReason, string> = {
  LIMIT_MEMORY: "it used more memory than it may",
  LIMIT_CPU: "it used more CPU time than it may",
  LIMIT_THREADS: "it has more threads than it may",
  LIMIT_DESCRIPTORS: "it has more descriptors open than it may",
  LIMIT_CONNECTIONS: "it has more connections open than it may",
  LIMIT_DISK: "it wrote more to disk than it may",
  LIMIT_FILES: "it made more files than it may",
};

const stopStates: Record<StopCode, string> = {
  PLUGIN_STOPPED: "it was stopped",
  PLUGIN_CRASHED: "its cell was replaced",
};

export function causeOfStop(code: StopCode): EndCause {
  return { code, state: stopStates[code] };
}

/** Signals by which a limit ends a process; wrappers report one as 128 + its number. */
const limitSignals = [
  { signal: "SIGTRAP", number: 5, code: "LIMIT_MEMORY", state: "the heap of the plugin is full" },
  { signal: "SIGXFSZ", number: 25, code: "LIMIT_DISK", state: "the plugin wrote a file above its limit" },
] as const;

/** The limit for which the warden killed by itself. */
export function causeOfKill({ killed, detail, calls }: ProcessEnd): EndCause | undefined {
  if (killed === null || killed === "asked") return undefined;
  const state = detail === "" ? killStates[killed] : `${killStates[killed]}: ${detail}`;
  return { code: killed, state, ...(killed === "LIMIT_CPU" && calls.length > 0 ? { culprits: calls } : {}) };
}

/** Why a process ended that was not killed for a limit. `failure` is what the plugin's code died of, in its own words. */
export function causeOfEnd(
  { exitCode, signal, detail }: ProcessEnd,
  { failure, stop }: { failure: string | undefined; stop: StopCode | undefined },
): EndCause {
  const limit = limitSignals.find((limit) => signal === limit.signal || exitCode === 128 + limit.number);
  if (limit !== undefined) return limit;
  // For something that is no limit's.
  if (detail !== "") return { code: "PLUGIN_CRASHED", state: `its cell was ended: ${detail}` };
  if (failure !== undefined) return { code: "PLUGIN_CRASHED", state: `its code failed: ${failure}` };
  if (stop !== undefined) return causeOfStop(stop);
  return { code: "PLUGIN_CRASHED", state: `its cell ended with ${signal ?? `exit code ${exitCode}`}` };
}

/**
 * Whether calls get `code` when it ended their cell. What is wrong with the plugin and not with a call is the
 * end of the calls all the same, but not their failure.
 */
export function isCodeOfCalls(code: ProblemCode): boolean {
  return code !== "PLUGIN_UNRESPONSIVE" && code !== "PLUGIN_UNHEALTHY";
}
