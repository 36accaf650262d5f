/**
 * The granted files of a sealed cell: that those in its root are the ones that were checked.
 *
 * bubblewrap finds them by their paths, a moment after the check. Whoever may write above one of them, such as
 * another plugin with a program, can put a link in its place meanwhile, and the cell would get what that leads
 * to. Each file is known by its device and inode; a cell does nothing before they are found to be the same.
 *
 * In the process tier Deno itself resolves a path at each use, and no plugin there can make a link or rename over
 * another's grant by anything but Deno: there is nothing to compare.
 *
 * @module
 */
import { closeSync, constants, fstatSync, lstatSync, openSync } from "node:fs";
import type { CellDescription } from "../../schemas/warden_protocol.ts";

/** Path → device and inode. */
export type GrantedFiles = ReadonlyMap<string, string>;

/** `O_PATH` of Linux: to know a file, without a right to its content. */
const pathOnly = 0o10000000;

/**
 * What a cell is granted beside its own two folders; nothing in the process tier. Throws `Cannot grant …` where
 * a path is a link by now.
 */
export function grantedFiles(
  { tier, packageDir, dataDir, grants }: Pick<
    CellDescription,
    "tier" | "packageDir" | "dataDir" | "grants"
  >,
): GrantedFiles {
  const files = new Map<string, string>();
  if (tier !== "sealed") return files;
  for (const path of [...grants.read, ...grants.write, ...grants.run, ...grants.ffi]) {
    // Nobody but Airlock writes beside those.
    if (path !== packageDir && path !== dataDir && !files.has(path)) files.set(path, identify(path));
  }
  return files;
}

/** Of the file that has this very path: not of what a link in it leads to, not even for a moment. */
function identify(path: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, pathOnly | constants.O_NOFOLLOW);
    if (Deno.readLinkSync(`/proc/self/fd/${descriptor}`) !== path) throw new Error("it is another file");
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return `${dev}:${ino}`;
  } catch (cause) {
    throw new Error(`Cannot grant "${path}": it changed while it was looked at`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** The first path that is another file in the root of a process, or cannot be read there. */
export function findExchanged(pid: number, files: GrantedFiles): string | undefined {
  for (const [path, expected] of files) {
    try {
      const { dev, ino } = lstatSync(`/proc/${pid}/root${path}`, { bigint: true });
      if (`${dev}:${ino}` !== expected) return path;
    } catch {
      return path;
    }
  }
  return undefined;
}
