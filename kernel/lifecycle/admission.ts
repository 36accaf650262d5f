/**
 * Admission: how the package in a plugin's folder becomes what its next cell runs.
 *
 * A package is read at the kernel's start, at an operator's `load`, and with `--dev` at each start of its cell. What
 * cannot be had as it asks for is not run with less: the reason is kept, and shown.
 *
 * @module
 */
import type { OperatorGrants } from "../../schemas/capabilities.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { AdmittedPlugin, RejectedPlugin } from "../registry/registry.ts";
import { createPluginLog, type PluginLog } from "../telemetry/plugin_log.ts";
import type { Installed } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import type { Quarantines } from "./quarantines.ts";
import { checkIsolation, makeRelease, type Release } from "./release.ts";

export class Admission {
  constructor(
    private readonly deps: Omit<PluginsDeps<SupervisedCell>, "sandbox">,
    private readonly quarantines: Quarantines,
  ) {}

  /** Takes a package on, or keeps why it cannot be. Only while there is no cell. */
  load(installed: Installed<SupervisedCell>, scanned: AdmittedPlugin): void {
    installed.scanned = scanned;
    installed.scannedAtMs = this.deps.nowMs();
    try {
      const release = makeRelease(scanned, this.operatorOf(installed.id), this.deps);
      checkIsolation(release);
      this.takeOn(installed, release);
    } catch (error) {
      // Grants that cannot be given, or a tier that is not to be had: nothing runs with less than was asked for.
      if (!(error instanceof ProblemError)) throw error;
      this.deps.warn(`Plugin "${installed.id}" does not run: ${error.message}`);
      installed.fault = { error, atMs: this.deps.nowMs() };
    }
  }

  /** Makes `release` what is loaded. The caller then has its quarantine settled. */
  takeOn(installed: Installed<SupervisedCell>, release: Release): void {
    installed.fault = undefined;
    installed.log = this.createLog(release.limits.logBytesPerSecond);
    // What another package did is not held against this one.
    if (installed.plugin.release?.digest !== release.digest) installed.breaker.reset();
    installed.plugin.load(release);
    this.quarantines.restore(installed);
  }

  /** Reads the package again and takes it on. Throws PLUGIN_REJECTED and keeps the reasons. */
  async reload(installed: Installed<SupervisedCell>, actor: string): Promise<void> {
    const { deps } = this;
    const scanned = await deps.readPackage(installed.folder);
    if (scanned.kind === "rejected") {
      installed.scanned = { ...scanned, id: installed.id };
      installed.scannedAtMs = deps.nowMs();
      await this.recordRejection(scanned);
      throw scanned.error;
    }
    if (scanned.manifest.id !== installed.id) {
      const detail = `Cannot load plugin "${installed.id}": its folder now holds "${scanned.manifest.id}"`;
      throw new ProblemError("CONFLICT", `${detail}. Restart Airlock to take that on`);
    }
    await installed.plugin.stop("reload", actor);
    this.load(installed, scanned);
    if (installed.fault !== undefined) throw installed.fault.error;
    deps.metrics.pluginAdmitted({ id: installed.id, actions: Object.keys(scanned.manifest.actions) });
    await deps.ledger.append({
      type: "plugin.loaded",
      actor,
      plugin: installed.plugin.name,
      data: { packageSha256: scanned.digest },
    });
    await this.quarantines.settle(installed, actor);
  }

  /** In `--dev`: what stands in the plugin's folder now. */
  async readAgain(installed: Installed<SupervisedCell>, given: Release): Promise<Release> {
    const { id } = installed;
    const scanned = await this.deps.readPackage(installed.folder);
    if (scanned.kind === "admitted" && (scanned.digest === given.digest || scanned.manifest.id !== id)) {
      return given;
    }
    installed.scanned = scanned.kind === "admitted" ? scanned : { ...scanned, id };
    installed.scannedAtMs = this.deps.nowMs();
    if (scanned.kind === "rejected") throw scanned.error;
    this.deps.metrics.pluginAdmitted({ id, actions: Object.keys(scanned.manifest.actions) });
    const release = makeRelease(scanned, this.operatorOf(id), this.deps);
    installed.plugin.revise(release);
    installed.breaker.reset();
    return release;
  }

  async recordRejection({ folder, error }: RejectedPlugin): Promise<void> {
    const faults = error.options.errors ?? [];
    await this.deps.ledger.append({
      type: "plugin.rejected",
      actor: "kernel",
      plugin: "",
      data: { code: error.code },
      commit: { folder, reason: JSON.stringify({ message: error.message, faults }) },
    });
  }

  /** A grant set through the API replaces what the configuration says. */
  operatorOf(id: string): OperatorGrants | undefined {
    const { grants } = this.deps.config;
    // An id may be the name of something that every object has.
    return this.deps.store.grants.get(id)?.grants ?? (Object.hasOwn(grants, id) ? grants[id] : undefined);
  }

  createLog(bytesPerSecond: number): PluginLog {
    const { config: { cells }, nowMs } = this.deps;
    return createPluginLog({ linesMax: cells.logLinesMax, bytesPerSecond, nowMs });
  }
}
