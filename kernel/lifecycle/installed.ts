/**
 * An installed plugin: what was found in its folder, what the operator chose, and what supervises it.
 *
 * @module
 */
import type { Manifest } from "../../schemas/manifest.ts";
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";
import type { AdmittedPlugin, ScannedPlugin } from "../registry/registry.ts";
import type { DesiredState } from "../store/plugins_table.ts";
import type { PluginLog } from "../telemetry/plugin_log.ts";
import type { Breaker } from "./breaker.ts";
import type { Plugin, SupervisedCell } from "./plugin.ts";

/** An installed plugin, admitted or not. */
export interface Installed<Cell extends SupervisedCell> {
  readonly id: string;
  readonly folder: string;
  readonly plugin: Plugin<Cell>;
  readonly breaker: Breaker;
  log: PluginLog;
  /** What is known of the package; the manifest only when it was admitted. */
  scanned: ScannedPlugin;
  scannedAtMs: number;
  enabled: boolean;
  desired: DesiredState;
  /** The entry of the breaker's last change: with it all before it are in the ledger. */
  breakerTold: Promise<unknown>;
  /** Why there is nothing to run, although the package was admitted. */
  fault: { readonly error: ProblemError; readonly atMs: number } | undefined;
  /** Tells those who watch that something of it is other than before. Never throws. */
  changed(): void;
}

/**
 * `id@version`, as it stands in the ledger. A package that was never admitted is named only if its manifest
 * names it: its id here may be made from its folder's name, which anybody may have chosen.
 */
export function nameInLedger({ plugin, scanned }: Installed<SupervisedCell>): string {
  if (plugin.release !== undefined) return plugin.name;
  if (scanned.kind === "rejected") return scanned.name ?? "";
  return nameOfPackage(scanned);
}

export function nameOfPackage({ manifest: { id, version } }: AdmittedPlugin): string {
  return `${id}@${version}`;
}

/** The manifest of what is loaded, or else of what was found. Throws PLUGIN_REJECTED. */
export function checkKnown({ plugin, scanned }: Installed<SupervisedCell>): Manifest {
  if (scanned.kind === "rejected") throw scanned.error;
  return plugin.release?.manifest ?? scanned.manifest;
}

/** Throws why a call cannot be taken; returns the manifest of what would take it. */
export function checkCallable(installed: Installed<SupervisedCell>): Manifest {
  const manifest = checkStartable(installed);
  const { refusal } = installed.plugin;
  if (refusal !== undefined) throw refusal;
  return manifest;
}

/**
 * Throws why not even an operator can start it: unlike a call, that may follow any failure but a quarantine.
 */
export function checkStartable(
  { id, plugin, scanned, enabled, desired, fault }: Installed<SupervisedCell>,
): Manifest {
  if (scanned.kind === "rejected") throw scanned.error;
  const refuse = (code: ProblemCode, state: string) =>
    new ProblemError(code, `Cannot call plugin "${id}": ${state}`);
  if (!enabled) throw refuse("PLUGIN_DISABLED", "it is disabled");
  if (desired !== "on-demand") throw refuse("PLUGIN_STOPPED", `an operator has ${desired} it`);
  if (plugin.state === "quarantined" && plugin.refusal !== undefined) throw plugin.refusal;
  if (fault !== undefined) throw fault.error;
  if (plugin.release === undefined) throw refuse("PLUGIN_STOPPED", "it is not loaded");
  return plugin.release.manifest;
}

/** Starts a critical plugin in the background, unless something forbids it; any other waits for its call. */
export function bringUp(installed: Installed<SupervisedCell>): void {
  try {
    checkStartable(installed);
  } catch (error) {
    if (error instanceof ProblemError) return;
    throw error;
  }
  installed.plugin.bringUp();
}

/** Whether Airlock is not ready because of this plugin. One that was rejected serves nobody. */
export function isMissed({ plugin, scanned, enabled }: Installed<SupervisedCell>): boolean {
  if (!enabled) return false;
  const wasCritical = plugin.release?.manifest.critical;
  if (scanned.kind === "rejected") return wasCritical ?? scanned.isCritical;
  return (wasCritical ?? scanned.manifest.critical) && !plugin.isUp;
}

/** Takes what a cell wrote, or told `ctx.log`. */
export function writeLog(
  log: PluginLog,
  source: "log" | "output",
  level: "debug" | "info" | "warn" | "error",
  text: string,
): void {
  if (source === "output") log.write("stdout", new TextEncoder().encode(text));
  else log.entry({ level: level === "warn" ? "warning" : level, text });
}
