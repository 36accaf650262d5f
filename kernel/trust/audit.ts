/**
 * The audit: what each plugin's code asked Deno for, as rows for its operator and as entries of the ledger.
 *
 * The warden counts the checks of each cell and tells the kernel (`sandbox/warden/`). They are judged, summed in
 * memory and written behind, about once a second, so that a plugin that asks and asks costs the kernel little. The
 * ledger is told first, then the rows are written: a crash between the two repeats an entry and loses none; what
 * was not written yet when the kernel is killed is lost, as the warden's counts are. What the ledger was told and the
 * store refuses stays pending, marked as told: its entry is not made again.
 *
 * Entries of a plugin:
 * - `permission.used` for each row of a granted resource, once;
 * - `permission.refused` for each row of a refused one, and again whenever its checks have doubled, each with the
 *   number of checks since they were written last; at most `refusalsMax` of them of a version in `windowMs`;
 * - `permission.counted` once in `windowMs` for all refused checks that are in no other entry.
 *
 * So the counts of the last two add up to the refused checks, and a plugin that floods this for ever gets one small
 * entry in `windowMs`.
 *
 * Bounds of a plugin: `resourcesMax` rows of each outcome, one for each granted scope beside them (`<scope>/*`),
 * and as much in memory. What is granted beyond is counted on its scope's row, what is refused beyond on the
 * plugin's `untold` count.
 *
 * What that comes to, at the limits as they are:
 * - Openings (`commitments.db`, the first two kinds of entries): 2,000 of a plugin's within ten minutes, and, since
 *   the count of each refused row can double some 28 times in a year of 10,000 checks a second, 30,000 in that year.
 *   Of 1,000,000 that are kept, one plugin takes 3 in 100. Many that work together push out those of others: 34 do
 *   in a year, 500 in ten minutes. An operator who runs such numbers of plugins that he does not trust raises
 *   `ledger.commitmentsMax` or lowers `audit.resourcesMax`. The entries themselves stay.
 * - Disk: a name has 512 UTF-16 units at most, so 1.5 KB at most, and stands in its row and once more in the
 *   row's unique index: 6 MB for the 2,000 rows of a plugin, 2 MB where its names are ASCII; and once more in its
 *   opening.
 *
 * @module
 */
import type { Clock } from "../../sandbox/clock.ts";
import type { PermissionCheck } from "../../schemas/audit.ts";
import type { Config } from "../../schemas/config.ts";
import type { AuditPage, AuditRow, AuditTable } from "../store/audit_table.ts";
import { type PendingUse, PendingUses } from "./pending_uses.ts";
import type { Judge } from "./permission_outcome.ts";
import { type AuditEvent, type PlacedUses, placeUses } from "./place_uses.ts";
import { createRefusalBudget, otherActors, type RefusalBudget } from "./refusal_budget.ts";

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
  /** Whether cells are audited at all. */
  readonly isAudited: boolean;
  readonly timing: Pick<Clock, "setTimer">;
  nowMs(): number;
  /** Tells the operator what could not be written. */
  warn(message: string): void;
}

const writeIntervalMs = 1_000;
/** Rows in one transaction, and entries that wait for it. Others have their turn between two. */
const batchRows = 500;

interface Batch {
  readonly uses: readonly PendingUse[];
  /** By plugin. */
  readonly untold: ReadonlyMap<string, number>;
}

/** What could not be written, and is pending again: the first error of each plugin. */
type Failures = Map<string, unknown>;

export interface ListedAudit {
  readonly rows: AuditRow[];
  /** Refused checks that have no row. */
  readonly untold: number;
  /** False: nothing is known of what cells ask for here. */
  readonly isAudited: boolean;
}

export class Audit {
  /** Of actors that are `id@version`. */
  readonly #budget: RefusalBudget;
  #pending = new Map<string, PendingUses>();
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  /** Settles when what was written last is. */
  #writing: Promise<Failures> = Promise.resolve(new Map());

  constructor(private readonly deps: AuditDeps) {
    const { ledger, nowMs, limits: { windowMs, refusalsMax }, pluginsMax: actorsMax } = deps;
    this.#budget = createRefusalBudget({
      tell: (name, data) => {
        const plugin = name === otherActors ? "" : name;
        return ledger.append({ type: "permission.counted", actor: "kernel", plugin, data });
      },
      ...{ nowMs, windowMs, refusalsMax, actorsMax },
    });
  }

  /** Takes what a cell's code asked for. Never throws, and waits for nothing. */
  take({ id, name, judge }: AuditedCell, checks: readonly PermissionCheck[]): void {
    if (this.#isClosed || checks.length === 0) return;
    const uses = this.#pendingOf(id);
    const atMs = this.deps.nowMs();
    for (const { permission, resource, count } of checks) {
      uses.take(permission, judge({ permission, resource }), { name, count, atMs });
    }
    this.#schedule();
  }

  /** With all that was taken of the plugin before. Rejects where that cannot be written; others' does not matter. */
  async list(id: string, page: AuditPage): Promise<ListedAudit> {
    const failures = await (this.#pending.has(id) ? this.#flush() : this.#writing);
    if (failures.has(id)) throw failures.get(id);
    const { table, isAudited } = this.deps;
    return { rows: table.list(id, page), untold: table.untold(id), isAudited };
  }

  /** Writes what was taken; nothing is taken after it. Never rejects: what is refused is lost, and the operator told. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#warn(await this.#flush(), "it is lost");
    await this.#budget.close().catch((error) => this.#warn(new Map([["", error]]), "a count is lost"));
  }

  #warn(failures: Failures, outcome: string): void {
    if (failures.size === 0) return;
    const [error] = failures.values();
    this.deps.warn(`Cannot write the audit: ${String(error)}; ${outcome}`);
  }

  #pendingOf(id: string): PendingUses {
    let uses = this.#pending.get(id);
    if (uses === undefined) {
      const { resourcesMax } = this.deps.limits;
      const countRefusals = (name: string, count: number) => this.#budget.count(name, count);
      this.#pending.set(id, uses = new PendingUses(id, { resourcesMax, countRefusals }));
    }
    return uses;
  }

  #schedule(): void {
    if (this.#isClosed || this.#cancelTimer !== undefined || this.#pending.size === 0) return;
    this.#cancelTimer = this.deps.timing.setTimer(() => {
      this.#cancelTimer = undefined;
      void this.#flush().then((failures) => this.#warn(failures, "it is tried again"));
    }, writeIntervalMs);
  }

  /** One at a time. Never rejects. */
  #flush(): Promise<Failures> {
    return this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<Failures> {
    const taken = [...this.#pending.values()];
    this.#pending = new Map();
    const uses = taken.flatMap((of) => of.list());
    let untold = new Map(taken.flatMap((of) => of.untold > 0 ? [[of.plugin, of.untold]] : []));
    const failures: Failures = new Map();
    for (let from = 0; from === 0 || from < uses.length; from += batchRows) {
      if (from > 0) await new Promise((resolve) => setTimeout(resolve));
      await this.#writeBatch({ uses: uses.slice(from, from + batchRows), untold }, failures);
      untold = new Map();
    }
    this.#schedule();
    return failures;
  }

  /** Neither an entry that was refused nor the rows after it lose a check by that. */
  async #writeBatch(batch: Batch, failures: Failures): Promise<void> {
    const { table, ledger, nowMs, limits: { resourcesMax } } = this.deps;
    const takeBack = ({ uses, untold }: Batch, error: unknown) => {
      for (const use of uses) this.#pendingOf(use.plugin).add(use);
      for (const [id, count] of untold) this.#pendingOf(id).untold += count;
      const ids = [...uses.map(({ plugin }) => plugin), ...untold.keys()];
      for (const id of ids) if (!failures.has(id)) failures.set(id, error);
    };
    let placed: PlacedUses;
    try {
      placed = placeUses(batch.uses, batch.untold, { table, budget: this.#budget, resourcesMax });
    } catch (error) {
      return takeBack(batch, error);
    }
    const { rows, untold } = placed;
    const entries = await Promise.allSettled(
      rows.map(async ({ event }) => event === undefined ? undefined : await ledger.append(event)),
    );
    const written: PendingUse[] = [];
    for (const [at, { use }] of rows.entries()) {
      const entry = entries[at];
      if (entry?.status === "rejected") takeBack({ uses: [use], untold: new Map() }, entry.reason);
      else written.push({ ...use, told: use.count });
    }
    if (written.length === 0 && untold.size === 0) return;
    try {
      table.add(written, untold, nowMs());
    } catch (error) {
      takeBack({ uses: written, untold }, error);
    }
  }
}
