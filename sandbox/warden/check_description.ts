/**
 * The check of what the kernel asks for: a kernel that was taken over still gets only cells over its own
 * packages and plugin folders, and no cell reaches Airlock's own files, by any name.
 *
 * The kernel compares paths as texts, because it may not look at the folders of others. The warden can, and
 * refuses a path that is not what it says: one that is a link, or passes through one, could be turned to
 * another target after it was granted.
 *
 * @module
 */
import type { CellDescription } from "../../schemas/warden_protocol.ts";

export interface OwnFolders {
  readonly dataDir: string;
  readonly codeDir: string;
  /** Holds the cells' socket and, in the process tier, their temporary folders. */
  readonly runFolder: string;
}

/** What of a description names a folder or a file. */
export type CheckedDescription = Pick<CellDescription, "packageDir" | "dataDir" | "grants">;

/** Throws `Cannot grant …` or `Cannot start …` when the description must be refused. */
export function checkDescription(description: CheckedDescription, own: OwnFolders): void {
  const { packageDir, dataDir, grants } = description;
  checkOwnFolder(packageDir, `${own.dataDir}/packages`);
  checkOwnFolder(dataDir, `${own.dataDir}/plugins`);
  for (const path of new Set([...grants.read, ...grants.write, ...grants.run, ...grants.ffi])) {
    if (path === packageDir || path === dataDir) continue;
    const real = realPath(path);
    if (real !== path) {
      throw new Error(`Cannot grant "${path}": it leads to "${real}". Grant that, if it is meant`);
    }
    if (isInside(path, packageDir)) continue;
    for (const folder of [own.dataDir, own.codeDir, own.runFolder]) {
      if (path === folder || isInside(path, folder) || isInside(folder, path)) {
        throw new Error(`Cannot grant "${path}": Airlock's own files could be reached`);
      }
    }
  }
  if (
    grants.write.some((path) =>
      path === packageDir || isInside(path, packageDir) || isInside(packageDir, path)
    )
  ) {
    throw new Error(`Cannot grant a write into "${packageDir}": a package does not change`);
  }
}

/** A folder exactly one level below one of ours, and not a link. */
function checkOwnFolder(folder: string, parent: string): void {
  const name = folder.slice(parent.length + 1);
  if (!isInside(folder, parent) || name.includes("/") || realPath(folder) !== folder) {
    throw new Error(`Cannot start a cell over "${folder}": it is not a folder in "${parent}"`);
  }
}

export function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder === "/" ? folder : `${folder}/`);
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (cause) {
    throw new Error(`Cannot grant "${path}": it does not exist, or cannot be read`, { cause });
  }
}
