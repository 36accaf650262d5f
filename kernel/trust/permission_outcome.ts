/**
 * The outcome of a permission check: what Deno said, as it follows from the grants that the cell had.
 *
 * Deno tells which resource a plugin's code asked for, and not what came of it. Grants are concrete (canonical
 * absolute paths, `host:port` without a wildcard, exact names), so its answer can be worked out: a path is
 * granted in a granted one and below it, anything else if it is granted itself. A property test holds this to
 * Deno's own engine (docs/adr/0019). Paths are compared as texts, as Deno does. What Deno refuses later, and tells nothing of, is
 * not seen: a granted name that resolves to a private address.
 *
 * Pure.
 *
 * @module
 */
import { normalize } from "node:path/posix";
import {
  type AuditedPermission,
  auditedPermissions,
  type AuditOutcome,
  type PermissionCheck,
} from "../../schemas/audit.ts";
import type { Grants } from "../../schemas/capabilities.ts";
import { dataToken, isWithin, packageToken } from "../../schemas/path_scope.ts";

/** What a cell was started with. */
export interface CellTerms {
  readonly grants: Grants;
  /** Absolute paths. */
  readonly packageFolder: string;
  readonly dataFolder: string;
}

export interface JudgedCheck {
  /** In its one spelling, `${package}` and `${data}` in place of the two folders. Null: all there are. */
  readonly resource: string | null;
  readonly outcome: AuditOutcome;
  /** The narrowest scope that covers it, in the same spelling. Null where it is refused. */
  readonly scope: string | null;
}

interface Kind {
  /** As grants spell it. */
  spell(resource: string): string;
  /** `scopes` as they are spelt, the longest first. Gives the first that covers a resource. */
  match(scopes: readonly string[]): (resource: string) => string | undefined;
}

const exact: Kind = {
  spell: (name) => name,
  match: (scopes) => {
    const names = new Set(scopes);
    return (name) => names.has(name) ? name : undefined;
  },
};
const path: Kind = {
  spell: spellPath,
  match: (scopes) => (name) => scopes.find((scope) => isWithin(name, scope)),
};
const host: Kind = { ...exact, spell: spellHost };
/** To Deno these two are one. */
const sys: Kind = { ...exact, spell: (kind) => kind === "userInfo" ? "username" : kind };

const kinds: Record<AuditedPermission, Kind> = {
  ...{ net: host, read: path, write: path, run: path, env: exact, sys, ffi: path, import: host },
};

/** Schemes that Deno connects for, and the ports that they stand for. */
const defaultPorts: Record<string, string> = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443" };

export type Judge = (check: Pick<PermissionCheck, "permission" | "resource">) => JudgedCheck;

/** Made once for a cell: a plugin may have 256 scopes of a kind, and ask thousands of times in a second. */
export function createJudge(terms: CellTerms): Judge {
  const matching = (permission: AuditedPermission) => {
    const { spell, match } = kinds[permission];
    // Nothing may be imported from outside.
    const scopes = permission === "import" ? [] : terms.grants[permission].map(spell);
    return match(scopes.sort((a, b) => b.length - a.length));
  };
  const matchers = new Map(auditedPermissions.map((permission) => [permission, matching(permission)]));
  return ({ permission, resource }) => {
    // No grant is unscoped.
    if (resource === null) return { resource, outcome: "refused", scope: null };
    const { spell } = kinds[permission];
    const name = spell(resource);
    const scope = matchers.get(permission)?.(name);
    const shown = (text: string) => kinds[permission] === path ? withTokens(text, terms) : text;
    if (scope === undefined) return { resource: shown(name), outcome: "refused", scope: null };
    return { resource: shown(name), outcome: "granted", scope: shown(scope) };
  };
}

/** A path that is not absolute is the plugin's own word, and in no scope: Deno's `<TMP>`, a library's name. */
function spellPath(text: string): string {
  if (!text.startsWith("/")) return text;
  const plain = normalize(text.replace(/^\/+/, "/"));
  return plain.length > 1 && plain.endsWith("/") ? plain.slice(0, -1) : plain;
}

function withTokens(text: string, { packageFolder, dataFolder }: CellTerms): string {
  const own = [[packageFolder, packageToken], [dataFolder, dataToken]] as const;
  const found = own.find(([folder]) => isWithin(text, folder));
  return found === undefined ? text : found[1] + text.slice(found[0].length);
}

/** `host:port` in lower case, of that or of an address such as `https://host/path`. Sockets stay as they are. */
function spellHost(text: string): string {
  if (/^(?:unix|vsock):/.test(text)) return text;
  const url = /^[a-z]+:\/\//.test(text) ? URL.parse(text) : null;
  if (url !== null) return spellAddress(url.hostname, url.port || (defaultPorts[url.protocol] ?? ""));
  const match = /^(\[[^\]]*\]|[^:]*):([0-9]+)$/.exec(text);
  return match === null ? text : spellAddress(match[1] ?? "", match[2] ?? "");
}

/** Deno takes a name with a dot at its end for the one without, and an IPv4 address in IPv6 for itself. */
function spellAddress(hostname: string, port: string): string {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  const literal = name.startsWith("[") ? URL.parse(`http://${name}/`)?.hostname ?? name : name;
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(literal);
  if (mapped === null) return `${literal}:${port}`;
  const bits = [mapped[1], mapped[2]].map((part) => parseInt(part ?? "", 16));
  return `${bits.flatMap((pair) => [pair >> 8, pair & 0xff]).join(".")}:${port}`;
}
