/**
 * Pending uses are the permission checks of one plugin that were taken and are not yet written, summed.
 *
 * Invariant: at most `resourcesMax` resources of each outcome are told apart, and beside them the rest of each
 * granted scope. So a plugin that asks for ever new names costs memory up to that, and then nothing.
 *
 * Pure.
 *
 * @module
 */
import type { AuditedPermission, AuditOutcome } from "../../schemas/audit.ts";
import type { AuditKey, AuditUse } from "../store/audit_table.ts";
import type { JudgedCheck } from "./permission_outcome.ts";

export interface PendingUse extends AuditUse {
  /** Its row's name once the plugin's resources are not told apart any more. Undefined where it is refused. */
  readonly rest: string | undefined;
}

type Use = { -readonly [Key in keyof PendingUse]: PendingUse[Key] };

export class PendingUses {
  readonly #uses = new Map<string, Use>();
  readonly #told: Record<AuditOutcome, number> = { granted: 0, refused: 0 };
  /** Refused checks that no entry counts yet, and that have no row. */
  refusals = 0;
  /** Refused checks that have no row. */
  untold = 0;

  constructor(readonly plugin: string, readonly resourcesMax: number) {}

  list(): PendingUse[] {
    return [...this.#uses.values()];
  }

  /** Adds `count` checks at `atMs`. */
  take(
    permission: AuditedPermission,
    judged: JudgedCheck,
    { count, atMs }: { count: number; atMs: number },
  ): void {
    const { outcome, resource } = judged;
    const { plugin } = this;
    this.add({
      plugin,
      permission,
      outcome,
      resource,
      rest: restOf(judged),
      count,
      firstAtMs: atMs,
      lastAtMs: atMs,
    });
  }

  /** The same of what was taken before, and could not be written. */
  add(use: PendingUse): void {
    const known = this.#uses.get(keyOf(use));
    if (known !== undefined) {
      known.count += use.count;
      known.firstAtMs = Math.min(known.firstAtMs, use.firstAtMs);
      known.lastAtMs = Math.max(known.lastAtMs, use.lastAtMs);
      return;
    }
    const { outcome, rest } = use;
    const isRest = rest !== undefined && rest === use.resource;
    if (!isRest && this.#told[outcome] >= this.resourcesMax) {
      if (rest !== undefined) return this.add({ ...use, resource: rest });
      this.refusals += use.count;
      this.untold += use.count;
      return;
    }
    if (!isRest) this.#told[outcome]++;
    this.#uses.set(keyOf(use), { ...use });
  }
}

/** Others within the scope. What is granted by its own name alone has no others, and its row is always told. */
function restOf({ resource, scope }: JudgedCheck): string | undefined {
  if (scope === null) return undefined;
  return scope === resource ? scope : `${scope}/*`;
}

/** One text for one row. */
export function keyOf({ plugin, outcome, permission, resource }: AuditKey): string {
  return `${plugin} ${outcome} ${permission} ${resource === null ? "" : `=${resource}`}`;
}
