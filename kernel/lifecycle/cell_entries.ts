/**
 * The ledger entries of a cell's life: one of its start, or of a start that failed, and one of its end. Pure.
 *
 * @module
 */
import type { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/ledger.ts";
import { grantedScopes, type Release } from "./release.ts";
import type { CellEnd } from "./supervised_cell.ts";

export type StopReason = "operator" | "idle" | "shutdown" | "reload" | "per-call";

/** Who asked for the end of a cell, and why. */
export interface Asked {
  readonly reason: StopReason;
  readonly actor: string;
}

type WithoutPlace<T> = T extends unknown ? Omit<T, "actor" | "plugin"> : never;
/** An event, but for who did it to which plugin. */
export type PluginEvent = WithoutPlace<LedgerEventInput>;

export function startedEvent({ isolation, digest, grants }: Release): PluginEvent {
  const data = { isolation, packageSha256: digest, granted: grantedScopes(grants) };
  return { type: "plugin.started", data };
}

export function failedEvent({ code, message }: ProblemError): PluginEvent {
  return { type: "plugin.failed", data: { code }, commit: { reason: message } };
}

/** A cell that had to be killed because it did not stop was killed, and is not said to have stopped. */
export function endedEvent(
  { by, calls, cause: { code, message }, exitCode, signal }: CellEnd,
  { reason }: Asked,
): PluginEvent {
  // The words may hold some that the plugin chose.
  const commit = { detail: message };
  switch (by) {
    case "killed":
      return { type: "plugin.killed", data: { code, calls }, commit };
    case "crashed":
      return { type: "plugin.crashed", data: { exitCode, signal: signal ?? "", calls }, commit };
    case "stopped":
      return { type: "plugin.stopped", data: { reason } };
  }
}

/** What calls get that the end of their cell cuts off: those that the next cell can take are told so. */
export function stopCodeOf({ reason }: Asked): "PLUGIN_STOPPED" | "PLUGIN_CRASHED" {
  return reason === "reload" ? "PLUGIN_CRASHED" : "PLUGIN_STOPPED";
}
