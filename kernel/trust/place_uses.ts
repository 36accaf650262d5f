/**
 * Where uses go: each to its row, to that of its scope, or to a count; and the entry that tells of it, if one does.
 *
 * `audit.ts` says what the rules are for.
 *
 * @module
 */
import type { AuditOutcome } from "../../schemas/audit.ts";
import type { LedgerEventInput } from "../ledger/event.ts";
import type { AuditTable } from "../store/audit_table.ts";
import { keyOf, mergeUses, type PendingUse, restOfUse, useKeyOf } from "./pending_uses.ts";
import type { RefusalBudget } from "./refusal_budget.ts";

export type AuditEvent = LedgerEventInput<"permission.used" | "permission.refused" | "permission.counted">;

export interface PlacedUses {
  /** Each row once for each version. */
  readonly rows: { readonly use: PendingUse; readonly event: AuditEvent | undefined }[];
  /** Checks without a row, by plugin. */
  readonly untold: ReadonlyMap<string, number>;
}

interface Places {
  readonly table: Pick<AuditTable, "count" | "rows">;
  /** Of entries, for refused checks. */
  readonly budget: Pick<RefusalBudget, "take" | "count">;
  readonly resourcesMax: number;
}

/**
 * Spends of the budget what the entries take, and nothing where the table throws. `untoldBefore`: by plugin, in
 * addition.
 */
export function placeUses(
  uses: readonly PendingUse[],
  untoldBefore: ReadonlyMap<string, number>,
  { table, budget, resourcesMax }: Places,
): PlacedUses {
  const placed = new Map<string, PendingUse>();
  const unplaced: PendingUse[] = [];
  /** By row, its checks that need no entry any more: all that the table has, and some that are pending. */
  const toldBefore = new Map<string, number>();
  const rooms = new Map<string, number>();

  /** Whether one more row fits; then it is taken. */
  function takeRoom(plugin: string, outcome: AuditOutcome): boolean {
    const key = `${plugin} ${outcome}`;
    const room = rooms.get(key) ?? resourcesMax - table.rows(plugin, outcome);
    rooms.set(key, Math.max(0, room - 1));
    return room > 0;
  }

  function place(use: PendingUse): void {
    const { plugin, outcome, resource, rest } = use;
    const row = keyOf(use);
    const known = toldBefore.get(row);
    const before = known ?? table.count(use);
    if (known === undefined && before === 0 && resource !== rest && !takeRoom(plugin, outcome)) {
      if (rest !== undefined) place(restOfUse(use, rest));
      else unplaced.push(use);
      return;
    }
    toldBefore.set(row, before + use.told);
    const key = useKeyOf(use);
    const same = placed.get(key);
    placed.set(key, same === undefined ? use : mergeUses(same, use));
  }

  for (const use of uses) place(use);
  const untold = new Map(untoldBefore);
  for (const { plugin, name, count, told } of unplaced) {
    untold.set(plugin, (untold.get(plugin) ?? 0) + count);
    if (count > told) budget.count(name, count - told);
  }
  const rows = [...placed.values()].map((use) => {
    const row = keyOf(use);
    const before = toldBefore.get(row) ?? 0;
    toldBefore.set(row, before + use.count - use.told);
    return { use, event: eventOf(use, before, budget) };
  });
  return { rows, untold };
}

/** What is committed to is the resource's name, or nothing for all there are. */
function eventOf(
  { name, outcome, permission, resource, ...of }: PendingUse,
  checksBefore: number,
  budget: Pick<RefusalBudget, "take" | "count">,
): AuditEvent | undefined {
  const count = of.count - of.told;
  if (count === 0) return undefined;
  const who = { actor: "kernel", plugin: name };
  const commit = { resource: resource ?? "" };
  if (outcome === "granted") {
    if (checksBefore > 0) return undefined;
    return { type: "permission.used", ...who, data: { permission }, commit };
  }
  if (digits(checksBefore + count) === digits(checksBefore)) {
    budget.count(name, count);
    return undefined;
  }
  if (!budget.take(name, count)) return undefined;
  return { type: "permission.refused", ...who, data: { permission, count }, commit };
}

/** In base two: it grows when `count` doubles. None for 0. */
function digits(count: number): number {
  return count === 0 ? 0 : count.toString(2).length;
}
