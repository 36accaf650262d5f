/**
 * Pending uses are the permission checks of one plugin that were taken and are not yet written, summed.
 *
 * Invariant: at most `resourcesMax` resources of each outcome are told apart, and beside them the rest of each
 * granted scope. So a plugin that asks for ever new names costs memory up to that, and then nothing. What each
 * version of it asked for stands for itself, within the same bound.
 *
 * @module
 */
import type { AuditedPermission, AuditOutcome } from "../../schemas/audit.ts";
import type { AuditKey, AuditUse } from "../store/audit_table.ts";
import type { JudgedCheck } from "./permission_outcome.ts";

export interface PendingUse extends AuditUse {
  /** `id@version` of the cell that asked. */
  readonly name: string;
  /** Its row's name once the plugin's resources are not told apart any more. Undefined where it is refused. */
  readonly rest: string | undefined;
  /** Of its checks, those that need no entry any more: their row alone could not be written. */
  readonly told: number;
}

export interface PendingUsesDeps {
  readonly resourcesMax: number;
  /** Takes refused checks of `name` that get no entry of their own. */
  countRefusals(name: string, count: number): void;
}

export class PendingUses {
  readonly #uses = new Map<string, PendingUse>();
  readonly #apart: Record<AuditOutcome, number> = { granted: 0, refused: 0 };
  /** Refused checks that have no row. */
  untold = 0;

  constructor(readonly plugin: string, private readonly deps: PendingUsesDeps) {}

  list(): PendingUse[] {
    return [...this.#uses.values()];
  }

  /** Adds `count` checks at `atMs`, of the version `name`. */
  take(
    permission: AuditedPermission,
    judged: JudgedCheck,
    { name, count, atMs }: { name: string; count: number; atMs: number },
  ): void {
    const { outcome, resource } = judged;
    const { plugin } = this;
    this.add({
      plugin,
      name,
      permission,
      outcome,
      resource,
      rest: restOf(judged),
      count,
      told: 0,
      firstAtMs: atMs,
      lastAtMs: atMs,
    });
  }

  /** The same of what was taken before, and could not be written. */
  add(use: PendingUse): void {
    const key = useKeyOf(use);
    const known = this.#uses.get(key);
    if (known !== undefined) {
      this.#uses.set(key, mergeUses(known, use));
      return;
    }
    const { name, outcome, rest, count, told } = use;
    const isRest = rest !== undefined && rest === use.resource;
    if (!isRest && this.#apart[outcome] >= this.deps.resourcesMax) {
      if (rest !== undefined) return this.add(restOfUse(use, rest));
      if (count > told) this.deps.countRefusals(name, count - told);
      this.untold += count;
      return;
    }
    if (!isRest) this.#apart[outcome]++;
    this.#uses.set(key, use);
  }
}

/** Others within the scope. What is granted by its own name alone has no others, and its row is always told. */
function restOf({ resource, scope }: JudgedCheck): string | undefined {
  if (scope === null) return undefined;
  return scope === resource ? scope : `${scope}/*`;
}

/** The same as a use of the others in its scope, of whose row an entry of its own tells. */
export function restOfUse(use: PendingUse, rest: string): PendingUse {
  return { ...use, resource: rest, told: 0 };
}

/** Two uses of one row by one version. */
export function mergeUses(one: PendingUse, other: PendingUse): PendingUse {
  return {
    ...one,
    count: one.count + other.count,
    told: one.told + other.told,
    firstAtMs: Math.min(one.firstAtMs, other.firstAtMs),
    lastAtMs: Math.max(one.lastAtMs, other.lastAtMs),
  };
}

/** One text for one row and one version. */
export function useKeyOf(use: PendingUse): string {
  return `${use.name} ${keyOf(use)}`;
}

/** One text for one row. */
export function keyOf({ plugin, outcome, permission, resource }: AuditKey): string {
  return `${plugin} ${outcome} ${permission} ${resource === null ? "" : `=${resource}`}`;
}
