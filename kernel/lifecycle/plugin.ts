/**
 * A plugin under supervision: its state, its cell, and the order of what is done to it.
 *
 * The state changes in one place, by the transition table. What an operator asks for is done one thing at
 * a time; a call that needs the cell waits for the start that is under way and never begins a second one.
 *
 * An end of the cell that nobody asked for, and a start that failed, are failures: `recovery.ts` says what
 * becomes of the plugin. While a restart is due, and while the plugin is suspended, calls wait, each with its
 * own deadline. A suspension is of the cell and ends with it.
 *
 * Invariants:
 * - at most one cell is alive for a plugin, so two never share its data folder;
 * - a cell exists only in the states starting, running, suspended and stopping;
 * - each cell has one entry of its end: stopped, killed or crashed.
 *
 * @module
 */
import type { PluginState } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import {
  type Asked,
  endedEvent,
  failedEvent,
  type PluginEvent,
  startedEvent,
  stopCodeOf,
  type StopReason,
} from "./cell_entries.ts";
import { CellTimers } from "./cell_timers.ts";
import type { Health } from "./health_watch.ts";
import { asProblem, conflict, isNotTried } from "./order_problems.ts";
import { Changes, Patience, type Wait } from "./patience.ts";
import type { PluginDeps } from "./supervision_deps.ts";
import { type PluginFault, type Quarantine, Recovery } from "./recovery.ts";
import type { Release } from "./release.ts";
import type { CellEnd, SupervisedCell } from "./supervised_cell.ts";
import { type LifecycleEvent, transition } from "./transition.ts";

export type { CellEnd, SupervisedCell } from "./supervised_cell.ts";

export class Plugin<Cell extends SupervisedCell> {
  #state: PluginState = "unloaded";
  #release: Release | undefined;
  #cell: Cell | undefined;
  #starting: Promise<Cell> | undefined;
  /** The end of the last cell. A new one waits for it. */
  #ending: Promise<void> = Promise.resolve();
  #order: Promise<unknown> = Promise.resolve();
  /** The last entry: with it all before it are in the ledger. */
  #recorded: Promise<unknown> = Promise.resolve();
  /** Of the cell that is being ended. */
  #asked: Asked | undefined;
  /** When the last cell was ready, by the clock that never goes back. */
  #readyAtMs = 0;
  /** The state that the last start began in. */
  #startedFrom: PluginState = "loaded";
  /** Of the state, and the end of a start. */
  readonly #changes = new Changes();
  readonly #recovery: Recovery;
  #timers: CellTimers | undefined;
  loadedAtMs: number | undefined;
  lastActivityMs: number | undefined;
  /** The same by the clock that never goes back. */
  usedAtMs = 0;
  restarts = 0;
  /** Of its last check. */
  health: Health | undefined;

  constructor(readonly id: string, private readonly deps: PluginDeps<Cell>) {
    this.#recovery = new Recovery(id, deps, (isDue) => this.#startInTurn(isDue));
  }

  get state(): PluginState {
    return this.#state;
  }

  get release(): Release | undefined {
    return this.#release;
  }

  get pid(): number | null {
    return this.#cell?.pid ?? null;
  }

  get lastFault(): PluginFault | undefined {
    return this.#recovery.lastFault;
  }

  /** `id@version`, as it stands in the ledger; the id alone while nothing is loaded. */
  get name(): string {
    return this.#release === undefined ? this.id : `${this.id}@${this.#release.manifest.version}`;
  }

  /** It takes calls, or would at once: waking up is a part of being asleep. */
  get isUp(): boolean {
    if (this.#state === "starting") return this.#startedFrom === "sleeping";
    return this.#state === "running" || this.#state === "sleeping";
  }

  /** Why no call starts it: it was given up, or its manifest leaves that to an operator. */
  get refusal(): ProblemError | undefined {
    return this.#recovery.refusalIn(this.#state);
  }

  /** Does one thing at a time, in the order asked for. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#order.then(work, work);
    this.#order = done.catch(() => {});
    return done;
  }

  /** Takes a package on. Only while there is no cell. */
  load(release: Release): void {
    this.#recovery.dropRestart();
    if (this.#release?.digest !== release.digest) this.#recovery.reset();
    this.#move("load");
    this.#release = release;
    this.loadedAtMs = this.deps.nowMs();
    this.health = undefined;
    this.#move("admit");
  }

  /** Other grants or limits for the same package: the next cell gets them. */
  revise(release: Release): void {
    this.#release = release;
  }

  unload(): void {
    this.#recovery.reset();
    this.#move("unload");
    this.#release = undefined;
    this.#move("unloaded");
  }

  /** Of a plugin that was just loaded: it was given up before. */
  restoreQuarantine(quarantine: Quarantine): void {
    this.#recovery.restore(quarantine);
    this.#move("fail");
    this.#move("give_up");
  }

  /** Forgets its failures; a plugin that had failed, quarantined or not, can be started again. */
  reset(): void {
    this.#recovery.reset();
    if (this.#state === "error" || this.#state === "quarantined") this.#move("reset");
  }

  /** It was of use just now: the time until it is put to sleep begins anew. */
  touch(): void {
    this.lastActivityMs = this.deps.nowMs();
    this.usedAtMs = this.deps.timing.nowMs();
  }

  /**
   * The cell, at once when it is awake, else when it has started. Rejects with ProblemError. Waits for a
   * restart that is due, and for a suspended plugin to be resumed: `limits.wallMs` unless `wait` says how long.
   */
  awake(wait: Wait = {}): Cell | Promise<Cell> {
    this.touch();
    return this.#ready ?? this.#awaken(wait);
  }

  /** Starts the cell if need be, without a pause after a failure; resolves when the start is in the ledger. */
  async start(actor: string): Promise<void> {
    if (this.#state === "suspended") throw conflict("start", this.id, "it is suspended. Resume it");
    // A cell that takes no calls is on its way out; a start that has failed is not the one asked for.
    if (this.#ready === undefined) await this.#ending;
    if (this.#state !== "starting") await this.#startSettled();
    if (this.#state === "quarantined" && this.refusal !== undefined) throw this.refusal;
    this.touch();
    await (this.#ready ?? this.#begin(actor));
    await this.#recorded;
  }

  /** Starts a critical plugin in the background, in its turn; any other waits for its call. */
  bringUp(afterMs = 0): void {
    const critical = this.#release?.manifest.critical ?? false;
    if (critical && this.#state === "loaded") this.#recovery.startAfter(afterMs, critical);
  }

  /** Airlock stops: no restart is due any more, and calls that wait are told. */
  close(): void {
    this.#recovery.dropRestart();
    this.#changes.announce();
  }

  /** Ends the cell, if there is one: drain → stop → kill. No restart is due after that. */
  async stop(reason: StopReason, actor: string): Promise<void> {
    await this.#startSettled();
    this.#recovery.dropRestart();
    const cell = this.#cell;
    if (cell !== undefined) {
      this.#move("stop");
      await this.#end(cell, { reason, actor });
    } else if (this.#state === "sleeping" || this.#state === "error") {
      this.#move("stop");
      this.#move("stopped");
    }
  }

  /** Puts an idle plugin to sleep; it wakes at its next call. */
  async sleep(reason: "idle" | "per-call"): Promise<void> {
    const cell = this.#ready;
    if (cell === undefined || cell.cell.callsUnderWay > 0) return;
    this.#timers?.[Symbol.dispose]();
    await this.#end(cell, { reason, actor: "kernel" });
  }

  /** Takes all CPU from the cell: calls wait until it is resumed. Rejects with CONFLICT where there is none. */
  async suspend(actor: string): Promise<void> {
    await this.#startSettled();
    if (this.#state === "suspended") return;
    const cell = this.#ready;
    if (cell === undefined) {
      const state = this.#cell === undefined ? `it is ${this.#state}. Start it first` : "its cell is ending";
      throw conflict("suspend", this.id, state);
    }
    this.#move("suspend");
    try {
      await cell.suspend();
    } catch (error) {
      if (this.#cell === cell) this.#move("resume");
      throw asProblem(error, "suspend", this.id);
    }
    if (this.#cell !== cell) throw conflict("suspend", this.id, "its cell has ended");
    await this.#record({ type: "plugin.suspended", data: {} }, actor);
  }

  /** Lets the cell go on; one that lost a call meanwhile is ended, and the next one takes its place. */
  async resume(actor: string): Promise<void> {
    if (this.#state === "running") return;
    const cell = this.#cell;
    if (this.#state !== "suspended" || cell === undefined) {
      throw conflict("resume", this.id, `it is ${this.#state}`);
    }
    this.touch();
    if (!cell.cell.isStale) {
      try {
        await cell.resume();
      } catch (error) {
        throw asProblem(error, "resume", this.id);
      }
      if (this.#cell !== cell) throw conflict("resume", this.id, "its cell has ended");
      this.#move("resume");
    }
    if (cell.cell.isStale) {
      await this.stop("reload", actor);
      await this.start(actor);
    }
    await this.#record({ type: "plugin.resumed", data: {} }, actor);
  }

  get #ready(): Cell | undefined {
    return this.#state === "running" && this.#cell?.cell.takesCalls ? this.#cell : undefined;
  }

  async #awaken(wait: Wait): Promise<Cell> {
    const waitMs = this.#release?.limits.wallMs ?? 0;
    using patience = new Patience(this.id, this.deps.timing, { waitMs, ...wait });
    const state = () => this.#recovery.waitIn(this.#state) ?? `it is ${this.#state}`;
    for (;;) {
      if (this.#ready !== undefined) return this.#ready;
      const starting = this.#starting;
      if (starting !== undefined && this.#state === "starting") return await patience.until(starting, state);
      if (this.refusal !== undefined) throw this.refusal;
      const mustWait = this.#cell !== undefined || starting !== undefined ||
        this.#recovery.waitIn(this.#state) !== undefined;
      if (!mustWait) return await patience.until(this.#begin("kernel"), state);
      {
        using next = this.#changes.next();
        await patience.until(next.change, state);
      }
      this.deps.checkCallable();
    }
  }

  /** The one start that is under way: it is over when its failure is recorded. */
  #begin(actor: string): Promise<Cell> {
    if (this.#starting !== undefined) return this.#starting;
    this.#recovery.dropRestart();
    const starting = this.#start(actor).finally(() => {
      this.#starting = undefined;
      this.#changes.announce();
    });
    starting.catch(() => {}); // recorded, and judged; those who began it may have gone away
    return this.#starting = starting;
  }

  /** Its turn has come. It may have been stopped or started meanwhile, or while a failure was recorded. */
  async #startInTurn(isDue: () => boolean): Promise<void> {
    await this.#startSettled();
    if (!isDue() || this.#state !== "loaded" && this.#state !== "error") return;
    this.touch();
    await this.#begin("kernel").catch(() => {}); // its failure was recorded, and judged
  }

  async #start(actor: string): Promise<Cell> {
    const given = this.#release;
    if (given === undefined) {
      throw new ProblemError("PLUGIN_STOPPED", `Cannot start plugin "${this.id}": it is not loaded`);
    }
    this.#startedFrom = this.#state;
    const isRestart = this.#state === "error";
    if (isRestart) this.restarts++;
    this.#move("start");
    try {
      const release = await this.deps.refresh?.(given) ?? given;
      const cell = await this.deps.startCell(release);
      this.#cell = cell;
      this.#asked = undefined;
      this.#readyAtMs = this.deps.timing.nowMs();
      this.#move("ready");
      this.deps.onCellStarted(isRestart ? "restart" : actor === "kernel" ? "wake" : "operator");
      this.#watch(cell, release);
      // Calls do not wait for it: the ledger keeps the order in which it was asked.
      void this.#record(startedEvent(release), actor);
      return cell;
    } catch (error) {
      const problem = asProblem(error, "start", this.id);
      if (isNotTried(problem)) {
        this.#notStarted(problem);
        throw problem;
      }
      const recorded = this.#record(failedEvent(problem));
      if (problem.code === "ISOLATION_REQUIRED") this.#notStarted(problem);
      else this.#failed({ cause: problem, isCallsDoing: false }, 0);
      await recorded;
      throw problem;
    }
  }

  /** There was no room for its cell, or this machine cannot hold it: nothing is held against it. */
  #notStarted(error: ProblemError): void {
    this.#move("stop");
    this.#move("stopped");
    const { code, options } = error;
    if (code === "ISOLATION_REQUIRED") this.#recovery.note(error);
    if (code === "QUEUE_FULL") {
      this.bringUp(options.retryAfterMs ?? this.deps.config.cells.restartBackoffMaxMs);
    }
  }

  #failed(end: Pick<CellEnd, "cause" | "isCallsDoing">, livedMs: number): void {
    this.#move("fail");
    const release = this.#release;
    if (release !== undefined && this.#recovery.isGivenUp(end, livedMs, release)) this.#move("give_up");
  }

  /** Waits for a start that is under way, whatever becomes of it: that was told to whoever began it. */
  async #startSettled(): Promise<void> {
    while (this.#starting !== undefined) await this.#starting.catch(() => {});
  }

  async #end(cell: Cell, asked: Asked): Promise<void> {
    this.#asked = asked;
    await cell.stop(stopCodeOf(asked));
    await this.#ending;
    await this.#recorded;
  }

  #watch(cell: Cell, { manifest }: Release): void {
    const { id, deps } = this;
    const ending = cell.cell.ended.then((end) => this.#ended(cell, end));
    deps.track(ending);
    this.#ending = ending.catch(() => {}); // tracked: whoever waits for it asks only whether it is over
    this.health = undefined;
    this.#timers = new CellTimers(deps, {
      ...{ plugin: id, cell, manifest },
      usedAtMs: () => this.usedAtMs,
      isAwake: () => this.#ready === cell,
      sleep: () => this.inOrder(() => this.sleep("idle")),
      onHealth: (health) => this.health = health,
    });
  }

  #ended(cell: Cell, end: CellEnd): void {
    this.#timers?.[Symbol.dispose]();
    if (this.#cell === cell) this.#cell = undefined;
    const asked = this.#asked ?? { reason: "shutdown", actor: "kernel" };
    this.deps.onCellEnded(end.by === "stopped" ? asked.reason : end.by);
    const event = endedEvent(end, asked);
    void this.#record(event, event.type === "plugin.stopped" ? asked.actor : "kernel");
    if (this.#state === "stopping") this.#move("stopped");
    else if (this.#asked !== undefined) this.#move("sleep"); // only `sleep` asks for the end of a running one
    else this.#failed(end, this.deps.timing.nowMs() - this.#readyAtMs);
  }

  #record(event: PluginEvent, actor = "kernel"): Promise<unknown> {
    this.#recorded = this.deps.record({ ...event, actor, plugin: this.name });
    this.deps.track(this.#recorded);
    return this.#recorded;
  }

  /** The one writer of the state. */
  #move(event: LifecycleEvent): void {
    this.#state = transition(this.#state, event);
    this.#changes.announce();
    this.deps.changed?.();
  }
}
