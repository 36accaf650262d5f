/**
 * A net scope: the hosts and ports that one `net` capability or grant covers.
 *
 * The grammar is stricter than Deno's own, which takes `0x7f.1:80`, CIDR blocks, `unix:` and `vsock:`
 * sockets: each host has one spelling here, so that comparing texts compares hosts.
 *
 * Pure.
 *
 * @module
 */
import { isNumericHost, isPublicHost } from "./public_host.ts";

export { isPublicHost };

export interface NetScope {
  /** A lower-case name, an IP literal, `*`, or `*.` and a name. */
  host: string;
  /** Undefined: any port. */
  port: number | undefined;
}

export type NetScopeResult = { ok: true; scope: NetScope } | { ok: false; message: string };

/** Parses `host`, `host:port` or `*`; the host may be `*`, `*.name`, a name, IPv4 or `[IPv6]`. */
export function parseNetScope(text: string): NetScopeResult {
  if (text === "*") return { ok: true, scope: { host: "*", port: undefined } };
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return fault("must be a host and a port such as api.example.com:443");
  const [, hostText, portText] = match;
  if (portText !== undefined && !/^[1-9]/.test(portText) || Number(portText) > 65_535) {
    return fault("must have a port from 1 to 65535");
  }
  const host = parseHost(hostText.toLowerCase());
  if (!host.ok) return host;
  return {
    ok: true,
    scope: { host: host.name, port: portText === undefined ? undefined : Number(portText) },
  };
}

/** The one spelling of a scope, as Deno's `--allow-net` takes it. */
export function formatNetScope({ host, port }: NetScope): string {
  return port === undefined ? host : `${host}:${port}`;
}

/** Whether `requested` covers `granted`, which has no wildcard. */
export function netScopeCovers(requested: NetScope, granted: NetScope): boolean {
  if (requested.port !== undefined && requested.port !== granted.port) return false;
  if (requested.host === "*") return true;
  if (!requested.host.startsWith("*.")) return requested.host === granted.host;
  return granted.host.endsWith(requested.host.slice(1)) && !granted.host.startsWith(".");
}

export function hasWildcard({ host }: NetScope): boolean {
  return host.startsWith("*");
}

function parseHost(host: string): { ok: true; name: string } | { ok: false; message: string } {
  if (host === "*") return { ok: true, name: host };
  if (host.startsWith("[")) return parseIpv6(host);
  const name = host.startsWith("*.") ? host.slice(2) : host;
  const isName = name.length <= 253 &&
    name.split(".").every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  if (!isName) {
    return fault("must have a host of a-z, 0-9, hyphens and dots (international names in their xn-- form)");
  }
  if (isNumericHost(name) && (name !== host || !isIpv4(name))) {
    return fault("must have an IP address in its usual form, such as 192.0.2.1");
  }
  // Deno takes `unix:` and `vsock:` as kinds of sockets, not as hosts.
  if (name === "unix" || name === "vsock") return fault("must be a host and a port, not a socket");
  return { ok: true, name: host };
}

function isIpv4(name: string): boolean {
  const parts = name.split(".");
  return parts.length === 4 &&
    parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
}

function parseIpv6(host: string): { ok: true; name: string } | { ok: false; message: string } {
  const url = /^\[[0-9a-f:.]+\]$/.test(host) ? URL.parse(`http://${host}/`) : null;
  if (url === null) return fault("must have an IPv6 address such as [2001:db8::1]");
  return { ok: true, name: url.hostname };
}

function fault(message: string): { ok: false; message: string } {
  return { ok: false, message };
}
