/**
 * Recovery: what becomes of one plugin after a failure. It is started again in its turn, it waits for an
 * operator, or it is quarantined.
 *
 * `restart_policy.ts` judges, `restart_queue.ts` says whose turn it is; here stands what came of it, so that
 * calls are told, or wait.
 *
 * Invariants:
 * - at most one restart is due for a plugin;
 * - a quarantine is durable before anybody can see it.
 *
 * @module
 */
import type { PluginState } from "../../schemas/api.ts";
import type { Config } from "../../schemas/config.ts";
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";
import type { CellEnd } from "./supervised_cell.ts";
import type { Release } from "./release.ts";
import { Failures, type Verdict } from "./restart_policy.ts";
import type { RestartQueue } from "./restart_queue.ts";
import type { Clock } from "../../sandbox/clock.ts";

/** Why a plugin was given up: the last of its failures, and how many there were. */
export interface Quarantine {
  /** Of the package that failed. */
  readonly digest: string;
  readonly code: ProblemCode;
  readonly reason: string;
  readonly failures: number;
  readonly windowMs: number;
  readonly atMs: number;
}

export interface PluginFault {
  readonly error: ProblemError;
  readonly atMs: number;
}

export interface RecoveryDeps {
  readonly config: Config;
  readonly restarts: Pick<RestartQueue, "add">;
  readonly timing: Clock;
  /** From 0 to 1. */
  random(): number;
  nowMs(): number;
  /** Makes a quarantine durable before it returns, then tells the ledger. */
  keepQuarantine(quarantine: Quarantine): void;
  /** The kernel can no longer keep its promises: ends the process. */
  fatal(error: Error): void;
}

export class Recovery {
  readonly #failures = new Failures();
  #verdict: Verdict | undefined;
  #quarantine: Quarantine | undefined;
  /** The restart that is due: it waits for its turn, or its turn has come and it has not begun. */
  #due: { cancel(): void } | undefined;
  lastFault: PluginFault | undefined;

  /** `start` begins a start whose turn has come, and settles with it, unless it is no longer due. */
  constructor(
    private readonly id: string,
    private readonly deps: RecoveryDeps,
    private readonly start: (isDue: () => boolean) => Promise<unknown>,
  ) {}

  /** Keeps why it did not start, where that is nothing to judge. */
  note(error: ProblemError): void {
    this.lastFault = { error, atMs: this.deps.nowMs() };
  }

  /**
   * Takes note of a failure; says whether the plugin is given up, and its quarantine is then durable. `livedMs`
   * is how long its cell had lived, 0 where none started.
   */
  isGivenUp(
    { cause: error, isCallsDoing }: Pick<CellEnd, "cause" | "isCallsDoing">,
    livedMs: number,
    { manifest, digest }: Release,
  ): boolean {
    const { config, timing, random, nowMs } = this.deps;
    const { critical, restart } = manifest;
    this.note(error);
    const isOurs = error.code === "INTERNAL";
    // Whoever may call could have it given up, if that counted: the breaker judges calls.
    const verdict: Verdict = isCallsDoing
      ? restart.policy === "never" ? { kind: "call" } : { kind: "restart", afterMs: 0 }
      : this.#failures.judge(restart, config, { nowMs: timing.nowMs(), livedMs, isOurs, random: random() });
    this.#verdict = verdict;
    if (verdict.kind === "restart") this.startAfter(verdict.afterMs, critical);
    if (verdict.kind !== "quarantine") return false;
    const { failures } = verdict;
    const { code, message: reason } = error;
    return this.#keep({ digest, code, reason, failures, windowMs: restart.windowMs, atMs: nowMs() });
  }

  /** Where a quarantine cannot be kept, the next life of the kernel would know nothing of it: this one ends. */
  #keep(quarantine: Quarantine): boolean {
    try {
      this.deps.keepQuarantine(quarantine);
      this.#quarantine = quarantine;
      return true;
    } catch (cause) {
      this.deps.fatal(new Error(`Cannot keep the quarantine of plugin "${this.id}"`, { cause }));
      return false;
    }
  }

  /**
   * Takes up a quarantine that was begun in an earlier life of the kernel, or before the plugin was unloaded.
   */
  restore(quarantine: Quarantine): void {
    const { code, reason, atMs } = quarantine;
    this.lastFault = { error: new ProblemError(code, reason), atMs };
    this.#quarantine = quarantine;
  }

  /** Forgets all failures but the words of the last one. */
  reset(): void {
    this.dropRestart();
    this.#failures.forget();
    this.#verdict = undefined;
    this.#quarantine = undefined;
  }

  /** Starts the plugin in its turn, in place of what was due; never where Airlock stops. */
  startAfter(afterMs: number, critical: boolean): void {
    this.dropRestart();
    const due = { cancel: () => {} };
    this.#due = due;
    const cancel = this.deps.restarts.add({
      critical,
      dueMs: this.deps.timing.nowMs() + afterMs,
      run: () => this.start(() => this.#due === due),
    });
    if (cancel === undefined) this.#due = undefined;
    else due.cancel = cancel;
  }

  /** It is being started, or must not be. */
  dropRestart(): void {
    this.#due?.cancel();
    this.#due = undefined;
  }

  /** What a call of a plugin in `state` waits for. */
  waitIn(state: PluginState): string | undefined {
    if (state === "suspended") return "it is suspended";
    if (state !== "error" || this.#due === undefined) return undefined;
    return `it failed (${this.lastFault?.error.code}) and is to be started again`;
  }

  /** Why no call starts a plugin in `state`. */
  refusalIn(state: PluginState): ProblemError | undefined {
    const { id } = this;
    const cannot = `Cannot call plugin "${id}"`;
    if (state === "quarantined") {
      const { failures, windowMs, reason } = this.#quarantine ?? {};
      const why = `it is quarantined, because it failed ${failures} times within ${windowMs} ms`;
      const advice = `Mend what is wrong, then POST /v1/plugins/${id}/reset`;
      return new ProblemError("PLUGIN_QUARANTINED", `${cannot}: ${why}; the last time: ${reason}. ${advice}`);
    }
    if (state !== "error" || this.#verdict?.kind !== "operator") return undefined;
    const why = `it failed (${this.lastFault?.error.code}) and its manifest asks for no restart`;
    return new ProblemError("PLUGIN_STOPPED", `${cannot}: ${why}. Start it: POST /v1/plugins/${id}/start`);
  }
}
