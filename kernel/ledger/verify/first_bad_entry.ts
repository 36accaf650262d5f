/**
 * The first bad entry of a log, or of a part of one, that is known not to be what was signed.
 *
 * Tiles, if their leaf hashes give the signed root, prove what each entry was. Without them the chain says where a
 * link is broken, and proves it if only one is.
 *
 * @module
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ChainCheck, type Link } from "./chain_check.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { LedgerCorruptError } from "../ledger_corrupt_error.ts";
import { type LedgerFiles, readFile } from "../ledger_files.ts";
import { fileBytesMax, fileRecordsMax, firstIndexOfFile, logFileName, splitLines } from "../log_files.ts";
import { parseRecord, RecordError } from "../record.ts";
import { hashBytes, tileHashesMax } from "../tiles.ts";
import { Frontier, hashLeaf } from "../tree.ts";

const turnTiles = 16;

type Signed = Pick<Checkpoint, "size" | "rootHash">;

export interface LogFolder {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
}

export interface FirstBad {
  readonly index: number;
  /** Signed hashes say so. Else the chain breaks there, and what was changed may be another entry. */
  readonly isProven: boolean;
}

/**
 * Below the size of `signed`, which must be believed. "none": every entry is the one that gives the root hash of
 * `signed`. Undefined: the entries are chained to their end, and nothing says which of them were changed together;
 * or the files cannot be read.
 */
export async function findFirstBadEntry(
  log: LogFolder,
  signed: Signed,
): Promise<FirstBad | "none" | undefined> {
  try {
    if (!await areTilesProven(log, signed)) return await firstBrokenLink(log, signed);
    const index = await firstUnlike(log, signed.size);
    return index === undefined ? "none" : { index, isProven: true };
  } catch {
    return undefined; // whoever looks has found something wrong already, and that is what counts
  }
}

/** Does `work`, a scan against `signed`. A LedgerCorruptError that it throws names the first bad entry, if any is known. */
export async function namingFirstBad<T>(log: LogFolder, signed: Signed, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LedgerCorruptError)) throw error;
    const found = await findFirstBadEntry(log, signed);
    if (typeof found !== "object" || found.index === error.index) throw error;
    const { index, isProven } = found;
    const path = join(log.folder, "log", logFileName(firstIndexOfFile(index)));
    const state = isProven
      ? `entry ${index} is not the one that was logged`
      : `the chain breaks at entry ${index}`;
    throw new LedgerCorruptError(`Cannot open log file "${path}": ${state}`, path, index, error);
  }
}

/** Whether the leaf hashes of the tiles give the root hash. */
async function areTilesProven({ files, folder }: LogFolder, { size, rootHash }: Signed): Promise<boolean> {
  const frontier = new Frontier();
  for await (const hash of leafHashes({ files, folder }, size)) frontier.append(hash);
  return frontier.size === size && frontier.rootHash() === rootHash;
}

/** As far as there are any; tiles that cannot be read are as good as none. */
async function* leafHashes({ files, folder }: LogFolder, size: number): AsyncGenerator<string> {
  for (let at = 0; at < size; at += tileHashesMax) {
    // Their reads need not wait for a disk, and others have work to do.
    if (at > 0 && at % (turnTiles * tileHashesMax) === 0) await setImmediate();
    const hashes = Math.min(size - at, tileHashesMax);
    let bytes: Uint8Array;
    try {
      const path = join(folder, "tiles", "0");
      bytes = await files.readAt(path, at * hashBytes, hashes * hashBytes);
    } catch {
      return; // not there, a folder, a FIFO
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

async function firstBrokenLink(
  log: LogFolder,
  { size, rootHash }: Signed,
): Promise<FirstBad | "none" | undefined> {
  const frontier = new Frontier();
  const chain = new ChainCheck(0, (leafHash) => frontier.append(leafHash));
  let index = 0;
  for await (const line of linesOf(log, size)) chain.take(parseLink(line, index++));
  const isSigned = chain.end(() => index === size && frontier.rootHash() === rootHash);
  if (chain.brokenAt !== undefined) return { index: chain.brokenAt, isProven: isSigned };
  if (isSigned) return "none";
  return index < size ? { index, isProven: false } : undefined;
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
