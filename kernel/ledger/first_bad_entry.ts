/**
 * The first bad entry of a log, or of a part of one, that is known not to be what was signed.
 *
 * Tiles, if their leaf hashes give the signed root, prove what each entry was: then the answer is exact. Without
 * them the chain says where a link is broken, and the link after it which of the two entries was changed: one that
 * its successor vouches for was not.
 *
 * @module
 */
import { join } from "node:path";
import type { Checkpoint } from "./checkpoint.ts";
import { LedgerCorruptError } from "./corrupt_error.ts";
import { type LedgerFiles, readFile } from "./ledger_files.ts";
import { fileBytesMax, fileRecordsMax, firstIndexOfFile, logFileName, splitLines } from "./log_files.ts";
import { parseRecord, RecordError } from "./record.ts";
import { hashBytes, tileHashesMax } from "./tiles.ts";
import { Frontier, hashLeaf } from "./tree.ts";

type Signed = Pick<Checkpoint, "size" | "rootHash">;

export interface LogFolder {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
}

/**
 * Below the size of `signed`. "none": every entry is the one that gives the root hash of `signed`. Undefined: the
 * entries are chained to their end, and nothing says which of them were changed together.
 */
export async function findFirstBadEntry(
  log: LogFolder,
  signed: Signed,
): Promise<number | "none" | undefined> {
  return await areTilesProven(log, signed)
    ? await firstUnlike(log, signed.size) ?? "none"
    : await firstBrokenLink(linesOf(log, signed.size), signed);
}

/** Does `work`, a scan against `signed`. A LedgerCorruptError that it throws names the first bad entry, if any is known. */
export async function namingFirstBad<T>(log: LogFolder, signed: Signed, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LedgerCorruptError)) throw error;
    const index = await findFirstBadEntry(log, signed);
    if (typeof index !== "number" || index === error.index) throw error;
    const path = join(log.folder, "log", logFileName(firstIndexOfFile(index)));
    const state = `entry ${index} is not the one that was logged`;
    throw new LedgerCorruptError(`Cannot open log file "${path}": ${state}`, path, index, error);
  }
}

/** Whether the leaf hashes of the tiles give the root hash. */
async function areTilesProven({ files, folder }: LogFolder, { size, rootHash }: Signed): Promise<boolean> {
  const frontier = new Frontier();
  for await (const hash of leafHashes({ files, folder }, size)) frontier.append(hash);
  return frontier.size === size && frontier.rootHash() === rootHash;
}

async function* leafHashes({ files, folder }: LogFolder, size: number): AsyncGenerator<string> {
  for (let at = 0; at < size; at += tileHashesMax) {
    const hashes = Math.min(size - at, tileHashesMax);
    let bytes: Uint8Array;
    try {
      const path = join(folder, "tiles", "0");
      bytes = await files.readAt(path, at * hashBytes, hashes * hashBytes);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      throw error;
    }
    for (let end = hashBytes; end <= bytes.length; end += hashBytes) {
      yield bytes.subarray(end - hashBytes, end).toHex();
    }
    if (bytes.length < hashes * hashBytes) return;
  }
}

/** The first entry that is not the one of its leaf hash, or is not there. */
async function firstUnlike(log: LogFolder, size: number): Promise<number | undefined> {
  const lines = linesOf(log, size);
  let index = 0;
  for await (const hash of leafHashes(log, size)) {
    const { value } = await lines.next();
    if (value === undefined || hashLeaf(value) !== hash) return index;
    index += 1;
  }
  return undefined;
}

/** Lines of the log as far as it goes, without their newlines; a file with more than its share ends it. */
async function* linesOf({ files, folder }: LogFolder, size: number): AsyncGenerator<Uint8Array, undefined> {
  for (let first = 0; first < size; first += fileRecordsMax) {
    const bytes = await readFile(files, join(folder, "log", logFileName(first)), fileBytesMax + 1);
    let lines = 0;
    for (const { offsetBytes, endBytes } of splitLines(bytes ?? new Uint8Array())) {
      if (endBytes === undefined || lines === fileRecordsMax) break;
      lines += 1;
      yield bytes?.subarray(offsetBytes, endBytes) ?? new Uint8Array();
    }
    if (lines < Math.min(fileRecordsMax, size - first)) return undefined;
  }
  return undefined;
}

interface Link {
  readonly prev: string;
  readonly leafHash: string;
}

/** The first of the log's lines that is no record in its place, or not the one that the next ones name. */
async function firstBrokenLink(
  lines: AsyncIterable<Uint8Array>,
  { size, rootHash }: Signed,
): Promise<number | undefined> {
  /** Of the entries before the last one. */
  const frontier = new Frontier();
  let last: Link | undefined;
  /** An entry that does not follow the one before it: that one is bad, if the next one vouches for this. */
  let suspect: number | undefined;
  let index = 0;
  for await (const line of lines) {
    const link = parseLink(line, index);
    if (suspect !== undefined) return link?.prev === last?.leafHash ? suspect - 1 : suspect;
    if (link === undefined) return index;
    if (last !== undefined && link.prev !== last.leafHash) suspect = index;
    else if (last !== undefined) frontier.append(last.leafHash);
    last = link;
    index += 1;
  }
  if (suspect !== undefined && last !== undefined && index === size) {
    // The last one has no successor: if it is right, and names the one before it right, the root is right.
    for (const hash of [last.prev, last.leafHash]) frontier.append(hash);
    return frontier.rootHash() === rootHash ? suspect - 1 : suspect;
  }
  return suspect ?? (index < size ? index : undefined);
}

function parseLink(line: Uint8Array, index: number): Link | undefined {
  try {
    const { record: { seq, prev } } = parseRecord(line);
    return seq === index ? { prev, leafHash: hashLeaf(line) } : undefined;
  } catch (error) {
    if (error instanceof RecordError) return undefined;
    throw error;
  }
}
