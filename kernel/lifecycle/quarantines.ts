/**
 * Quarantines, as they outlive an unloaded package and the kernel.
 *
 * A quarantine is of a package: it is found again with the same files, and lifted when other ones are taken on,
 * for what was mended is not what failed. With `--dev` none is begun and none is found again.
 *
 * What a crash leaves: a row without its entry in the ledger, which the next start writes; or an entry of a
 * reset whose row stands still. Then the plugin is quarantined still, and the reset is to be given again; one
 * of other files is given again by the next start.
 *
 * @module
 */
import type { Installed } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import type { Quarantine } from "./recovery.ts";

type Deps = Pick<PluginsDeps<SupervisedCell>, "store" | "ledger" | "metrics" | "track" | "config">;

export class Quarantines {
  constructor(private readonly deps: Deps) {}

  /** Durable when it returns; the entry follows. `name` is `id@version`. */
  keep(id: string, name: string, quarantine: Quarantine): void {
    const { store, metrics, track } = this.deps;
    store.quarantines.set({ ...quarantine, plugin: id, recorded: false });
    metrics.pluginQuarantined(id);
    track(this.#record(id, name, quarantine));
  }

  /** Of a plugin that has just been loaded, before anybody can start it. */
  restore({ id, plugin }: Installed<SupervisedCell>): void {
    const row = this.deps.store.quarantines.get(id);
    if (row === undefined || this.deps.config.dev || row.digest !== plugin.release?.digest) return;
    plugin.restoreQuarantine(row);
  }

  /** Tells the ledger what has become of a quarantine now that `installed` was loaded. */
  async settle({ id, plugin }: Installed<SupervisedCell>, actor: string): Promise<void> {
    const row = this.deps.store.quarantines.get(id);
    if (row === undefined || plugin.release === undefined) return;
    if (row.digest !== plugin.release.digest) await this.#lift(id, plugin.name, actor, row);
    else if (!row.recorded) await this.#record(id, plugin.name, row);
  }

  /** Durable, and in the ledger, when it resolves; of a plugin that is not quarantined too. */
  async lift(id: string, name: string, actor: string): Promise<void> {
    await this.#lift(id, name, actor);
  }

  /** `only` that one, if it is given: another may have begun meanwhile. */
  async #lift(id: string, name: string, actor: string, only?: Quarantine): Promise<void> {
    // The entry first: nothing is ever lifted that the ledger does not tell of.
    await this.deps.ledger.append({ type: "plugin.reset", actor, plugin: name, data: {} });
    const { quarantines } = this.deps.store;
    if (only === undefined || quarantines.get(id)?.digest === only.digest) quarantines.delete(id);
  }

  async #record(id: string, name: string, { code, failures, windowMs, reason }: Quarantine): Promise<void> {
    await this.deps.ledger.append({
      type: "plugin.quarantined",
      actor: "kernel",
      plugin: name,
      data: { code, failures, windowMs },
      commit: { reason },
    });
    this.deps.store.quarantines.setRecorded(id);
  }
}
