/**
 * An audit reads the older records of a long log after it was opened, slowly, and holds them to the tree that the
 * signed checkpoint vouches for. It finds what was changed, and mends tiles that were damaged.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { join } from "node:path";
import { namingFirstBad } from "./verify/first_bad_entry.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { fileRecordsMax } from "./log_files.ts";
import { scanLog } from "./recovery.ts";
import { hashBytes, tileHashesMax, tileHeight, type Tiles } from "./tiles.ts";
import { Frontier } from "./tree.ts";

export interface AuditOptions {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
  readonly tiles: Tiles;
  /** Records below this are read: whole files. What the tiles say of their root hash was vouched for. */
  readonly until: number;
  readonly recordsPerSecond: number;
  readonly signal: AbortSignal;
}

/** Neighbouring hashes of one level of tiles. */
interface Stretch {
  readonly level: number;
  readonly position: number;
  readonly hashes: string[];
}

/**
 * Gives how many stretches of tiles were damaged, and mended. Throws LedgerCorruptError when a record is not what
 * it was; the reason of `signal` when that is aborted; what the system says when a file cannot be read.
 */
export async function audit(options: AuditOptions): Promise<number> {
  const { tiles, until } = options;
  const frontier = until === 0 ? undefined : await tiles.frontier(until);
  if (frontier === undefined) return 0;
  const rootHash = frontier.rootHash();
  let damaged = 0;
  await compare(options, rootHash, async (stretch) => {
    if (!await isStored(tiles, stretch)) damaged += 1;
  });
  if (damaged === 0) return 0;
  // The log is proven now: once more, to put its hashes where others stand.
  await compare(options, rootHash, async (stretch) => {
    if (!await isStored(tiles, stretch)) await tiles.put(stretch.level, stretch.position, stretch.hashes);
  });
  return damaged;
}

/** Reads the log, and tells `found` what the tiles of each file should be. */
async function compare(
  { files, folder, until, recordsPerSecond, signal }: AuditOptions,
  rootHash: string,
  found: (stretch: Stretch) => Promise<void>,
): Promise<void> {
  let ofFile: Stretch[] = [];
  const tree = new Frontier((height, hash) => {
    if (height % tileHeight !== 0) return;
    const level = height / tileHeight;
    const same = ofFile.find((stretch) => stretch.level === level);
    if (same !== undefined) same.hashes.push(hash);
    // The size before: the leaf that completes a subtree is its last one.
    else ofFile.push({ level, position: Math.floor(tree.size / tileHashesMax ** level), hashes: [hash] });
  });
  const anchor = { size: until, rootHash };
  const fileScanned = async () => {
    for (const stretch of ofFile) await found(stretch);
    ofFile = [];
    await delay(1_000 * fileRecordsMax / recordsPerSecond, undefined, { signal });
  };
  await namingFirstBad(
    { files, folder },
    anchor,
    () => scanLog(files, join(folder, "log"), { anchor, tree, fileScanned }, until),
  );
}

async function isStored(tiles: Tiles, { level, position, hashes }: Stretch): Promise<boolean> {
  const within = position % tileHashesMax;
  const tile = await tiles.read(level, Math.floor(position / tileHashesMax), within + hashes.length);
  return tile.subarray(within * hashBytes).toHex() === hashes.join("");
}
