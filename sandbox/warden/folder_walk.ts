/**
 * A walk through everything in a folder that a plugin fills, or that an operator granted to one.
 *
 * It never follows a link by intent. A program that was granted to a plugin may put a link where a folder was
 * a moment ago, and so have the walk count somebody else's files: they count against the plugin, and nothing of
 * them leaves the warden.
 *
 * @module
 */
import type { Pace } from "./pace.ts";

/** The folder cannot be walked to its end. What depends on its content must be refused. */
export class WalkError extends Error {
  override name = "WalkError";
}

const depthMax = 64;

export interface WalkedEntry {
  readonly path: string;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
}

/**
 * Everything below `root`, at the given pace, until the caller stops or `signal` is aborted. What vanishes
 * meanwhile is left out. Throws {@linkcode WalkError} at what is too deep or cannot be read.
 */
export async function* walkFolder(
  root: string,
  pace: Pace,
  signal?: AbortSignal,
): AsyncGenerator<WalkedEntry> {
  const folders: { path: string; depth: number }[] = [{ path: root, depth: 0 }];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const { path: parent, depth } = folder;
    try {
      for await (const { name, isDirectory, isSymlink } of Deno.readDir(parent)) {
        const turn = pace.turn();
        if (turn !== undefined) await turn;
        if (signal?.aborted) return;
        const path = `${parent}/${name}`;
        checkName(path, name);
        if (isDirectory) {
          if (depth === depthMax) {
            throw new WalkError(`folders are nested more than ${depthMax} deep, below "${root}"`);
          }
          folders.push({ path, depth: depth + 1 });
        }
        yield { path, isDirectory, isSymlink };
      }
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) continue;
      if (error instanceof WalkError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new WalkError(`"${parent}" cannot be read: ${reason}`, { cause: error });
    }
  }
}

/** Bytes of a name that are not UTF-8 are read as U+FFFD, and then nothing has that name. */
function checkName(path: string, name: string): void {
  if (!name.includes("\ufffd")) return;
  try {
    Deno.lstatSync(path);
  } catch (cause) {
    throw new WalkError(`the name of "${path}" is not UTF-8`, { cause });
  }
}
