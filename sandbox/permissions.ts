/**
 * Permissions: a plugin's grants, as flags of its cell's process and as those of its Worker.
 *
 * Every key is named in both, because a key that is left out of a Worker reads as "prompt". The process
 * gets the grants plus the four files that the cell itself needs; the Worker gets the grants alone. Pure.
 *
 * @module
 */
import { type Grants, type PermissionName, permissionNames } from "../schemas/capabilities.ts";
import type { CellBoot } from "../schemas/cell_protocol.ts";

/** What the cell needs beside the grants: its own program, and its socket. */
export interface CellNeeds {
  readonly readable: readonly string[];
  readonly socket: string;
}

/** Flags of `deno run` for the process. */
export function processFlags(grants: Grants, needs: CellNeeds): string[] {
  const process: Record<PermissionName, readonly string[]> = {
    ...grants,
    read: [...grants.read, ...needs.readable, needs.socket],
    write: [...grants.write, needs.socket],
    net: [...grants.net, `unix:${needs.socket}`],
  };
  return permissionNames.flatMap((name) => {
    const scopes = process[name];
    const comma = scopes.find((scope) => scope.includes(","));
    if (comma !== undefined) {
      throw new Error(`Cannot grant ${name} of "${comma}": Deno's flags cannot name a scope with a comma`);
    }
    return scopes.length === 0 ? [] : [`--allow-${name}=${scopes.join(",")}`];
  });
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
