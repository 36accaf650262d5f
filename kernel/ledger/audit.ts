/**
 * An audit reads the older records of a long log after it was opened, slowly, and holds them to the tree that the
 * signed checkpoint vouches for. It finds what was changed, and mends tiles that were damaged.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { join } from "node:path";
import { LedgerCorruptError } from "./corrupt_error.ts";
import { namingFirstBad } from "./first_bad_entry.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { fileRecordsMax } from "./log_files.ts";
import { scanLog } from "./recovery.ts";
import { hashBytes, tileHashesMax, tileHeight, type Tiles } from "./tiles.ts";
import { Frontier } from "./tree.ts";

/** More damaged stretches than this: the tiles are better made anew. */
const damagesMax = 1_024;

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
 * it was, or too many tiles are damaged; the reason of `signal` when that is aborted.
 */
export async function audit(options: AuditOptions): Promise<number> {
  const { files, folder, tiles, until, recordsPerSecond, signal } = options;
  const frontier = await tiles.frontier(until);
  if (frontier === undefined || until === 0) return 0;
  const damaged: Stretch[] = [];
  let ofFile: Stretch[] = [];
  const tree = new Frontier((height, rootHash) => {
    if (height % tileHeight !== 0) return;
    const level = height / tileHeight;
    const same = ofFile.find((stretch) => stretch.level === level);
    if (same !== undefined) same.hashes.push(rootHash);
    // The size before: the leaf that completes a subtree is its last one.
    else ofFile.push({ level, position: Math.floor(tree.size / tileHashesMax ** level), hashes: [rootHash] });
  });
  const anchor = { size: until, rootHash: frontier.rootHash() };
  const fileScanned = async () => {
    for (const stretch of ofFile) if (!await isStored(tiles, stretch)) damaged.push(stretch);
    ofFile = [];
    if (damaged.length > damagesMax) throw tooMany(folder);
    await delay(1_000 * fileRecordsMax / recordsPerSecond, undefined, { signal });
  };
  await namingFirstBad(
    { files, folder },
    anchor,
    () => scanLog(files, join(folder, "log"), { anchor, tree, fileScanned }, until),
  );
  for (const { level, position, hashes } of damaged) await tiles.put(level, position, hashes);
  return damaged.length;
}

async function isStored(tiles: Tiles, { level, position, hashes }: Stretch): Promise<boolean> {
  const within = position % tileHashesMax;
  const tile = await tiles.read(level, Math.floor(position / tileHashesMax), within + hashes.length);
  return tile.subarray(within * hashBytes).toHex() === hashes.join("");
}

function tooMany(folder: string): LedgerCorruptError {
  const path = join(folder, "tiles");
  return new LedgerCorruptError(
    `Cannot use tiles "${path}": much of them is damaged; remove the folder, they are made anew at the next start`,
    path,
  );
}
