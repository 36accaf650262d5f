/**
 * The kernel's end of its pipe to the warden: asks for cells and signals, and hears of their ends.
 *
 * Each cell has one listener here from the moment it is asked for until its end is reported; nothing is
 * kept for a cell after that. A check that is asked for is answered, or given up at its deadline.
 *
 * @module
 */
import type { PermissionCheck } from "../schemas/audit.ts";
import { ProblemError } from "../schemas/problem.ts";
import type { CellDescription, FromWarden, ToWarden } from "../schemas/warden_protocol.ts";
import type { ProcessEnd } from "./cell_end.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Deadlines } from "./deadlines.ts";

/** What the warden reports of one cell. */
export interface CellReports {
  onRefused(message: string): void;
  onLocated(pid: number | null): void;
  onLog(text: string): void;
  onAudit(checks: readonly PermissionCheck[]): void;
  onPaused(ms: number): void;
  onSuspended(): void;
  onResumed(): void;
  onEnded(end: ProcessEnd): void;
}

/** What the warden looks at to say whether it would start a cell. */
export type CheckedDescription = Pick<CellDescription, "tier" | "packageDir" | "dataDir" | "grants">;

const checksPendingMax = 64;
const checkTimeoutMs = 10_000;
const auditTimeoutMs = 1_000;

export class WardenLink {
  readonly #cells = new Map<string, CellReports>();
  readonly #checks = new Map<number, PromiseWithResolvers<string | null>>();
  /** Questions for what cells have asked for. */
  readonly #audits = new Map<number, { readonly cell: string; readonly answer: () => void }>();
  readonly #deadlines: Deadlines;
  #lastCheck = 0;
  #lastQuestion = 0;

  constructor(
    private readonly send: (message: ToWarden) => void,
    private readonly clock: Clock = systemClock,
  ) {
    this.#deadlines = new Deadlines((check) => this.#giveUp(check), clock);
  }

  start(description: CellDescription, reports: CellReports): void {
    this.#cells.set(description.cell, reports);
    this.send({ type: "start", description });
  }

  locate(cell: string): void {
    this.send({ type: "locate", cell });
  }

  kill(cell: string): void {
    this.send({ type: "kill", cell });
  }

  suspend(cell: string): void {
    this.send({ type: "suspend", cell });
  }

  resume(cell: string): void {
    this.send({ type: "resume", cell });
  }

  /**
   * Resolves when `onAudit` was told all that the cell has asked for until now; also at its end, and when the
   * warden takes too long to answer: then the rest comes later.
   */
  async audit(cell: string): Promise<void> {
    if (!this.#cells.has(cell)) return;
    const question = ++this.#lastQuestion;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#audits.set(question, { cell, answer: resolve });
    const cancelTimer = this.clock.setTimer(resolve, auditTimeoutMs);
    this.send({ type: "audit", cell, question });
    await promise;
    cancelTimer();
    this.#audits.delete(question);
  }

  /** What the cell works on: all its calls are `count`, the oldest of them `ids`. */
  calls(cell: string, count: number, ids: number[]): void {
    this.send({ type: "calls", cell, count, ids });
  }

  /**
   * Why the warden would refuse a cell of this description; `null` when it would start it. Rejects with
   * QUEUE_FULL when too many are waiting, with NOT_READY when the warden does not answer.
   */
  check(description: CheckedDescription): Promise<string | null> {
    if (this.#checks.size >= checksPendingMax) {
      const state = `${checksPendingMax} others wait for the warden's answer`;
      return Promise.reject(new ProblemError("QUEUE_FULL", `Cannot check grants: ${state}. Try again`));
    }
    const check = ++this.#lastCheck;
    const answer = Promise.withResolvers<string | null>();
    this.#checks.set(check, answer);
    this.#deadlines.set(check, checkTimeoutMs);
    const { tier, packageDir, dataDir, grants } = description;
    this.send({ type: "check", check, description: { tier, packageDir, dataDir, grants } });
    return answer.promise;
  }

  /** Takes a message of the warden. Reports on a cell that has ended are late, and dropped. */
  receive(message: Exclude<FromWarden, { type: "drain" }>): void {
    if (message.type === "checked") return this.#checked(message.check, message.fault);
    const reports = this.#cells.get(message.cell);
    if (reports === undefined) return;
    switch (message.type) {
      case "started":
        return;
      case "paused":
        return reports.onPaused(message.ms);
      case "suspended":
        return reports.onSuspended();
      case "resumed":
        return reports.onResumed();
      case "refused":
        this.#cells.delete(message.cell);
        return reports.onRefused(message.message);
      case "located":
        return reports.onLocated(message.pid);
      case "log":
        return reports.onLog(message.text);
      case "audit":
        reports.onAudit(message.checks);
        if (message.asked !== null) this.#audits.get(message.asked)?.answer();
        return;
      case "ended": {
        const { exitCode, signal, killed, detail, calls } = message;
        this.#cells.delete(message.cell);
        for (const { cell, answer } of this.#audits.values()) if (cell === message.cell) answer();
        return reports.onEnded({ exitCode, signal, killed, detail, calls });
      }
    }
  }

  #checked(check: number, fault: string | null): void {
    this.#checks.get(check)?.resolve(fault);
    this.#forget(check);
  }

  #giveUp(check: number): void {
    const state = `the warden did not answer within ${checkTimeoutMs} ms`;
    this.#checks.get(check)?.reject(
      new ProblemError("NOT_READY", `Cannot check grants: ${state}. Try again`),
    );
    this.#forget(check);
  }

  /** The last one takes the timer with it. */
  #forget(check: number): void {
    this.#checks.delete(check);
    this.#deadlines.delete(check);
    if (this.#checks.size === 0) this.#deadlines[Symbol.dispose]();
  }
}
