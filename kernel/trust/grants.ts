/**
 * Grants: what a plugin may do, out of what its manifest requests and its operator allows.
 *
 * Given by default are read of the package, read and write of the plugin's data folder, and public hosts
 * requested with a port. Everything else waits for the operator, who can only choose within the request.
 *
 * Invariants:
 * - a grant is never more than the request, the defaults excepted;
 * - a grant is concrete: no `*`, no host without port, no relative path;
 * - no grant reaches a forbidden folder, the plugin's own two excepted;
 * - nothing an operator wrote is dropped in silence: it is in force or it is a fault.
 *
 * Pure.
 *
 * @module
 */
import type { Capabilities, Grants, OperatorGrants, PermissionName } from "../../schemas/capabilities.ts";
import { permissionNames } from "../../schemas/capabilities.ts";
import type { Manifest } from "../../schemas/manifest.ts";
import { nearestName } from "../../schemas/nearest_name.ts";
import { type Fault, ProblemError } from "../../schemas/problem.ts";
import {
  formatNetScope,
  hasWildcard,
  isPublicHost,
  netScopeCovers,
  parseNetScope,
} from "../../schemas/net_scope.ts";
import { dataToken, isWithin, packageToken, parsePathScope, pathRefusal } from "../../schemas/path_scope.ts";

/** Deno 2.9's sys kinds, those that both its flag and its Worker permissions take. */
export const sysKinds = [
  "cpus",
  "getPriority",
  "gid",
  "homedir",
  "hostname",
  "loadavg",
  "networkInterfaces",
  "osRelease",
  "osUptime",
  "setPriority",
  "statfs",
  "systemMemoryInfo",
  "uid",
  "userInfo",
  "username",
] as const;

/** The most scopes of one kind in force at once. */
const scopesMax = 256;

export interface GrantParameters {
  requested: Capabilities;
  operator: OperatorGrants | undefined;
  /** Absolute path of the package in the store. */
  packageFolder: string;
  /** Absolute path of the plugin's private folder. */
  dataFolder: string;
  /** Absolute real paths that no plugin may reach: the data folder, Airlock's own code. */
  forbidden: readonly string[];
}

/** What the manifest requests. */
export function requestedOf(manifest: Manifest): Capabilities {
  return manifest.capabilities;
}

/**
 * The grants in force: every key named, sorted, without duplicates.
 *
 * Throws what {@linkcode checkOperatorGrants} throws.
 */
export function computeGrants(parameters: GrantParameters): Grants {
  const { requested, operator = {}, packageFolder, dataFolder, forbidden } = parameters;
  checkOperatorGrants(requested, operator, forbidden);
  const chosen = (name: PermissionName): string[] =>
    (operator[name] ?? []).flatMap((text) => {
      const scope = parseScope(name, text);
      return scope.ok ? [scope.text] : [];
    });
  // The operator may repeat what a manifest says of the plugin's two folders; the defaults cover them.
  const folders = (name: "read" | "write") => chosen(name).filter((path) => !isToken(path));
  const publicHosts = requested.net.flatMap((text) => {
    const result = parseNetScope(text);
    const isGiven = result.ok && result.scope.port !== undefined && !hasWildcard(result.scope) &&
      isPublicHost(result.scope.host);
    return isGiven ? [formatNetScope(result.scope)] : [];
  });
  return {
    net: sorted([...publicHosts, ...chosen("net")]),
    read: sorted([packageFolder, dataFolder, ...folders("read")]),
    write: sorted([dataFolder, ...folders("write")]),
    run: sorted(chosen("run")),
    env: sorted(chosen("env")),
    sys: sorted(chosen("sys")),
    ffi: sorted(
      chosen("ffi").map((path) =>
        isWithin(path, packageToken) ? packageFolder + path.slice(packageToken.length) : path
      ),
    ),
    eval: requested.eval && operator.eval === true,
  };
}

/** Throws GRANT_REFUSED with every fault of `operator`, its pointers relative to `operator`. */
export function checkOperatorGrants(
  requested: Capabilities,
  operator: OperatorGrants | undefined,
  forbidden: readonly string[],
): void {
  if (operator === undefined) return;
  const faults: Fault[] = [];
  const refused: string[] = [];
  for (const name of permissionNames) {
    const texts = operator[name] ?? [];
    for (const [index, text] of texts.entries()) {
      const message = refusalOf(name, text, requested[name], forbidden);
      if (message === undefined) continue;
      faults.push({ path: `/${name}/${index}`, message });
      refused.push(`${name} of ${JSON.stringify(text)}`);
    }
    if (texts.length + (name === "net" ? requested.net.length : 2) > scopesMax) {
      faults.push({ path: `/${name}`, message: `must leave at most ${scopesMax} in force` });
      refused.push(name);
    }
  }
  if (operator.eval === true && !requested.eval) {
    faults.push({ path: "/eval", message: "must be requested by the manifest" });
    refused.push("eval");
  }
  if (faults.length === 0) return;
  const more = faults.length > 1 ? `, and ${faults.length - 1} more` : "";
  throw new ProblemError("GRANT_REFUSED", `Cannot grant ${refused[0]}: it ${faults[0].message}${more}`, {
    errors: faults,
  });
}

/** What is wrong with a request itself, pointers relative to the manifest's `capabilities`. */
export function faultsOfRequest(requested: Capabilities): Fault[] {
  return permissionNames.flatMap((name) =>
    requested[name].flatMap((text, index): Fault[] => {
      const scope = parseScope(name, text);
      return scope.ok ? [] : [{ path: `/${name}/${index}`, message: scope.message }];
    })
  );
}

/** Whether the grants exist only in the sealed tier. */
export function grantsNeedSealed(grants: Pick<Grants, "run" | "ffi">): boolean {
  return grants.run.length > 0 || grants.ffi.length > 0;
}

type Scope = { ok: true; text: string } | { ok: false; message: string };

/** Parses one item of a request or a grant into its one spelling. */
function parseScope(name: PermissionName, text: string): Scope {
  if (text === "*") return { ok: true, text };
  switch (name) {
    case "net": {
      const result = parseNetScope(text);
      return result.ok ? { ok: true, text: formatNetScope(result.scope) } : result;
    }
    case "read":
      return parsePath(text);
    case "write":
      return parsePath(text, packageToken);
    case "ffi":
      // A library in a folder that the plugin can write would be one it made itself.
      return parsePath(text, dataToken);
    case "run":
      if (/^[A-Za-z0-9_][A-Za-z0-9._+-]*$/.test(text)) return { ok: true, text };
      return text.startsWith("/")
        ? parsePath(text)
        : { ok: false, message: "must be a program's name or absolute path" };
    case "env":
      if (/^[A-Za-z_][A-Za-z0-9_]*\*?$/.test(text)) return { ok: true, text };
      return { ok: false, message: "must be the name of an environment variable" };
    case "sys":
      return parseSysKind(text);
  }
}

function parsePath(text: string, refusedToken?: string): Scope {
  const result = parsePathScope(text);
  if (!result.ok) return result;
  if (refusedToken !== undefined && isWithin(result.path, refusedToken)) {
    return { ok: false, message: `must not lie in ${refusedToken}` };
  }
  return { ok: true, text: result.path };
}

function parseSysKind(text: string): Scope {
  if (sysKinds.some((kind) => kind === text)) return { ok: true, text };
  const nearest = nearestName(text, sysKinds);
  const guess = nearest === undefined ? "" : `: did you mean "${nearest}"?`;
  return { ok: false, message: `must be one of ${sysKinds.join(", ")}${guess}` };
}

/** Why the operator's `text` is refused; undefined if it is granted. */
function refusalOf(
  name: PermissionName,
  text: string,
  requests: readonly string[],
  forbidden: readonly string[],
): string | undefined {
  const scope = parseScope(name, text);
  if (!scope.ok) return scope.message;
  if (scope.text.includes("*")) return "must name exactly one, without *";
  const refusal = refusalOfScope(name, scope.text, forbidden);
  if (refusal !== undefined) return refusal;
  const isRequested = requests.some((request) => {
    const parsed = parseScope(name, request);
    return parsed.ok && covers(name, parsed.text, scope.text);
  });
  return isRequested ? undefined : "must be requested by the manifest";
}

/** The rules for grants that hold whatever was requested. */
function refusalOfScope(
  name: PermissionName,
  text: string,
  forbidden: readonly string[],
): string | undefined {
  switch (name) {
    case "net": {
      const result = parseNetScope(text);
      return result.ok && result.scope.port === undefined ? "must have a port" : undefined;
    }
    case "read":
    case "write":
      return isToken(text) ? undefined : pathRefusal(text, forbidden);
    case "ffi":
      if (text === packageToken) return "must name a file";
      return isToken(text) ? undefined : pathRefusal(text, forbidden);
    case "run":
      return text.startsWith("/") ? pathRefusal(text, forbidden) : "must be an absolute path";
    case "env":
      // These steer the cell's own process: its loader, its runtime, its parent.
      return /^(?:LD|DENO|AIRLOCK)_/.test(text) ? "must not begin with LD_, DENO_ or AIRLOCK_" : undefined;
    case "sys":
      return undefined;
  }
}

/** Whether a parsed request covers a parsed grant. */
function covers(name: PermissionName, request: string, grant: string): boolean {
  if (request === "*") return !isToken(grant);
  switch (name) {
    case "net": {
      const [requested, granted] = [parseNetScope(request), parseNetScope(grant)];
      return requested.ok && granted.ok && netScopeCovers(requested.scope, granted.scope);
    }
    case "read":
    case "write":
      return isWithin(grant, request);
    case "run":
      return request === grant || (!request.startsWith("/") && grant.endsWith(`/${request}`));
    case "env":
      return request.endsWith("*") ? grant.startsWith(request.slice(0, -1)) : request === grant;
    case "sys":
    case "ffi":
      return request === grant;
  }
}

function isToken(path: string): boolean {
  return isWithin(path, packageToken) || isWithin(path, dataToken);
}

function sorted(texts: string[]): string[] {
  return [...new Set(texts)].sort();
}
