/**
 * Permissions: a plugin's grants, as flags of its cell's process and as those of its Worker.
 *
 * Every key is named in both, because a key that is left out of a Worker reads as "prompt". The process
 * gets the grants plus the four files that the cell itself needs; the Worker gets the grants alone.
 *
 * A public name may resolve to a private address, and Deno compares a grant with the name alone. So private
 * addresses are denied to the process, which Deno checks again when it connects, for its Worker too. What is
 * left open: Deno denies IPv6 addresses one by one, so no range of them (`fc00::/7`, `fe80::/10`) can be
 * denied; an IPv4 address written as IPv6 falls under the range of the former. A compiled binary takes no
 * flags. Pure.
 *
 * @module
 */
import { type Grants, type PermissionName, permissionNames } from "../schemas/capabilities.ts";
import type { CellBoot } from "../schemas/cell_protocol.ts";
import { isPublicHost } from "../schemas/public_host.ts";

/** What the cell needs beside the grants: its own program, and its socket. */
export interface CellNeeds {
  readonly readable: readonly string[];
  readonly socket: string;
}

/** Addresses inside a machine or a network: RFC 1122, 1918, 3927, 6598 and 4291. */
const privateRanges = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "[::]",
  "[::1]",
];

/** Flags of `deno run` for the process. */
export function processFlags(grants: Grants, needs: CellNeeds): string[] {
  const process: Record<PermissionName, readonly string[]> = {
    ...grants,
    read: [...grants.read, ...needs.readable, needs.socket],
    write: [...grants.write, needs.socket],
    net: [...grants.net, `unix:${needs.socket}`],
  };
  const allowed = permissionNames.flatMap((name) => {
    const scopes = process[name];
    const comma = scopes.find((scope) => scope.includes(","));
    if (comma !== undefined) {
      throw new Error(`Cannot grant ${name} of "${comma}": Deno's flags cannot name a scope with a comma`);
    }
    return scopes.length === 0 ? [] : [`--allow-${name}=${scopes.join(",")}`];
  });
  const denied = deniedRanges(grants.net);
  return denied.length === 0 ? allowed : [...allowed, `--deny-net=${denied.join(",")}`];
}

/**
 * The private ranges in which no granted host is. An address is in one at most; a name that is not public
 * was granted by the operator for what it resolves to, whatever that is. Without a host nothing is reached.
 */
function deniedRanges(net: Grants["net"]): string[] {
  if (net.length === 0) return [];
  const hosts = net.map((scope) => scope.replace(/:[0-9]+$/, ""));
  return privateRanges.filter((range) => !hosts.some((host) => mayBeIn(range, host)));
}

function mayBeIn(range: string, host: string): boolean {
  const address = ipv4Bits(host) ?? mappedIpv4Bits(host);
  if (address === undefined) return host.startsWith("[") ? host === range : !isPublicHost(host);
  const [start = "", bits] = range.split("/");
  const first = ipv4Bits(start);
  return first !== undefined && address >>> (32 - Number(bits)) === first >>> (32 - Number(bits));
}

/** Deno checks `[::ffff:7f00:1]` as 127.0.0.1. */
function mappedIpv4Bits(host: string): number | undefined {
  const match = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(host);
  return match === null ? undefined : (parseInt(match[1], 16) << 16 | parseInt(match[2], 16)) >>> 0;
}

function ipv4Bits(text: string): number | undefined {
  if (!/^[0-9]+(?:\.[0-9]+){3}$/.test(text)) return undefined;
  return text.split(".").reduce((bits, part) => (bits << 8 | Number(part)) >>> 0, 0);
}

/** Permissions of the Worker: every key, and nothing but the grants. */
export function workerPermissions(grants: Grants): CellBoot["permissions"] {
  const listed = (name: PermissionName) => grants[name].length === 0 ? false as const : grants[name];
  return {
    env: listed("env"),
    ffi: listed("ffi"),
    import: false,
    net: listed("net"),
    read: listed("read"),
    run: listed("run"),
    sys: listed("sys"),
    write: listed("write"),
  };
}
