/**
 * A plugin under supervision: its state, its cell, and the order of what is done to it.
 *
 * The state changes in one place, by the transition table. What an operator asks for is done one thing at
 * a time; a call that needs the cell waits for the start that is under way and never begins a second one.
 *
 * Invariants:
 * - at most one cell is alive for a plugin, so two never share its data folder;
 * - a cell exists only in the states starting, running, suspended and stopping.
 *
 * @module
 */
import type { PluginState } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/ledger.ts";
import { grantedScopes, type Release } from "./release.ts";
import { type LifecycleEvent, transition } from "./transition.ts";

/** How a cell ended. */
export interface CellEnd {
  readonly cause: ProblemError;
  readonly exitCode: number;
  readonly signal: string | null;
  /** Calls that were under way. */
  readonly calls: number;
  readonly by: "killed" | "stopped" | "crashed";
}

/** The part of a cell that supervision needs; `sandbox/` provides it. */
export interface SupervisedCell {
  readonly cell: {
    readonly callsUnderWay: number;
    readonly takesCalls: boolean;
    readonly ended: Promise<CellEnd>;
  };
  readonly pid: number | null;
  stop(): Promise<void>;
}

export interface PluginDeps<Cell extends SupervisedCell> {
  startCell(release: Release): Promise<Cell>;
  record(event: LedgerEventInput): Promise<unknown>;
  onCellStarted(reason: "operator" | "wake" | "restart"): void;
  onCellEnded(reason: StopReason | "killed" | "crashed"): void;
  /** What to start instead: in `--dev`, what stands in the plugin's folder now. */
  refresh?(release: Release): Promise<Release>;
  nowMs(): number;
  /** Runs in the background; its failure is the kernel's. */
  track(work: Promise<unknown>): void;
}

export interface PluginFault {
  readonly error: ProblemError;
  readonly atMs: number;
}

export type StopReason = "operator" | "idle" | "shutdown" | "reload" | "per-call";

export class Plugin<Cell extends SupervisedCell> {
  #state: PluginState = "unloaded";
  #release: Release | undefined;
  #cell: Cell | undefined;
  #starting: Promise<Cell> | undefined;
  /** The end of the last cell, told to the ledger. A new one waits for it. */
  #ending: Promise<void> = Promise.resolve();
  #order: Promise<unknown> = Promise.resolve();
  /** The entry of the last start. */
  #startRecorded: Promise<unknown> = Promise.resolve();
  #stopReason: StopReason = "shutdown";
  #idleTimer: ReturnType<typeof setInterval> | undefined;
  loadedAtMs: number | undefined;
  lastActivityMs: number | undefined;
  restarts = 0;
  lastFault: PluginFault | undefined;

  constructor(readonly id: string, private readonly deps: PluginDeps<Cell>) {}

  get state(): PluginState {
    return this.#state;
  }

  get release(): Release | undefined {
    return this.#release;
  }

  get pid(): number | null {
    return this.#cell?.pid ?? null;
  }

  /** `id@version`, as it stands in the ledger; the id alone while nothing is loaded. */
  get name(): string {
    return this.#release === undefined ? this.id : `${this.id}@${this.#release.manifest.version}`;
  }

  /** Does one thing at a time, in the order asked for. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#order.then(work, work);
    this.#order = done.catch(() => {});
    return done;
  }

  /** Takes a package on. Only while there is no cell. */
  load(release: Release): void {
    this.#move("load");
    this.#release = release;
    this.loadedAtMs = this.deps.nowMs();
    this.#move("admit");
  }

  /** Other grants or limits for the same package: the next cell gets them. */
  revise(release: Release): void {
    this.#release = release;
  }

  unload(): void {
    this.#move("unload");
    this.#release = undefined;
    this.#move("unloaded");
  }

  /** It was of use just now: the time until it is put to sleep begins anew. */
  touch(): void {
    this.lastActivityMs = this.deps.nowMs();
  }

  /** The cell, at once when it is awake, else when it has started. Rejects with ProblemError. */
  awake(actor = "kernel"): Cell | Promise<Cell> {
    this.touch();
    if (this.#cell?.cell.takesCalls) return this.#cell;
    this.#starting ??= this.#start(actor).finally(() => this.#starting = undefined);
    return this.#starting;
  }

  /** Starts the cell if need be; resolves when the start is in the ledger. */
  async start(actor: string): Promise<void> {
    await this.awake(actor);
    await this.#startRecorded;
  }

  async #start(actor: string): Promise<Cell> {
    await this.#ending;
    const given = this.#release;
    if (given === undefined) {
      throw new ProblemError("PLUGIN_STOPPED", `Cannot start plugin "${this.id}": it is not loaded`);
    }
    const isRestart = this.#state === "error";
    if (isRestart) this.restarts++;
    this.#move("start");
    try {
      const release = await this.deps.refresh?.(given) ?? given;
      const cell = await this.deps.startCell(release);
      this.#cell = cell;
      this.#move("ready");
      this.deps.onCellStarted(isRestart ? "restart" : actor === "kernel" ? "wake" : "operator");
      this.#watch(cell, release.manifest.idleMs);
      const granted = grantedScopes(release.grants);
      const data = { isolation: release.isolation, packageSha256: release.digest, granted };
      // Calls do not wait for it: the ledger keeps the order in which it was asked.
      this.#startRecorded = this.#record({ type: "plugin.started", data }, actor);
      this.deps.track(this.#startRecorded);
      return cell;
    } catch (error) {
      const problem = this.#failed(error);
      const { code } = problem;
      await this.#record({ type: "plugin.failed", data: { code }, commit: { reason: problem.message } });
      throw problem;
    }
  }

  #failed(error: unknown): ProblemError {
    const problem = error instanceof ProblemError
      ? error
      : new ProblemError("INTERNAL", `Cannot start plugin "${this.id}"`, { cause: error });
    this.lastFault = { error: problem, atMs: this.deps.nowMs() };
    this.#move("fail");
    return problem;
  }

  /** Ends the cell, if there is one: drain → stop → kill. */
  async stop(reason: StopReason, actor: string): Promise<void> {
    await this.#starting?.catch(() => {}); // its failure was told to whoever started it
    if (this.#cell === undefined) {
      if (this.#state === "sleeping" || this.#state === "error") {
        this.#move("stop");
        this.#move("stopped");
      }
      return;
    }
    const cell = this.#cell;
    this.#stopReason = reason;
    this.#move("stop");
    await cell.stop();
    await this.#ending;
    await this.#record({ type: "plugin.stopped", data: { reason } }, actor);
  }

  /** Puts an idle plugin to sleep; it wakes at its next call. */
  async sleep(reason: "idle" | "per-call"): Promise<void> {
    const cell = this.#cell;
    if (cell === undefined || this.#state !== "running" || cell.cell.callsUnderWay > 0) return;
    clearInterval(this.#idleTimer);
    this.#stopReason = reason;
    await cell.stop();
    await this.#ending;
    await this.#record({ type: "plugin.stopped", data: { reason } });
  }

  #watch(cell: Cell, idleMs: number): void {
    const ending = cell.cell.ended.then((end) => this.#ended(cell, end));
    this.deps.track(ending);
    this.#ending = ending.catch(() => {}); // its failure was tracked, and must not keep the next cell away
    this.#idleTimer = setInterval(() => {
      const idleForMs = this.deps.nowMs() - (this.lastActivityMs ?? 0);
      if (idleForMs >= idleMs) this.deps.track(this.inOrder(() => this.sleep("idle")));
    }, Math.max(50, idleMs / 4));
  }

  async #ended(cell: Cell, end: CellEnd): Promise<void> {
    clearInterval(this.#idleTimer);
    if (this.#cell === cell) this.#cell = undefined;
    if (this.#state === "stopping") this.#move("stopped");
    else if (end.by === "stopped") this.#move("sleep"); // only `sleep` stops a cell of a running plugin
    else {
      this.lastFault = { error: end.cause, atMs: this.deps.nowMs() };
      this.#move("fail");
    }
    this.deps.onCellEnded(end.by === "stopped" ? this.#stopReason : end.by);
    const { calls, exitCode, signal } = end;
    if (end.by === "killed") {
      await this.#record({ type: "plugin.killed", data: { code: end.cause.code, calls } });
    } else if (end.by === "crashed") {
      await this.#record({ type: "plugin.crashed", data: { exitCode, signal: signal ?? "", calls } });
    }
  }

  #record(event: RecordOf, actor = "kernel"): Promise<unknown> {
    return this.deps.record({ ...event, actor, plugin: this.name });
  }

  /** The one writer of the state. */
  #move(event: LifecycleEvent): void {
    this.#state = transition(this.#state, event);
  }
}

type WithoutPlace<T> = T extends unknown ? Omit<T, "actor" | "plugin"> : never;
type RecordOf = WithoutPlace<LedgerEventInput>;
