/**
 * A cell's description and a machine, for the tests of the warden's command lines.
 *
 * Only `*_test.ts` files import this.
 *
 * @module
 */
import type { Grants, Isolation } from "../../schemas/capabilities.ts";
import { limitsSchema } from "../../schemas/limits.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import type { HostPrograms } from "./command_line.ts";

export const packageDir = "/data/packages/ab";
export const dataDir = "/data/plugins/echo";

/** With the grants that every plugin has, and more. */
export function describeCell(tier: Isolation, more: Partial<Grants> = {}): CellDescription {
  const none = { net: [], run: [], env: [], sys: [], ffi: [], eval: false };
  return {
    ...{ cell: "1a", token: "f".repeat(64), tier, packageDir, dataDir, limits: limitsSchema.parse({}) },
    grants: { ...none, read: [packageDir, dataDir], write: [dataDir], ...more },
  };
}

export const host = {
  deno: "/opt/deno",
  standalone: false,
  sh: "/bin/sh",
  inherited: [],
  unclosed: [],
  arch: "x86_64",
  setpriv: "/usr/bin/setpriv",
  setsid: "/usr/bin/setsid",
  mkfifo: "/usr/bin/mkfifo",
  sealed: {
    bwrap: "/usr/bin/bwrap",
    deno: "/opt/deno",
    libraries: ["/usr/lib/libc.so.6"],
    rootLinks: { "/bin": "usr/bin", "/lib": "usr/lib" },
    nameService: ["/etc/resolv.conf"],
    programRoots: ["/usr", "/etc/alternatives"],
    hidden: ["/proc/keys"],
  },
} satisfies HostPrograms;
