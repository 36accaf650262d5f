/**
 * Recovery: from the files of a log to the state in which records can be appended. Every start runs it.
 *
 * {@linkcode scanLog} reads the log from a file on that the caller believes to be the right one to begin with, one
 * file at a time, in memory for one file, and changes nothing. What is wrong below the size of the persisted
 * checkpoint, the anchor, was changed by someone: it throws {@linkcode LedgerCorruptError}. What is wrong at or
 * above it is what a crash leaves: the log ends there, and {@linkcode cutLog} removes the rest. No acknowledged
 * record is among it, since an acknowledged one was durable, whole and chained.
 *
 * The records that stay above the anchor were seen in the page cache, which is no proof that the disk has
 * them: a process can be killed before its sync, and a failed sync leaves pages that look clean.
 * {@linkcode rewriteTail} writes the same bytes again and syncs them before anything is signed.
 *
 * Invariant: a crash anywhere in here leaves a log that the next start recovers to the same records, and the
 * cut bytes are on disk in `cut/` before they leave the log.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { ledgerEventData, type LedgerRecord } from "../../schemas/ledger_event.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import {
  fileMode,
  type LedgerFile,
  type LedgerFiles,
  readFrom,
  syncFolder,
  withFile,
  writeAll,
} from "./ledger_files.ts";
import {
  fileBytesMax,
  fileRecordsMax,
  firstIndexOfFile,
  logFileName,
  logFileNames,
  readEntries,
  splitLines,
} from "./log_files.ts";
import { firstPrev, parseRecord, RecordError } from "./record.ts";
import { type Frontier, hashLeaf } from "./tree.ts";

const copyBytes = 1_048_576;
/** Most files fit into it. */
const scanBytes = 1_048_576;
const pendingPattern = /^\d{20}-([0-9a-f]{64})\.pending$/;

/** The end of a log file, from an offset on. */
export interface FileTail {
  readonly path: string;
  readonly offsetBytes: number;
}

export interface KeyChange {
  readonly index: number;
  readonly type: "ledger.rotated" | "ledger.retired";
  readonly key: string;
}

export interface LogScan {
  readonly tree: Frontier;
  /** Leaf hash of the last record. Undefined in an empty log. */
  readonly lastLeafHash: string | undefined;
  /** Name and keys, from record 0. Undefined in an empty log, and where the scan began after it. */
  readonly created: { readonly origin: string; readonly keys: readonly string[] } | undefined;
  /** Records that name or retire a key, as they were read. */
  readonly keyChanges: readonly KeyChange[];
  /** Where the records at or above the anchor are. */
  readonly unanchored: readonly FileTail[];
  /** What must leave the log, first file first. Often nothing. */
  readonly cut: readonly FileTail[];
}

/** Bytes cut from a log, on disk in `cut/`, that no record tells of yet. */
export interface PendingCut {
  readonly path: string;
  readonly bytesCut: number;
  readonly cutSha256: string;
}

type Anchor = Pick<Checkpoint, "size" | "rootHash">;

export interface ScanOptions {
  readonly anchor: Anchor;
  /** The tree of the records before the first one that is read: those of whole files. Grows with the scan. */
  readonly tree: Frontier;
  /** Called for each record, in order. */
  scanned?(record: LedgerRecord): void;
  /** Called after each file. */
  fileScanned?(): Promise<void>;
}

/** Reads and checks the log in `folder`, up to `end`, against its anchor. Throws {@linkcode LedgerCorruptError}. */
export async function scanLog(
  files: LedgerFiles,
  folder: string,
  options: ScanOptions,
  end = Infinity,
): Promise<LogScan> {
  const { anchor, tree } = options;
  const start = tree.size;
  const names = logFileNames(await files.list(folder));
  checkOlderFiles(folder, names, start);
  const scanner = new LogScanner(options, start === 0 ? undefined : await lastLeafHash(files, folder, start));
  // One for all files: what is outside of V8's heap it collects late.
  const buffer = new Uint8Array(scanBytes);
  for (const name of names.slice(start / fileRecordsMax, end / fileRecordsMax)) {
    const path = join(folder, name);
    if (scanner.cut.length > 0) {
      scanner.cut.push({ path, offsetBytes: 0 });
      continue;
    }
    scanner.takeFile(path, Number.parseInt(name), await readLogFile(files, path, buffer));
    await options.fileScanned?.();
  }
  const { size } = scanner.tree;
  if (size < anchor.size) {
    const path = join(folder, logFileName(firstIndexOfFile(size)));
    const state = `the log ends after ${size} entries, its checkpoint has ${anchor.size}`;
    throw new LedgerCorruptError(`Cannot open log file "${path}": ${state}`, path, size);
  }
  return scanner;
}

/** One byte more than a full file has at most: a longer file is then seen to be longer. */
async function readLogFile(files: LedgerFiles, path: string, buffer: Uint8Array): Promise<Uint8Array> {
  try {
    return await files.readAt(path, 0, fileBytesMax + 1, buffer);
  } catch (error) {
    // It was there when the folder was listed. What it lacks shows at its place.
    if (error instanceof Deno.errors.NotFound) return new Uint8Array();
    throw error;
  }
}

/** Those that are not read must be there at least. */
function checkOlderFiles(folder: string, names: readonly string[], start: number): void {
  for (let index = 0; index < start; index += fileRecordsMax) {
    const name = logFileName(index);
    if (names[index / fileRecordsMax] === name) continue;
    const path = join(folder, name);
    throw new LedgerCorruptError(`Cannot open log file "${path}": it is gone`, path, index);
  }
}

/** Of the record before `start`, the first one of a file. */
async function lastLeafHash(files: LedgerFiles, folder: string, start: number): Promise<string> {
  try {
    const [last] = await readEntries(files, folder, start - 1, start);
    return last.leafHash;
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    const path = join(folder, logFileName(start - fileRecordsMax));
    const state = `entry ${start - 1} is not UTF-8`;
    throw new LedgerCorruptError(`Cannot open log file "${path}": ${state}`, path, start - 1, cause);
  }
}

class LogScanner implements LogScan {
  readonly tree: Frontier;
  readonly unanchored: FileTail[] = [];
  readonly cut: FileTail[] = [];
  readonly keyChanges: KeyChange[] = [];
  created: LogScan["created"];

  constructor(private readonly options: ScanOptions, public lastLeafHash: string | undefined) {
    this.tree = options.tree;
  }

  takeFile(path: string, firstIndex: number, bytes: Uint8Array): void {
    const { anchor } = this.options;
    if (firstIndex !== this.tree.size) return this.#endLog(path, 0, "has no file before it");
    const text = decodeAscii(bytes);
    for (const { offsetBytes, endBytes } of splitLines(bytes)) {
      const index = this.tree.size;
      try {
        if (index === firstIndex + fileRecordsMax) throw new RecordError("is one too many in its file");
        if (endBytes === undefined) throw new RecordError("is torn");
        this.#takeEntry(bytes.subarray(offsetBytes, endBytes), text?.slice(offsetBytes, endBytes));
      } catch (error) {
        if (!(error instanceof RecordError)) throw error;
        return this.#endLog(path, offsetBytes, error.message, error);
      }
      if (index === Math.max(anchor.size, firstIndex)) this.unanchored.push({ path, offsetBytes });
      if (this.tree.size === anchor.size) this.#checkRoot(path);
    }
  }

  #takeEntry(entry: Uint8Array, text: string | undefined): void {
    const { line, record } = parseRecord(entry, text);
    const created = this.tree.size === 0 ? parseCreated(record) : undefined;
    const prev = created === undefined ? this.lastLeafHash : firstPrev(created.origin);
    if (record.seq !== this.tree.size || record.prev !== prev) {
      throw new RecordError("does not follow the one before it");
    }
    this.created ??= created;
    this.#takeKeys(record);
    this.lastLeafHash = hashLeaf(line);
    this.tree.append(this.lastLeafHash);
    this.options.scanned?.(record);
  }

  #takeKeys({ seq, type, data }: LedgerRecord): void {
    if (type === "ledger.created" && seq > 0) throw new RecordError("begins a ledger that has begun");
    if (type !== "ledger.rotated" && type !== "ledger.retired") return;
    const { success, data: parsed } = ledgerEventData[type].safeParse(data);
    if (!success) throw new RecordError("names no key");
    this.keyChanges.push({ index: seq, type, key: parsed.key });
  }

  /** The log ends before the entry at `offsetBytes`: a crash did that, or else the ledger does not open. */
  #endLog(path: string, offsetBytes: number, state: string, cause?: RecordError): void {
    const index = this.tree.size;
    if (index < this.options.anchor.size) {
      throw new LedgerCorruptError(
        `Cannot open log file "${path}": entry ${index} ${state}`,
        path,
        index,
        cause,
      );
    }
    this.cut.push({ path, offsetBytes });
  }

  #checkRoot(path: string): void {
    const { size, rootHash } = this.options.anchor;
    if (this.tree.rootHash() === rootHash) return;
    const state = `the root hash of its entries is not the one of the checkpoint of size ${size}`;
    throw new LedgerCorruptError(`Cannot open log file "${path}": ${state}`, path);
  }
}

/** The text of a whole file where each byte is a character, so that it can be cut by offsets in bytes. */
function decodeAscii(bytes: Uint8Array): string | undefined {
  // U+FFFD takes three bytes, and any other that is not ASCII two at least.
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  return text.length === bytes.length && !text.includes("\ufffd") ? text : undefined;
}

function parseCreated(record: LedgerRecord): { origin: string; keys: string[] } {
  const parsed = ledgerEventData["ledger.created"].safeParse(record.data);
  if (record.type === "ledger.created" && parsed.success) return parsed.data;
  throw new RecordError("does not name the ledger and its keys");
}

/**
 * Takes the bytes of `cut` out of the log, once they are on disk in `folder` under the index they were cut at.
 *
 * A crash before the first truncation leaves the log as it was, and a file that the next start makes again. A
 * crash after it leaves less to cut: the next start keeps that aside too, so bytes may be there twice, and
 * none is lost.
 */
export async function cutLog(
  files: LedgerFiles,
  folder: string,
  index: number,
  cut: LogScan["cut"],
): Promise<void> {
  if (cut.length === 0) return;
  await keepAside(files, folder, index, cut);
  for (const { path, offsetBytes } of cut) {
    if (offsetBytes === 0) await files.remove(path);
    else await truncateFile(files, path, offsetBytes);
  }
  await syncFolder(files, dirname(cut[0].path));
}

async function truncateFile(files: LedgerFiles, path: string, bytes: number): Promise<void> {
  await withFile(files, path, { read: true, write: true }, async (file) => {
    await file.truncate(bytes);
    await file.sync();
  });
}

async function keepAside(
  files: LedgerFiles,
  folder: string,
  index: number,
  cut: LogScan["cut"],
): Promise<void> {
  const temporary = join(folder, "cut.tmp");
  const hash = createHash("sha256");
  await withFile(
    files,
    temporary,
    { write: true, create: true, truncate: true, mode: fileMode },
    async (target) => {
      for (const { path, offsetBytes } of cut) {
        await withFile(files, path, { read: true }, async (source) => {
          for await (const bytes of chunksFrom(source, offsetBytes)) {
            hash.update(bytes);
            await writeAll(target, bytes);
          }
        });
      }
      await target.sync();
    },
  );
  const name = `${index.toString().padStart(20, "0")}-${hash.digest("hex")}.pending`;
  await files.rename(temporary, join(folder, name));
  await syncFolder(files, folder);
}

/** What was cut and is not told of yet, in the order of the cuts. */
export async function listPendingCuts(files: LedgerFiles, folder: string): Promise<PendingCut[]> {
  const cuts: PendingCut[] = [];
  for (const name of (await files.list(folder)).sort()) {
    const cutSha256 = pendingPattern.exec(name)?.[1];
    if (cutSha256 === undefined) continue;
    const path = join(folder, name);
    const bytesCut = await withFile(files, path, { read: true }, (file) => file.seek(0, Deno.SeekMode.End));
    cuts.push({ path, bytesCut, cutSha256 });
  }
  return cuts;
}

/**
 * Marks a cut as told of, after its `ledger.recovered` record is durable. After a crash between the two the
 * next start tells of the same bytes once more.
 */
export async function settleCut(files: LedgerFiles, { path }: PendingCut): Promise<void> {
  await files.rename(path, path.replace(/\.pending$/, ".cut"));
  await syncFolder(files, dirname(path));
}

/** Writes the end of each file over itself, and makes it durable together with the files' names. */
export async function rewriteTail(files: LedgerFiles, tails: readonly FileTail[]): Promise<void> {
  for (const { path, offsetBytes } of tails) {
    await withFile(files, path, { read: true, write: true }, async (file) => {
      const bytes = await readFrom(file, offsetBytes, fileBytesMax);
      await file.seek(offsetBytes, Deno.SeekMode.Start);
      await writeAll(file, bytes);
      await file.syncData();
    });
  }
  const [first] = tails;
  if (first !== undefined) await syncFolder(files, dirname(first.path));
}

async function* chunksFrom(file: LedgerFile, offsetBytes: number): AsyncGenerator<Uint8Array> {
  for (let offset = offsetBytes;;) {
    const bytes = await readFrom(file, offset, copyBytes);
    if (bytes.length === 0) return;
    offset += bytes.length;
    yield bytes;
  }
}
