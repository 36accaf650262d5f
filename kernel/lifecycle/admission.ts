/**
 * Admission: how the package in a plugin's folder becomes what its next cell runs.
 *
 * A package is read at the kernel's start, at an operator's `load`, and with `--dev` at each start of its cell.
 * What cannot be had as it asks for is not run with less: the reason is kept, and shown.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { AdmittedPlugin, RejectedPlugin, ScannedPlugin } from "../registry/registry.ts";
import { createPluginLog, type PluginLog } from "../telemetry/plugin_log.ts";
import { failedEvent } from "./cell_entries.ts";
import { FoundFolders } from "./found_folders.ts";
import type { Granted, GrantEntries } from "./grant_entries.ts";
import { type Installed, nameOfPackage } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import type { Quarantines } from "./quarantines.ts";
import { checkIsolation, makeRelease, type Release } from "./release.ts";

export class Admission {
  readonly #found: FoundFolders;

  constructor(
    private readonly deps: Omit<PluginsDeps<SupervisedCell>, "sandbox">,
    private readonly quarantines: Quarantines,
    private readonly grants: GrantEntries,
  ) {
    this.#found = new FoundFolders(deps);
  }

  /** What a start of the kernel finds in a plugin's folder, and what becomes of it. */
  async admit(installed: Installed<SupervisedCell>, scanned: ScannedPlugin): Promise<void> {
    const { id } = installed;
    await this.#found.tell(scanned);
    if (scanned.kind === "rejected") {
      await this.#recordRejection(scanned);
      return await this.grants.tellFound({ id, name: id, release: undefined });
    }
    await this.#recordAdmission(scanned);
    if (installed.desired === "unloaded") {
      return await this.grants.tellFound({ id, name: nameOfPackage(scanned), release: undefined });
    }
    await this.#load(installed, scanned, (granted) => this.grants.tellFound(granted));
    await this.quarantines.settle(installed, "kernel");
  }

  /** Forgets the folders, and takes the grants of the plugins, that a scan did not find. */
  async forgetOthers(
    found: readonly ScannedPlugin[],
    installed: ReadonlyMap<string, unknown>,
  ): Promise<void> {
    this.#found.keepOnly(found);
    await this.grants.tellGone(installed);
  }

  /** Takes a package on, or keeps why it cannot be. Only while there is no cell. */
  async #load(
    installed: Installed<SupervisedCell>,
    scanned: AdmittedPlugin,
    tell: (granted: Granted) => Promise<void>,
  ): Promise<void> {
    this.#keepScan(installed, scanned);
    const [id, name] = [installed.id, nameOfPackage(scanned)];
    const release = this.#releaseOf(installed.id, scanned);
    // The entries first: nothing is in force that the ledger does not tell of.
    if (!(release instanceof ProblemError)) {
      await tell({ id, name, release });
      return this.takeOn(installed, release);
    }
    this.deps.warn(`Plugin "${id}" does not run: ${release.message}`);
    installed.fault = { error: release, atMs: this.deps.nowMs() };
    installed.changed();
    await tell({ id, name, release: undefined });
    await this.deps.ledger.append({ ...failedEvent(release), actor: "kernel", plugin: name });
  }

  /**
   * An error where its grants cannot be given, or its tier is not to be had: nothing runs with less than it
   * asks for.
   */
  #releaseOf(id: string, scanned: AdmittedPlugin): Release | ProblemError {
    try {
      const release = makeRelease(scanned, this.grants.operatorOf(id), this.deps);
      checkIsolation(release);
      return release;
    } catch (error) {
      if (error instanceof ProblemError) return error;
      throw error;
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
    const { id } = installed;
    const scanned = await deps.readPackage(installed.folder);
    await this.#found.tell(scanned);
    if (scanned.kind === "rejected") {
      this.#keepScan(installed, { ...scanned, id });
      await this.#recordRejection(scanned);
      const nothing = { id, name: id, release: undefined };
      await this.grants.inTurn(id, () => this.grants.tell(nothing, this.grants.operatorOf(id), actor));
      throw scanned.error;
    }
    if (scanned.manifest.id !== installed.id) {
      const detail = `Cannot load plugin "${installed.id}": its folder now holds "${scanned.manifest.id}"`;
      throw new ProblemError("CONFLICT", `${detail}. Restart Airlock to take that on`);
    }
    await installed.plugin.stop("reload", actor);
    await this.#load(
      installed,
      scanned,
      (granted) => this.grants.tell(granted, this.grants.operatorOf(id), actor),
    );
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
    return await this.grants.inTurn(installed.id, () => this.#readAgain(installed, given));
  }

  async #readAgain(installed: Installed<SupervisedCell>, given: Release): Promise<Release> {
    const { id } = installed;
    const scanned = await this.deps.readPackage(installed.folder);
    if (scanned.kind === "admitted") {
      // After a package that was rejected, and whose grants were taken, the same one is given them again.
      const isGiven = scanned.digest === given.digest && installed.scanned.kind === "admitted";
      if (isGiven || scanned.manifest.id !== id) return installed.plugin.release ?? given;
    }
    await this.#found.tell(scanned);
    this.#keepScan(installed, scanned.kind === "admitted" ? scanned : { ...scanned, id });
    if (scanned.kind === "rejected") {
      await this.#recordRejection(scanned);
      await this.grants.tellFound({ id, name: id, release: undefined });
      throw scanned.error;
    }
    await this.#recordAdmission(scanned);
    this.deps.metrics.pluginAdmitted({ id, actions: Object.keys(scanned.manifest.actions) });
    const release = makeRelease(scanned, this.grants.operatorOf(id), this.deps);
    await this.grants.tellFound({ id, name: nameOfPackage(scanned), release });
    installed.plugin.revise(release);
    installed.breaker.reset();
    return release;
  }

  /** The one writer of what is known of a package. */
  #keepScan(installed: Installed<SupervisedCell>, scanned: ScannedPlugin): void {
    installed.scanned = scanned;
    installed.scannedAtMs = this.deps.nowMs();
    installed.changed();
  }

  async #recordRejection({ folder, error }: RejectedPlugin): Promise<void> {
    const faults = error.options.errors ?? [];
    await this.deps.ledger.append({
      type: "plugin.rejected",
      actor: "kernel",
      plugin: "",
      data: { code: error.code },
      commit: { folder, reason: JSON.stringify({ message: error.message, faults }) },
    });
  }

  async #recordAdmission(scanned: AdmittedPlugin): Promise<void> {
    const data = { packageSha256: scanned.digest, signed: "no" } as const;
    await this.deps.ledger.append({
      type: "plugin.admitted",
      actor: "kernel",
      plugin: nameOfPackage(scanned),
      data,
    });
  }

  createLog(bytesPerSecond: number): PluginLog {
    const { config: { cells }, nowMs } = this.deps;
    return createPluginLog({ linesMax: cells.logLinesMax, bytesPerSecond, nowMs });
  }
}
