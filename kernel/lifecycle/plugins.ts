/**
 * The plugins of this kernel: what was found, what the operator chose, and what runs.
 *
 * Beside each plugin's state stand three things that outlive the kernel, in the store: whether it is enabled,
 * what is desired of it, and whether it is quarantined.
 *
 * @module
 */
import type { LogLine, PluginView } from "../../schemas/api.ts";
import type { Grants, OperatorGrants } from "../../schemas/capabilities.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { concurrently } from "../registry/concurrently.ts";
import type { ScannedPlugin } from "../registry/registry.ts";
import { unservedParts } from "../registry/unserved.ts";
import { requestedOf } from "../trust/grants.ts";
import { Admission } from "./admission.ts";
import { Breaker } from "./breaker.ts";
import { CellRoom } from "./cell_room.ts";
import { bringUp, checkCallable, type Installed, isMissed, nameInLedger } from "./installed.ts";
import { GrantEntries } from "./grant_entries.ts";
import { type LifecycleVerb, Orders } from "./orders.ts";
import { Plugin, type SupervisedCell } from "./plugin.ts";
import { type PluginChange, pluginChange, pluginView } from "./plugin_view.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import { Quarantines } from "./quarantines.ts";
import { isolationOf, type Release } from "./release.ts";
import { RestartQueue } from "./restart_queue.ts";

export type { CellStarter, PluginsDeps } from "./plugins_deps.ts";

export interface GrantsView {
  requested: Record<string, unknown>;
  granted: Grants;
  operator: OperatorGrants;
}

/** Plugins that are taken on at once: more than fit into one sync of the ledger. */
const installsMax = 512;

/** Of a plugin that was not admitted, and so does not run. */
const logBytesPerSecondInitial = 65_536;

export class Plugins<Cell extends SupervisedCell> {
  readonly #installed = new Map<string, Installed<Cell>>();
  readonly #room: CellRoom<Cell>;
  readonly #restarts: RestartQueue;
  readonly #quarantines: Quarantines;
  readonly #grants: GrantEntries;
  readonly #admission: Admission;
  readonly #orders: Orders<Cell>;
  /** The ids of all, ascending; undefined while that is to be found out again. */
  #ids: string[] | undefined;
  /** Those that are alive, by id of their plugin. */
  readonly #cells = new Map<string, Cell>();
  #awake = 0;

  constructor(private readonly deps: PluginsDeps<Cell>) {
    this.#room = new CellRoom(deps, this.#installed);
    this.#restarts = new RestartQueue(deps.timing, deps.config.cells.restartsMax);
    this.#quarantines = new Quarantines(deps);
    this.#grants = new GrantEntries(deps);
    this.#admission = new Admission(deps, this.#quarantines, this.#grants);
    this.#orders = new Orders(deps, {
      admission: this.#admission,
      quarantines: this.#quarantines,
      grants: this.#grants,
    });
  }

  /** Takes on what a scan found, and tells the ledger. Critical plugins start in the background. */
  async install(found: readonly ScannedPlugin[]): Promise<void> {
    // At once, so that they share the syncs of the ledger and of the store; but not all, for a queue has an end.
    await concurrently(found, installsMax, (scanned) => this.#install(scanned));
    await this.#admission.forgetOthers(found, this.#installed);
    const { config: { audit: { keptMs }, pluginsMax }, store, nowMs } = this.deps;
    store.audit.prune(this.#installed, { sinceMs: nowMs() - keptMs, pluginsMax });
    for (const installed of this.#installed.values()) bringUp(installed);
  }

  /** Those with an id above `after`, ascending by id, at most `limit`. */
  list({ after, limit = Infinity }: { after?: string | undefined; limit?: number } = {}): PluginView[] {
    const ids = this.#ids ??= [...this.#installed.keys()].sort();
    const rest = after === undefined ? ids : ids.slice(firstAbove(ids, after));
    return rest.slice(0, limit).map((id) => this.get(id));
  }

  get(id: string): PluginView {
    const installed = this.find(id);
    return pluginView(installed, isolationOf(installed.id, this.deps));
  }

  /** What its view says that may change while it is installed; costs less. */
  change(id: string): PluginChange {
    return pluginChange(this.find(id));
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
    const installed = this.#installed.get(id);
    return installed === undefined ? "" : nameInLedger(installed);
  }

  /** Ids of critical plugins that are enabled and not up, ascending: Airlock is not ready without them. */
  missing(): string[] {
    return [...this.#installed.values()].filter(isMissed).map(({ id }) => id).sort();
  }

  async act(
    id: string,
    verb: LifecycleVerb,
    actor: string,
  ): Promise<{ value: PluginView; checkpoint: string }> {
    await this.#orders.act(this.find(id), verb, actor);
    return { value: this.get(id), checkpoint: this.deps.ledger.checkpointBase64() };
  }

  logs(id: string, { after = -1, limit }: { after?: number | undefined; limit: number }): LogLine[] {
    return this.find(id).log.lines({ after, limit })
      .map(({ atMs, ...line }) => ({ ...line, at: new Date(atMs).toISOString() }));
  }

  /**
   * Resolves when the audit was told of all that the plugin's code asked for until now. Rejects with
   * PLUGIN_NOT_FOUND where it is not installed and no audit of it is kept.
   */
  async audited(id: string): Promise<void> {
    if (!this.deps.store.audit.has(id)) this.find(id);
    await this.#cells.get(id)?.audited();
  }

  grants(id: string): GrantsView {
    const { scanned, plugin } = this.find(id);
    if (scanned.kind === "rejected") throw scanned.error;
    return {
      requested: requestedOf(scanned.manifest),
      granted: plugin.release?.grants ??
        { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false },
      operator: this.#grants.operatorOf(id) ?? {},
    };
  }

  async setGrants(
    id: string,
    operator: OperatorGrants,
    actor: string,
  ): Promise<{ value: GrantsView; checkpoint: string }> {
    await this.#orders.setGrants(this.find(id), operator, actor);
    return { value: this.grants(id), checkpoint: this.deps.ledger.checkpointBase64() };
  }

  /** Takes no more orders and starts no more cells; those that are up go on. A start under way may succeed. */
  close(): void {
    this.#orders.close();
    this.#restarts.close();
    for (const { plugin } of this.#installed.values()) plugin.close();
  }

  /** Ends every cell, also those that are being started. */
  async shutdown(): Promise<void> {
    this.close();
    this.#room.close();
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
      breaker: this.#breaker(id),
      log: this.#admission.createLog(logBytesPerSecondInitial),
      scanned,
      scannedAtMs: this.deps.nowMs(),
      enabled: row?.enabled ?? true,
      desired: row?.desired ?? "on-demand",
      breakerTold: Promise.resolve(),
      fault: undefined,
      changed: () => this.#changed(id),
    };
    this.#installed.set(id, installed);
    this.#ids = undefined;
    if (scanned.kind === "admitted") {
      const { manifest } = scanned;
      this.deps.metrics.pluginAdmitted({ id, actions: Object.keys(manifest.actions) });
      const unserved = unservedParts(manifest);
      if (unserved.length > 0) {
        this.deps.warn(`Plugin "${id}" uses what this version does not serve: ${unserved.join(", ")}`);
      }
    }
    await this.#admission.admit(installed, scanned);
  }

  #breaker(id: string): Breaker {
    const { config: { cells }, ledger, metrics, timing, track } = this.deps;
    return new Breaker({
      failuresMax: cells.breakerFailures,
      openMs: cells.breakerOpenMs,
      nowMs: () => timing.nowMs(),
      onChange: (state) => {
        metrics.breakerChanged({ plugin: id, state });
        const plugin = this.nameOf(id);
        const told = ledger.append({ type: "breaker.changed", actor: "kernel", plugin, data: { state } });
        track(told);
        this.find(id).breakerTold = told;
        this.#changed(id);
      },
    });
  }

  /** Who watches is no part of what is watched: its failure is told, and nothing else fails of it. */
  #changed(id: string): void {
    try {
      this.deps.changed?.(id);
    } catch (error) {
      this.deps.warn(`Cannot tell of a change of plugin "${id}": ${String(error)}`);
    }
  }

  #supervised(id: string): Plugin<Cell> {
    const { deps } = this;
    return new Plugin<Cell>(id, {
      ...{ config: deps.config, restarts: this.#restarts, timing: deps.timing },
      startCell: async (release) => {
        this.#orders.checkOpen();
        const cell = await this.#room.start(this.find(id), release);
        this.#cells.set(id, cell);
        return cell;
      },
      record: (event) => deps.ledger.append(event),
      changed: () => this.#changed(id),
      checkCallable: () => {
        this.#orders.checkOpen();
        checkCallable(this.find(id));
      },
      keepQuarantine: (quarantine) => this.#quarantines.keep(id, this.nameOf(id), quarantine),
      onCellStarted: (reason) => {
        deps.metrics.cellStarted({ plugin: id, reason });
        deps.metrics.cellsAwake(++this.#awake);
      },
      ...(deps.config.dev
        ? { refresh: (release: Release) => this.#admission.readAgain(this.find(id), release) }
        : {}),
      onCellEnded: (reason) => {
        this.#room.left();
        this.#cells.delete(id);
        deps.metrics.cellEnded({ plugin: id, reason });
        deps.metrics.cellsAwake(--this.#awake);
        this.#installed.get(id)?.log.end();
      },
      random: () => deps.random(),
      nowMs: () => deps.nowMs(),
      track: (work) => deps.track(work),
      fatal: (error) => deps.fatal(error),
    });
  }
}

/** The position of the first of `sorted` that is above `text`; their number where there is none. */
function firstAbove(sorted: readonly string[], text: string): number {
  const position = sorted.findIndex((one) => one > text);
  return position < 0 ? sorted.length : position;
}
