/**
 * What a folder takes: blocks on the disk, and entries.
 *
 * Blocks and not lengths, because a sparse file takes little and a small one takes a block. A file with
 * several names counts once. Files that a process holds open or mapped without a name take room, too.
 *
 * @module
 */
import { type WalkedEntry, WalkError, walkFolder } from "./folder_walk.ts";
import type { Pace } from "./pace.ts";
import { addUnnamedFilesOf, mappedFileBytes, unnamedMappingsOf } from "./proc.ts";

const blockBytes = 512;

export interface FolderMeasure {
  readonly bytes: number;
  readonly files: number;
  /** Why it could not be counted to its end. */
  readonly fault: string | undefined;
}

export interface FolderBounds {
  readonly bytesMax: number;
  readonly filesMax: number;
  /** Processes that may hold files of the folder open. */
  readonly processes: readonly number[];
  /** Those of them that may map a file into memory: Deno's own does not. */
  readonly mapping?: readonly number[];
  readonly pace: Pace;
  readonly signal: AbortSignal;
}

/** Counts up to the point where a bound is crossed. Never rejects. */
export async function measureFolder(folder: string, bounds: FolderBounds): Promise<FolderMeasure> {
  const { bytesMax, filesMax, pace, processes, signal } = bounds;
  const linked = new Set<string>();
  let bytes = 0;
  let files = 0;
  try {
    const device = Deno.lstatSync(folder).dev;
    const unnamed = new Map<string, number>();
    for (const pid of processes) addUnnamedFilesOf(pid, unnamed, device);
    await addUnnamedMappings(folder, bounds, unnamed, device);
    for (const size of unnamed.values()) bytes += size;
    for await (const entry of walkFolder(folder, pace, signal)) {
      files++;
      bytes += bytesOf(entry, linked);
      if (files > filesMax || bytes > bytesMax) break;
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { bytes, files, fault: undefined };
    return { bytes, files, fault: error instanceof Error ? error.message : String(error) };
  }
  return { bytes, files, fault: undefined };
}

/** Root knows how large such a file is. For others it is as large as what is mapped of it. */
async function addUnnamedMappings(
  folder: string,
  { mapping = [], pace, signal }: FolderBounds,
  files: Map<string, number>,
  device: number,
): Promise<void> {
  const mapped = new Set<string>();
  for (const pid of mapping) {
    for (const file of await unnamedMappingsOf(pid, folder)) {
      const turn = pace.turn();
      if (turn !== undefined) await turn;
      if (signal.aborted) return;
      const key = `${device}:${file.inode}`;
      const known = files.get(key);
      // One that is open, too, was counted exactly.
      if (known !== undefined && !mapped.has(key)) continue;
      const exact = mapped.has(key) ? undefined : mappedFileBytes(pid, file);
      if (exact === undefined) mapped.add(key);
      files.set(key, exact ?? Math.max(known ?? 0, file.endBytes));
    }
  }
}

/** Throws {@linkcode WalkError}. */
function bytesOf({ path }: WalkedEntry, linked: Set<string>): number {
  try {
    const info = Deno.lstatSync(path);
    if ((info.nlink ?? 1) > 1 && info.isFile) {
      const key = `${info.dev}:${info.ino}`;
      if (linked.has(key)) return 0;
      linked.add(key);
    }
    return (info.blocks ?? Math.ceil(info.size / blockBytes)) * blockBytes;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return 0;
    throw new WalkError(`"${path}" cannot be read`, { cause: error });
  }
}
