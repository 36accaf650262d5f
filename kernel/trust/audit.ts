/**
 * The audit: what each plugin's code asked Deno for, as rows for its operator and as entries of the ledger.
 *
 * The warden counts the checks of each cell and tells the kernel (`sandbox/warden/`). They are judged, summed in
 * memory and written behind, about once a second, so that a plugin that asks and asks costs the kernel little. The
 * ledger is told first, then the rows are written: a crash between the two repeats an entry and loses none; what
 * was not written yet when the kernel is killed is lost, as the warden's counts are.
 *
 * Entries of a plugin:
 * - `permission.used` for each row of a granted resource, once;
 * - `permission.refused` for each row of a refused one, and again whenever its checks have doubled, each with the
 *   number of checks since they were written last; at most `refusalsMax` of them in `windowMs`;
 * - `permission.counted` once in `windowMs` for all refused checks that are in no other entry.
 *
 * So the counts of the last two add up to the refused checks, and a plugin that floods this for ever gets one small
 * entry in `windowMs`. The openings in `commitments.db` are for those with a commitment alone, and a plugin can
 * make `resourcesMax` rows of each outcome, of which one doubles 53 times at the most and some 30 times in a year:
 * at the limits as they are 31,000 in a year, beside 1,000,000 that are kept, so that it pushes out nobody's.
 *
 * Bounds of a plugin: `resourcesMax` rows of each outcome, one for each granted scope beside them (`<scope>/*`),
 * and as much in memory; a name has 512 characters at most. What is granted beyond is counted on its scope's row,
 * what is refused beyond on the plugin's `untold` count.
 *
 * @module
 */
import type { Clock } from "../../sandbox/clock.ts";
import type { PermissionCheck } from "../../schemas/audit.ts";
import type { Config } from "../../schemas/config.ts";
import type { AuditPage, AuditRow, AuditTable } from "../store/audit_table.ts";
import { type PendingUse, PendingUses } from "./pending_uses.ts";
import type { Judge } from "./permission_outcome.ts";
import { type AuditEvent, placeUses } from "./place_uses.ts";
import { createRefusalBudget, type RefusalBudget } from "./refusal_budget.ts";

export interface AuditedCell {
  /** Of the plugin. */
  readonly id: string;
  /** `id@version`, for the ledger. */
  readonly name: string;
  readonly judge: Judge;
}

export interface AuditDeps {
  readonly table: AuditTable;
  readonly ledger: { append(event: AuditEvent): Promise<unknown> };
  readonly limits: Pick<Config["audit"], "resourcesMax" | "windowMs" | "refusalsMax">;
  readonly pluginsMax: number;
  readonly timing: Pick<Clock, "setTimer">;
  nowMs(): number;
  /** Tells the operator what could not be written, and is tried again. */
  warn(message: string): void;
}

const writeIntervalMs = 1_000;
/** Rows in one transaction, and entries that wait for it. Others have their turn between two. */
const batchRows = 500;

export class Audit {
  /** `id@version` by id, of the last cell that told something. As many as there are plugins. */
  readonly #names = new Map<string, string>();
  readonly #nameOf = (id: string) => this.#names.get(id) ?? "";
  readonly #budget: RefusalBudget;
  #pending = new Map<string, PendingUses>();
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  /** Settles when what was written last is. */
  #writing: Promise<void> = Promise.resolve();

  constructor(private readonly deps: AuditDeps) {
    const { ledger, nowMs, limits: { windowMs, refusalsMax }, pluginsMax: actorsMax } = deps;
    this.#budget = createRefusalBudget({
      tell: (id, data) =>
        ledger.append({ type: "permission.counted", actor: "kernel", plugin: this.#nameOf(id), data }),
      ...{ nowMs, windowMs, refusalsMax, actorsMax },
    });
  }

  /** Takes what a cell's code asked for. Never throws, and waits for nothing. */
  take({ id, name, judge }: AuditedCell, checks: readonly PermissionCheck[]): void {
    if (this.#isClosed || checks.length === 0) return;
    this.#names.set(id, name);
    const uses = this.#pendingOf(id);
    const atMs = this.deps.nowMs();
    for (const { permission, resource, count } of checks) {
      uses.take(permission, judge({ permission, resource }), { count, atMs });
    }
    this.#schedule();
  }

  /** Rows of a plugin, and how many refused checks have none: with all that was taken before. */
  async list(id: string, page: AuditPage): Promise<{ rows: AuditRow[]; untold: number }> {
    await (this.#pending.has(id) ? this.#flush() : this.#writing);
    const { table } = this.deps;
    return { rows: table.list(id, page), untold: table.untold(id) };
  }

  /** Writes what was taken; nothing is taken after it. Throws where the ledger or the store refuses it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    try {
      await this.#flush();
    } finally {
      await this.#budget.close();
    }
  }

  #pendingOf(id: string): PendingUses {
    let uses = this.#pending.get(id);
    if (uses === undefined) {
      this.#pending.set(id, uses = new PendingUses(id, this.deps.limits.resourcesMax));
    }
    return uses;
  }

  #schedule(): void {
    if (this.#isClosed || this.#cancelTimer !== undefined || this.#pending.size === 0) return;
    this.#cancelTimer = this.deps.timing.setTimer(() => {
      this.#cancelTimer = undefined;
      this.#flush().catch((error) =>
        this.deps.warn(`Cannot write the audit: ${String(error)}; it is tried again`)
      );
    }, writeIntervalMs);
  }

  /** One at a time. Rejects with what could not be written, which is pending again. */
  #flush(): Promise<void> {
    const written = this.#writing.then(() => this.#write());
    this.#writing = written.catch(() => undefined);
    return written;
  }

  async #write(): Promise<void> {
    const taken = [...this.#pending.values()];
    this.#pending = new Map();
    const uses = taken.flatMap((of) => of.list());
    let untold = new Map(taken.map((of) => [of.plugin, of.untold]));
    for (const { plugin, refusals } of taken) if (refusals > 0) this.#budget.count(plugin, refusals);
    const failures: unknown[] = [];
    for (let from = 0; from === 0 || from < uses.length; from += batchRows) {
      if (from > 0) await new Promise((resolve) => setTimeout(resolve));
      failures.push(...await this.#writeBatch(uses.slice(from, from + batchRows), untold));
      untold = new Map();
    }
    this.#schedule();
    if (failures.length > 0) throw failures[0];
  }

  /** Gives what went wrong. Neither an entry that was refused nor the rows after it lose a check by that. */
  async #writeBatch(
    uses: readonly PendingUse[],
    untoldBefore: ReadonlyMap<string, number>,
  ): Promise<unknown[]> {
    const { table, ledger, limits: { resourcesMax } } = this.deps;
    const placing = { table, budget: this.#budget, nameOf: this.#nameOf, resourcesMax };
    const { rows, untold } = placeUses(uses, untoldBefore, placing);
    const told = await Promise.allSettled(
      rows.map(async ({ event }) => event === undefined ? undefined : await ledger.append(event)),
    );
    const written = rows.filter((_, at) => told[at]?.status === "fulfilled").map(({ use }) => use);
    const again = rows.filter((_, at) => told[at]?.status === "rejected").map(({ use }) => use);
    const failures: unknown[] = told.flatMap((result) => result.status === "rejected" ? [result.reason] : []);
    try {
      if (written.length > 0 || untold.size > 0) table.add(written, untold);
    } catch (error) {
      failures.push(error);
      again.push(...written);
      for (const [id, count] of untold) this.#pendingOf(id).untold += count;
    }
    for (const use of again) this.#pendingOf(use.plugin).add(use);
    return failures;
  }
}
