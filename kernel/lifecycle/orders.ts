/**
 * Orders: what an operator has done to a plugin.
 *
 * Orders of one plugin are carried out one at a time. A choice is durable before it is carried out, and in the
 * ledger before it is answered.
 *
 * - `start` and `load` of a quarantined plugin are refused, and change no choice: `reset` is the order for
 *   that, or `unload` and `load` once its files were mended.
 * - `suspend` needs a cell: a plugin that is asleep uses no CPU as it is, and a call would have to wake it only
 *   to be frozen.
 *
 * @module
 */
import type { OperatorGrants } from "../../schemas/capabilities.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { DesiredState } from "../store/plugins_table.ts";
import type { Admission } from "./admission.ts";
import { makeDataFolder } from "./cell_room.ts";
import type { GrantEntries } from "./grant_entries.ts";
import { bringUp, checkStartable, type Installed, nameInLedger } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import type { Quarantines } from "./quarantines.ts";
import { checkIsolation, makeRelease, type Release } from "./release.ts";

export const lifecycleVerbs = [
  "load",
  "start",
  "stop",
  "suspend",
  "resume",
  "unload",
  "enable",
  "disable",
  "reset",
] as const;
export type LifecycleVerb = (typeof lifecycleVerbs)[number];

/** What carries out parts of an order. */
interface OrderParts {
  readonly admission: Admission;
  readonly quarantines: Quarantines;
  readonly grants: GrantEntries;
}

export class Orders<Cell extends SupervisedCell> {
  #isClosed = false;

  constructor(
    private readonly deps: Omit<PluginsDeps<Cell>, "sandbox">,
    private readonly parts: OrderParts,
  ) {}

  /** Takes no more orders. */
  close(): void {
    this.#isClosed = true;
  }

  /** Throws NOT_READY once closed. */
  checkOpen(): void {
    if (this.#isClosed) throw new ProblemError("NOT_READY", "Cannot serve the request: Airlock is stopping");
  }

  async act(installed: Installed<Cell>, verb: LifecycleVerb, actor: string): Promise<void> {
    await this.#inOrder(installed, async () => {
      await this.#recordOrder(installed, verb, actor);
      await this.#carryOut(installed, verb, actor);
      bringUp(installed);
    });
  }

  async setGrants(installed: Installed<Cell>, operator: OperatorGrants, actor: string): Promise<void> {
    await this.#inOrder(installed, async () => {
      const { plugin } = installed;
      const release = await this.parts.grants.inTurn(
        installed.id,
        () => this.#changeGrants(installed, operator, actor),
      );
      await plugin.stop("reload", actor);
      installed.fault = undefined;
      installed.changed();
      if (plugin.state === "unloaded" && installed.desired !== "unloaded") {
        this.parts.admission.takeOn(installed, release);
        await this.parts.quarantines.settle(installed, actor);
      }
      bringUp(installed);
    });
  }

  /** The order's own entries are in the ledger when it resolves, that of a breaker it closed too. */
  async #inOrder(installed: Installed<Cell>, work: () => Promise<void>): Promise<void> {
    await installed.plugin.inOrder(async () => {
      this.checkOpen();
      // What a call before it could not have recorded is not held against the order.
      installed.breakerTold = Promise.resolve();
      await work();
      await installed.breakerTold;
    });
  }

  async #changeGrants(installed: Installed<Cell>, operator: OperatorGrants, actor: string): Promise<Release> {
    const { id, scanned, plugin, desired } = installed;
    if (scanned.kind === "rejected") throw scanned.error;
    const release = makeRelease(scanned, operator, this.deps);
    checkIsolation(release);
    await this.#checkPaths(id, release);
    await this.#recordOrder(installed, "grant", actor);
    // The entries first: after a crash between the two the next start tells that the grants are the old ones.
    const told = desired === "unloaded" ? undefined : release;
    await this.parts.grants.tell({ id, name: nameInLedger(installed), release: told }, operator, actor);
    this.deps.store.grants.set({ plugin: id, grants: operator, setBy: actor, setAtMs: this.deps.nowMs() });
    // The cell that runs has the permissions it was started with: it goes. A call that comes meanwhile
    // starts the next one, so the new grants are in force before the old cell has ended.
    if (plugin.state !== "unloaded") plugin.revise(release);
    return release;
  }

  async #recordOrder(
    installed: Installed<Cell>,
    verb: LifecycleVerb | "grant",
    actor: string,
  ): Promise<void> {
    const plugin = nameInLedger(installed);
    await this.deps.ledger.append({ type: "plugin.ordered", actor, plugin, data: { verb } });
  }

  /** Throws GRANT_REFUSED where the warden would refuse a cell; it does so again at each start. */
  async #checkPaths(id: string, { isolation: tier, packageDir, dataDir, grants }: Release): Promise<void> {
    await makeDataFolder(id, dataDir);
    const fault = await this.deps.checkDescription({ tier, packageDir, dataDir, grants });
    if (fault !== null) throw new ProblemError("GRANT_REFUSED", fault);
  }

  async #carryOut(installed: Installed<Cell>, verb: LifecycleVerb, actor: string): Promise<void> {
    const { id, plugin } = installed;
    switch (verb) {
      case "load":
      case "start":
        return await this.#start(installed, verb, actor);
      case "stop":
        if (installed.desired === "on-demand") this.#choose(installed, { desired: "stopped" });
        return await plugin.stop("operator", actor);
      case "suspend":
        return await plugin.suspend(actor);
      case "resume":
        return await plugin.resume(actor);
      case "unload":
        this.#choose(installed, { desired: "unloaded" });
        await plugin.stop("operator", actor);
        if (plugin.state === "unloaded") return;
        await this.#takeGrants(installed, actor);
        await this.deps.ledger.append({ type: "plugin.unloaded", actor, plugin: plugin.name, data: {} });
        return plugin.unload();
      case "enable":
      case "disable":
        return await this.#enable(installed, verb, actor);
      case "reset":
        await this.parts.quarantines.lift(id, nameInLedger(installed), actor);
        plugin.reset();
        return installed.breaker.reset();
    }
  }

  /** Nothing of it can start any more. */
  async #takeGrants({ id, plugin: { name } }: Installed<Cell>, actor: string): Promise<void> {
    const { grants } = this.parts;
    await grants.tell({ id, name, release: undefined }, grants.operatorOf(id), actor);
  }

  async #start(installed: Installed<Cell>, verb: "load" | "start", actor: string): Promise<void> {
    const { id, plugin } = installed;
    if (verb === "start" && !installed.enabled) {
      throw new ProblemError(
        "PLUGIN_DISABLED",
        `Cannot start plugin "${id}": it is disabled. Enable it first`,
      );
    }
    const isTakenOn = installed.scanned.kind === "rejected" || plugin.state === "unloaded";
    if (isTakenOn) await this.parts.admission.reload(installed, actor);
    // What was taken on stays, also where it cannot be started. Of what is loaded a refusal changes nothing.
    if (isTakenOn) this.#choose(installed, { desired: "on-demand" });
    if (plugin.state === "quarantined" && plugin.refusal !== undefined) throw plugin.refusal;
    if (verb === "start") checkStartable({ ...installed, desired: "on-demand" });
    this.#choose(installed, { desired: "on-demand" });
    if (verb === "start") await plugin.start(actor);
  }

  async #enable(installed: Installed<Cell>, verb: "enable" | "disable", actor: string): Promise<void> {
    const enabled = verb === "enable";
    if (installed.enabled === enabled) return;
    this.#choose(installed, { enabled });
    const plugin = nameInLedger(installed);
    await this.deps.ledger.append({ type: `plugin.${verb}d`, actor, plugin, data: {} });
    if (!enabled) await installed.plugin.stop("operator", actor);
  }

  #choose(installed: Installed<Cell>, choice: { enabled?: boolean; desired?: DesiredState }): void {
    const { id, enabled, desired } = { ...installed, ...choice };
    this.deps.store.plugins.set({ id, enabled, desired, updatedAtMs: this.deps.nowMs() });
    installed.enabled = enabled;
    installed.desired = desired;
    installed.changed();
  }
}
