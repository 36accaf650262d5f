/**
 * Trimmed grants are the smallest that an operator would have to give for what a plugin really used.
 *
 * Only scopes that the operator granted are looked at: what a package is given by default stays. A scope without a
 * used resource is dropped, one of folders is narrowed. `run` and `eval` stay, since the audit knows nothing of
 * them.
 *
 * Invariants: what was used and is granted now stays covered, and nothing is granted that is not now.
 *
 * What a path cannot say here: whether it is there, which it must be to be granted by its own name, and whether
 * it is a link. So the proposal is one.
 *
 * Pure.
 *
 * @module
 */
import { formatNetScope, parseNetScope } from "../schemas/net_scope.ts";
import { dataToken, isWithin, packageToken, parsePathScope } from "../schemas/path_scope.ts";
import { type AuditItem, resourceCharsMax } from "../schemas/audit.ts";
import {
  type Grants,
  type OperatorGrants,
  type PermissionName,
  permissionNames,
} from "../schemas/capabilities.ts";

export interface GrantChange {
  readonly permission: PermissionName | "eval";
  /** As the operator wrote it; "" for `eval`. */
  readonly scope: string;
  /** What is proposed in its place: itself, narrower ones, or none. */
  readonly to: readonly string[];
  readonly note: string;
}

export interface TrimmedGrants {
  readonly grants: OperatorGrants;
  /** One for each scope of the operator's. */
  readonly changes: readonly GrantChange[];
}

/** A used resource in the spelling of grants. */
interface Use {
  readonly name: string;
  /** It stands for others in it, so no narrower one covers it. */
  readonly isFolder: boolean;
}

/** How far paths are narrowed: to themselves, to the folder that holds them, or not at all. */
type Depth = "paths" | "folder" | "scope";

interface Kind {
  readonly spell: (scope: string) => string;
  readonly covers: (scope: string, name: string) => boolean;
  /** What covers `uses`, all of which `scope` covers; none lies outside it. */
  readonly narrow: (scope: string, uses: readonly Use[], depth: Depth) => string[];
  /** Given whatever the operator grants. */
  readonly given: readonly string[];
}

/** More paths than these are granted by their folder. */
const pathsMax = 16;
/** At most 256 scopes of a kind are in force, and those given by default are among them. */
const scopesMax = 250;
/** Some less than what fits into one record of the ledger: grants stand in one. */
const grantsCharsMax = 9_500;

const keep: Kind["narrow"] = (scope) => [scope];
const path = {
  spell: (scope: string) => {
    const result = parsePathScope(scope);
    return result.ok ? result.path : scope;
  },
  covers: (scope: string, name: string) => isWithin(name, scope),
};
const exact: Kind = {
  spell: (name) => name,
  covers: (scope, name) => scope === name,
  narrow: keep,
  given: [],
};

const kinds: Record<Exclude<PermissionName, "run">, Kind> = {
  net: {
    ...exact,
    spell: (scope) => {
      const result = parseNetScope(scope);
      return result.ok ? formatNetScope(result.scope) : scope;
    },
  },
  read: { ...path, narrow: narrowToPaths, given: [packageToken, dataToken] },
  // A file that is not there yet cannot be granted, and one that is written may be replaced.
  write: { ...path, narrow: narrowToFolder, given: [dataToken] },
  ffi: { ...path, narrow: narrowToPaths, given: [] },
  env: exact,
  // To Deno these two are one.
  sys: { ...exact, spell: (kind) => kind === "userInfo" ? "username" : kind },
};

const notes = {
  run: "Deno tells nothing of the programs that are run",
  eval: "Deno tells nothing of code from strings",
  unused: "not used",
  given: "given by default",
  narrowed: "what was used lies there",
  kept: "used",
} as const;

/** `granted`: what is in force, beside which the proposal must fit. */
export function trimGrants(
  operator: OperatorGrants,
  items: readonly AuditItem[],
  granted: Grants,
): TrimmedGrants {
  const others = JSON.stringify(granted).length - JSON.stringify(operator).length;
  const fits = ({ grants }: TrimmedGrants) =>
    permissionNames.every((name) => (grants[name]?.length ?? 0) <= scopesMax) &&
    others + JSON.stringify(grants).length <= grantsCharsMax;
  // Whole scopes fit: no more of them are kept than are in force.
  const [paths, folders, scopes] = [
    trimTo("paths", operator, items),
    trimTo("folder", operator, items),
    trimTo("scope", operator, items),
  ];
  return [paths, folders].find(fits) ?? scopes;
}

function trimTo(depth: Depth, operator: OperatorGrants, items: readonly AuditItem[]): TrimmedGrants {
  const changes = permissionNames.flatMap((permission) => {
    const scopes = operator[permission] ?? [];
    if (permission === "run") {
      return scopes.map((scope): GrantChange => ({ permission, scope, to: [scope], note: notes.run }));
    }
    return trimKind(permission, scopes, items, depth);
  });
  const lists = permissionNames.flatMap((permission) => {
    const of = changes.filter((change) => change.permission === permission).flatMap(({ to }) => to);
    return of.length === 0 ? [] : [[permission, [...new Set(of)].sort()] as const];
  });
  const evaluates = operator.eval === true
    ? [{ permission: "eval", scope: "", to: [""], note: notes.eval } as const]
    : [];
  return {
    grants: { ...Object.fromEntries(lists), ...(operator.eval === true ? { eval: true } : {}) },
    changes: [...changes, ...evaluates],
  };
}

function trimKind(
  permission: Exclude<PermissionName, "run">,
  scopes: readonly string[],
  items: readonly AuditItem[],
  depth: Depth,
): GrantChange[] {
  const { spell, covers, narrow, given } = kinds[permission];
  const uses = items.flatMap((item) => item.permission === permission ? usesOf(item) : []);
  const spelt = [...new Set(scopes.map(spell))].sort((a, b) => b.length - a.length);
  const usesBy = new Map<string, Use[]>(spelt.map((scope) => [scope, []]));
  const isGiven = (name: string) => given.some((scope) => covers(scope, name));
  for (const use of uses) {
    if (isGiven(use.name)) continue;
    // Of scopes that lie in each other the narrowest is enough. A folder may be wider than a scope of today.
    const covering = spelt.find((scope) => covers(scope, use.name));
    if (covering !== undefined) usesBy.get(covering)?.push(use);
    else if (use.isFolder) {
      for (const scope of spelt) {
        if (isWithin(scope, use.name)) usesBy.get(scope)?.push({ name: scope, isFolder: true });
      }
    }
  }
  return scopes.map((scope): GrantChange => {
    const used = usesBy.get(spell(scope)) ?? [];
    if (isGiven(spell(scope))) return { permission, scope, to: [], note: notes.given };
    if (used.length === 0) return { permission, scope, to: [], note: notes.unused };
    const to = depth === "scope" ? [spell(scope)] : narrow(spell(scope), used, depth);
    const isKept = to.length === 1 && to[0] === spell(scope);
    return { permission, scope, to: isKept ? [scope] : to, note: isKept ? notes.kept : notes.narrowed };
  });
}

/** None where it was refused. A name that was cut stands for what lies in its folder. */
function usesOf({ outcome, resource }: AuditItem): Use[] {
  if (outcome === "refused" || resource === null) return [];
  if (resource.endsWith("/*")) return [{ name: resource.slice(0, -2) || "/", isFolder: true }];
  const isCut = resource.length >= resourceCharsMax && resource.endsWith("…");
  return [isCut ? { name: folderOf(resource), isFolder: true } : { name: resource, isFolder: false }];
}

function narrowToPaths(scope: string, uses: readonly Use[], depth: Depth): string[] {
  const names = [...new Set(uses.map(({ name }) => grantable(scope, name)))].sort();
  const outer = names.filter((name) => !names.some((other) => other !== name && isWithin(name, other)));
  return depth === "paths" && outer.length <= pathsMax ? outer : [commonFolder(scope, outer)];
}

function narrowToFolder(scope: string, uses: readonly Use[]): string[] {
  const folders = uses.map(({ name, isFolder }) => isFolder || name === scope ? name : folderOf(name));
  return [commonFolder(scope, folders)];
}

/** The deepest folder that holds all of `names`, which lie in `scope`; `scope` where none in it does. */
function commonFolder(scope: string, names: readonly string[]): string {
  const [first = scope, ...others] = names;
  let folder = first;
  while (folder !== scope && !others.every((name) => isWithin(name, folder))) folder = folderOf(folder);
  return grantable(scope, folder);
}

/** `name`, or the folder above it that a grant can name; at the most `scope`. */
function grantable(scope: string, name: string): string {
  let path = name;
  while (path !== scope) {
    const parsed = parsePathScope(path);
    if (parsed.ok && parsed.path === path && path.length <= resourceCharsMax) break;
    path = folderOf(path);
  }
  return path;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}
