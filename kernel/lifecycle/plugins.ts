/**
 * The plugins of this kernel: what was found, what the operator chose, and what runs.
 *
 * Beside each plugin's state stand two things that outlive the kernel, in the store: whether it is enabled,
 * and what is desired of it. A choice is durable before it is carried out, and in the ledger before it is
 * answered.
 *
 * @module
 */
import type { LogLine, PluginView } from "../../schemas/api.ts";
import type { Grants, OperatorGrants } from "../../schemas/capabilities.ts";
import type { CellSetup } from "../../schemas/cell_protocol.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { AdmittedPlugin, RejectedPlugin, ScannedPlugin } from "../registry/registry.ts";
import { unservedParts } from "../registry/unserved.ts";
import type { DesiredState } from "../store/plugins_table.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createPluginLog, type PluginLog } from "../telemetry/plugin_log.ts";
import { requestedOf } from "../trust/grants.ts";
import { checkCallable, type Installed, writeLog } from "./installed.ts";
import { Plugin, type SupervisedCell } from "./plugin.ts";
import {
  cellRequestOf,
  checkIsolation,
  grantedScopes,
  isolationOf,
  makeRelease,
  type Release,
  type ReleaseTerms,
} from "./release.ts";
import { pluginView } from "./plugin_view.ts";

/** Starts cells; `sandbox/` provides it. */
export interface CellStarter<Cell extends SupervisedCell> {
  start(request: {
    plugin: string;
    description: Omit<CellDescription, "cell" | "token">;
    setup: CellSetup;
    verified: Promise<void>;
    onLog(source: "log" | "output", level: "debug" | "info" | "warn" | "error", text: string): void;
  }): Promise<Cell>;
}

export interface PluginsDeps<Cell extends SupervisedCell> extends ReleaseTerms {
  readonly sandbox: CellStarter<Cell>;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly metrics: Metrics;
  nowMs(): number;
  /** Tells the operator what is not as a manifest or the configuration has it. */
  warn(message: string): void;
  track(work: Promise<unknown>): void;
  readPackage(folder: string): Promise<ScannedPlugin>;
  verifyPackage(digest: string): Promise<void>;
}

export type LifecycleVerb = "load" | "start" | "stop" | "unload" | "enable" | "disable";

export interface GrantsView {
  requested: Record<string, unknown>;
  granted: Grants;
  operator: OperatorGrants;
}

/** Of a plugin that was not admitted, and so does not run. */
const logBytesPerSecondInitial = 65_536;

export class Plugins<Cell extends SupervisedCell> {
  readonly #installed = new Map<string, Installed<Cell>>();
  #awake = 0;
  /** Cells that are alive or being started. */
  #cells = 0;
  #isClosed = false;

  constructor(private readonly deps: PluginsDeps<Cell>) {}

  /** Takes on what a scan found, and tells the ledger. */
  async install(found: readonly ScannedPlugin[]): Promise<void> {
    await Promise.all(found.map((scanned) => this.#install(scanned)));
  }

  list(): PluginView[] {
    return [...this.#installed.keys()].sort().map((id) => this.get(id));
  }

  get(id: string): PluginView {
    const installed = this.find(id);
    return pluginView(installed, isolationOf(installed.id, this.deps));
  }

  /** Throws PLUGIN_NOT_FOUND. */
  find(id: string): Installed<Cell> {
    const installed = this.#installed.get(id);
    if (installed === undefined) {
      throw new ProblemError("PLUGIN_NOT_FOUND", `Cannot find plugin "${id}": it is not installed`);
    }
    return installed;
  }

  /** `id@version` of an installed plugin, else "". */
  nameOf(id: string): string {
    return this.#installed.get(id)?.plugin.name ?? "";
  }

  async act(
    id: string,
    verb: LifecycleVerb,
    actor: string,
  ): Promise<{ value: PluginView; checkpoint: string }> {
    const installed = this.find(id);
    await installed.plugin.inOrder(async () => {
      this.#checkOpen();
      await this.deps.ledger.append({
        type: "plugin.ordered",
        actor,
        plugin: installed.plugin.name,
        data: { verb },
      });
      await this.#carryOut(installed, verb, actor);
    });
    return { value: this.get(id), checkpoint: this.deps.ledger.checkpointBase64() };
  }

  logs(id: string, { after = -1, limit }: { after?: number | undefined; limit: number }): LogLine[] {
    return this.find(id).log.lines({ after, limit })
      .map(({ atMs, ...line }) => ({ ...line, at: new Date(atMs).toISOString() }));
  }

  grants(id: string): GrantsView {
    const { scanned, plugin } = this.find(id);
    if (scanned.kind === "rejected") throw scanned.error;
    return {
      requested: requestedOf(scanned.manifest),
      granted: plugin.release?.grants ??
        { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false },
      operator: this.#operatorOf(id) ?? {},
    };
  }

  async setGrants(id: string, operator: OperatorGrants, actor: string) {
    const installed = this.find(id);
    await installed.plugin.inOrder(async () => {
      this.#checkOpen();
      const { scanned, plugin } = installed;
      if (scanned.kind === "rejected") throw scanned.error;
      const release = makeRelease(scanned, operator, this.deps);
      checkIsolation(release);
      const granted = grantedScopes(release.grants);
      // The entry first: a crash between the two leaves a grant that is written and not in force.
      await this.deps.ledger.append({ type: "grant.changed", actor, plugin: plugin.name, data: { granted } });
      this.deps.store.grants.set({ plugin: id, grants: operator, setBy: actor, setAtMs: this.deps.nowMs() });
      // The cell that runs has the permissions it was started with: it goes. A call that comes meanwhile
      // starts the next one, so the new grants are in force before the old cell has ended.
      if (plugin.state !== "unloaded") plugin.revise(release);
      await plugin.stop("reload", actor);
      installed.fault = undefined;
      if (plugin.state === "unloaded" && installed.desired !== "unloaded") plugin.load(release);
    });
    return { value: this.grants(id), checkpoint: this.deps.ledger.checkpointBase64() };
  }

  /** Ends every cell, and takes no more orders. */
  async shutdown(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(
      [...this.#installed.values()].map(({ plugin }) =>
        plugin.inOrder(() => plugin.stop("shutdown", "kernel"))
      ),
    );
  }

  async #install(scanned: ScannedPlugin): Promise<void> {
    const id = scanned.kind === "admitted" ? scanned.manifest.id : scanned.id;
    const row = this.deps.store.plugins.get(id);
    const installed: Installed<Cell> = {
      id,
      folder: scanned.folder,
      plugin: this.#supervised(id),
      log: this.#createLog(logBytesPerSecondInitial),
      scanned,
      scannedAtMs: this.deps.nowMs(),
      enabled: row?.enabled ?? true,
      desired: row?.desired ?? "on-demand",
      fault: undefined,
    };
    this.#installed.set(id, installed);
    if (scanned.kind === "rejected") return await this.#recordRejection(scanned);
    const { manifest, digest } = scanned;
    this.deps.metrics.pluginAdmitted({ id, actions: Object.keys(manifest.actions) });
    if (installed.desired !== "unloaded") this.#load(installed, scanned);
    const unserved = unservedParts(manifest);
    if (unserved.length > 0) {
      this.deps.warn(`Plugin "${id}" uses what this version does not serve: ${unserved.join(", ")}`);
    }
    await this.deps.ledger.append({
      type: "plugin.admitted",
      actor: "kernel",
      plugin: `${id}@${manifest.version}`,
      data: { packageSha256: digest, signed: "no" },
    });
  }

  #supervised(id: string): Plugin<Cell> {
    const { deps } = this;
    return new Plugin<Cell>(id, {
      startCell: (release) => this.#startCell(id, release),
      record: (event) => deps.ledger.append(event),
      onCellStarted: (reason) => {
        deps.metrics.cellStarted({ plugin: id, reason });
        deps.metrics.cellsAwake(++this.#awake);
      },
      ...(deps.config.dev ? { refresh: (release: Release) => this.#readAgain(id, release) } : {}),
      onCellEnded: (reason) => {
        this.#cells--;
        deps.metrics.cellEnded({ plugin: id, reason });
        deps.metrics.cellsAwake(--this.#awake);
        this.#installed.get(id)?.log.end();
      },
      nowMs: deps.nowMs,
      track: deps.track,
    });
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

  #load(installed: Installed<Cell>, scanned: AdmittedPlugin): void {
    installed.scanned = scanned;
    installed.scannedAtMs = this.deps.nowMs();
    try {
      const release = makeRelease(scanned, this.#operatorOf(installed.id), this.deps);
      checkIsolation(release);
      installed.fault = undefined;
      installed.log = this.#createLog(release.limits.logBytesPerSecond);
      installed.plugin.load(release);
    } catch (error) {
      // Grants that cannot be given, or a tier that is not to be had: nothing runs with less than was asked for.
      if (!(error instanceof ProblemError)) throw error;
      this.deps.warn(`Plugin "${installed.id}" does not run: ${error.message}`);
      installed.fault = { error, atMs: this.deps.nowMs() };
    }
  }

  async #carryOut(installed: Installed<Cell>, verb: LifecycleVerb, actor: string): Promise<void> {
    const { plugin } = installed;
    switch (verb) {
      case "load":
      case "start":
        if (installed.scanned.kind === "rejected" || plugin.state === "unloaded") {
          await this.#reload(installed, actor);
        }
        this.#choose(installed, { desired: "on-demand" });
        if (verb === "start") {
          checkCallable(installed);
          await plugin.start(actor);
        }
        return;
      case "stop":
        if (installed.desired === "on-demand") this.#choose(installed, { desired: "stopped" });
        return await plugin.stop("operator", actor);
      case "unload":
        this.#choose(installed, { desired: "unloaded" });
        await plugin.stop("operator", actor);
        if (plugin.state === "unloaded") return;
        await this.deps.ledger.append({ type: "plugin.unloaded", actor, plugin: plugin.name, data: {} });
        return plugin.unload();
      case "enable":
      case "disable": {
        const enabled = verb === "enable";
        if (installed.enabled === enabled) return;
        this.#choose(installed, { enabled });
        await this.deps.ledger.append({ type: `plugin.${verb}d`, actor, plugin: plugin.name, data: {} });
        if (!enabled) await plugin.stop("operator", actor);
      }
    }
  }

  /** Reads the package again and takes it on. Throws PLUGIN_REJECTED and keeps the reasons. */
  async #reload(installed: Installed<Cell>, actor: string): Promise<void> {
    const scanned = await this.deps.readPackage(installed.folder);
    if (scanned.kind === "rejected") {
      installed.scanned = { ...scanned, id: installed.id };
      installed.scannedAtMs = this.deps.nowMs();
      await this.#recordRejection(scanned);
      throw scanned.error;
    }
    if (scanned.manifest.id !== installed.id) {
      const detail = `Cannot load plugin "${installed.id}": its folder now holds "${scanned.manifest.id}"`;
      throw new ProblemError("CONFLICT", `${detail}. Restart Airlock to take that on`);
    }
    this.#load(installed, scanned);
    if (installed.fault !== undefined) throw installed.fault.error;
    this.deps.metrics.pluginAdmitted({ id: installed.id, actions: Object.keys(scanned.manifest.actions) });
    await this.deps.ledger.append({
      type: "plugin.loaded",
      actor,
      plugin: installed.plugin.name,
      data: { packageSha256: scanned.digest },
    });
  }

  #choose(installed: Installed<Cell>, choice: { enabled?: boolean; desired?: DesiredState }): void {
    const { id, enabled, desired } = { ...installed, ...choice };
    this.deps.store.plugins.set({ id, enabled, desired, updatedAtMs: this.deps.nowMs() });
    installed.enabled = enabled;
    installed.desired = desired;
  }

  /** A grant set through the API replaces what the configuration says. */
  #operatorOf(id: string): OperatorGrants | undefined {
    const { grants } = this.deps.config;
    // An id may be the name of something that every object has.
    return this.deps.store.grants.get(id)?.grants ?? (Object.hasOwn(grants, id) ? grants[id] : undefined);
  }

  async #startCell(id: string, release: Release): Promise<Cell> {
    this.#checkOpen();
    checkIsolation(release);
    const installed = this.find(id);
    await this.#makeRoom(id);
    await makeDataFolder(id, release.dataDir);
    this.#cells++;
    try {
      return await this.deps.sandbox.start({
        plugin: id,
        ...cellRequestOf(release, this.deps.config),
        verified: this.deps.verifyPackage(release.digest),
        onLog: (source, level, text) => writeLog(installed.log, source, level, text),
      });
    } catch (error) {
      this.#cells--;
      throw error;
    }
  }

  /** Puts the plugins to sleep that were idle for longest, until another cell may live. Throws QUEUE_FULL. */
  async #makeRoom(id: string): Promise<void> {
    const { awakeMax } = this.deps.config.cells;
    if (this.#cells < awakeMax) return;
    const idleLongest = [...this.#installed.values()].filter(({ plugin }) => plugin.state === "running")
      .sort((a, b) => (a.plugin.lastActivityMs ?? 0) - (b.plugin.lastActivityMs ?? 0));
    for (const { plugin } of idleLongest) {
      await plugin.inOrder(() => plugin.sleep("idle"));
      if (this.#cells < awakeMax) return;
    }
    throw new ProblemError("QUEUE_FULL", `Cannot start plugin "${id}": ${awakeMax} plugins are busy`, {
      retryAfterMs: 1_000,
    });
  }

  /** In `--dev`: what stands in the plugin's folder now. */
  async #readAgain(id: string, given: Release): Promise<Release> {
    const installed = this.find(id);
    const scanned = await this.deps.readPackage(installed.folder);
    if (scanned.kind === "admitted" && (scanned.digest === given.digest || scanned.manifest.id !== id)) {
      return given;
    }
    installed.scanned = scanned.kind === "admitted" ? scanned : { ...scanned, id };
    installed.scannedAtMs = this.deps.nowMs();
    if (scanned.kind === "rejected") throw scanned.error;
    this.deps.metrics.pluginAdmitted({ id, actions: Object.keys(scanned.manifest.actions) });
    const release = makeRelease(scanned, this.#operatorOf(id), this.deps);
    installed.plugin.revise(release);
    return release;
  }

  #createLog(bytesPerSecond: number): PluginLog {
    const { config: { cells }, nowMs } = this.deps;
    return createPluginLog({ linesMax: cells.logLinesMax, bytesPerSecond, nowMs });
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ProblemError("NOT_READY", "Cannot take an order: Airlock is stopping");
  }
}

/** A plugin in the process tier can put something else in the place of its folder: that is its own loss. */
async function makeDataFolder(id: string, folder: string): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const state = `its private folder cannot be made: ${String(cause)}`;
    throw new ProblemError("PLUGIN_START_FAILED", `Cannot start plugin "${id}": ${state}`, { cause });
  }
}
