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
import { keyOf, type PendingUse } from "./pending_uses.ts";
import type { RefusalBudget } from "./refusal_budget.ts";

export type AuditEvent = LedgerEventInput<"permission.used" | "permission.refused" | "permission.counted">;

export interface PlacedUses {
  /** Each row once. */
  readonly rows: { readonly use: PendingUse; readonly event: AuditEvent | undefined }[];
  /** Checks without a row, by plugin. */
  readonly untold: ReadonlyMap<string, number>;
}

interface Places {
  readonly table: Pick<AuditTable, "count" | "rows">;
  /** Of entries, for refused checks. */
  readonly budget: Pick<RefusalBudget, "take" | "count">;
  readonly resourcesMax: number;
  /** `id@version` of a plugin. */
  nameOf(id: string): string;
}

/** Spends of the budget what the entries take. `untoldBefore`: by plugin, in addition. */
export function placeUses(
  uses: readonly PendingUse[],
  untoldBefore: ReadonlyMap<string, number>,
  { table, budget, resourcesMax, nameOf }: Places,
): PlacedUses {
  const rows = new Map<string, { use: PendingUse; checksBefore: number }>();
  const untold = new Map([...untoldBefore].filter(([, count]) => count > 0));
  const rooms = new Map<string, number>();

  /** Whether one more row fits; then it is taken. */
  function takeRoom(plugin: string, outcome: AuditOutcome): boolean {
    const key = `${plugin} ${outcome}`;
    const room = rooms.get(key) ?? resourcesMax - table.rows(plugin, outcome);
    rooms.set(key, Math.max(0, room - 1));
    return room > 0;
  }

  function place(use: PendingUse): void {
    const key = keyOf(use);
    const known = rows.get(key);
    if (known !== undefined) {
      known.use = merge(known.use, use);
      return;
    }
    const { plugin, outcome, resource, rest, count } = use;
    const checksBefore = table.count(use);
    if (checksBefore > 0 || resource === rest || takeRoom(plugin, outcome)) {
      rows.set(key, { use, checksBefore });
    } else if (rest !== undefined) {
      place({ ...use, resource: rest });
    } else {
      untold.set(plugin, (untold.get(plugin) ?? 0) + count);
      budget.count(plugin, count);
    }
  }

  for (const use of uses) place(use);
  const toRow = ({ use, checksBefore }: { use: PendingUse; checksBefore: number }) => ({
    use,
    event: eventOf(use, checksBefore, budget, nameOf(use.plugin)),
  });
  return { rows: [...rows.values()].map(toRow), untold };
}

/** What is committed to is the resource's name, or nothing for all there are. */
function eventOf(
  { plugin: id, outcome, permission, resource, count }: PendingUse,
  checksBefore: number,
  budget: Pick<RefusalBudget, "take" | "count">,
  plugin: string,
): AuditEvent | undefined {
  const who = { actor: "kernel", plugin };
  const commit = { resource: resource ?? "" };
  if (outcome === "granted") {
    if (checksBefore > 0) return undefined;
    return { type: "permission.used", ...who, data: { permission }, commit };
  }
  if (digits(checksBefore + count) === digits(checksBefore)) {
    budget.count(id, count);
    return undefined;
  }
  if (!budget.take(id, count)) return undefined;
  return { type: "permission.refused", ...who, data: { permission, count }, commit };
}

/** In base two: it grows when `count` doubles. None for 0. */
function digits(count: number): number {
  return count === 0 ? 0 : count.toString(2).length;
}

function merge(one: PendingUse, other: PendingUse): PendingUse {
  return {
    ...one,
    count: one.count + other.count,
    firstAtMs: Math.min(one.firstAtMs, other.firstAtMs),
    lastAtMs: Math.max(one.lastAtMs, other.lastAtMs),
  };
}
