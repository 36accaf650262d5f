/**
 * The log: the records of a ledger, one line each, in files of {@linkcode fileRecordsMax} records.
 *
 * A file is named for the index of its first record, `00000000000000000256.ndjson`. Chain and tree run on
 * across files. Only the last file grows; a file is full before the next one exists.
 *
 * @module
 */
import { join } from "node:path";
import type { LedgerEntry } from "../../schemas/api.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { fileMode, type LedgerFile, type LedgerFiles, readFile, writeAll } from "./ledger_files.ts";
import { decodeLine, recordBytesMax } from "./record.ts";
import { hashLeaf } from "./tree.ts";

/** Records of one file; also the most that one batch can hold, since a batch lies in one file. */
export const fileRecordsMax = 256;

/** A full file of the longest records. */
export const fileBytesMax = fileRecordsMax * (recordBytesMax + 1);

const newline = 0x0a;

/** Index of the first record of the file that holds `index`. */
export function firstIndexOfFile(index: number): number {
  return index - (index % fileRecordsMax);
}

export function logFileName(firstIndex: number): string {
  return `${firstIndex.toString().padStart(20, "0")}.ndjson`;
}

/** Names of the log's files among `names`, ascending. */
export function logFileNames(names: readonly string[]): string[] {
  return names.filter((name) => /^\d{20}\.ndjson$/.test(name)).sort();
}

/** Part of a log file: one line, without its newline. */
export interface LineSpan {
  readonly offsetBytes: number;
  /** Where its newline is, or undefined for a torn line at the end. */
  readonly endBytes: number | undefined;
}

export function* splitLines(bytes: Uint8Array): Generator<LineSpan> {
  for (let offsetBytes = 0; offsetBytes < bytes.length;) {
    const end = bytes.indexOf(newline, offsetBytes);
    yield { offsetBytes, endBytes: end < 0 ? undefined : end };
    offsetBytes = end < 0 ? bytes.length : end + 1;
  }
}

/** The one writer of a log. Owned by the holder of the ledger's lock. */
export class LogWriter {
  #open: { readonly firstIndex: number; readonly file: LedgerFile } | undefined;

  private constructor(
    readonly files: LedgerFiles,
    readonly folder: string,
    readonly folderFile: LedgerFile,
  ) {}

  static async create(files: LedgerFiles, folder: string): Promise<LogWriter> {
    return new LogWriter(files, folder, await files.open(folder, { read: true }));
  }

  /**
   * Writes the lines of the records from `index` on, all of them in one file; they are durable when it
   * resolves. After an error nothing is known of them, and the writer must not be used again.
   *
   * A crash leaves none of the lines, a prefix of them or, in an unfortunate order of the disk's writes, one
   * with a hole in it. Recovery keeps the whole records before the first one that is not.
   */
  async append(index: number, lines: Uint8Array): Promise<void> {
    const firstIndex = firstIndexOfFile(index);
    if (this.#open?.firstIndex === firstIndex) return await writeDurably(this.#open.file, lines);
    this.#open?.file.close();
    this.#open = undefined;
    const path = join(this.folder, logFileName(firstIndex));
    const file = await this.files.open(path, { append: true, create: true, mode: fileMode });
    this.#open = { firstIndex, file };
    // The file's name must be durable as well before a record in it is acknowledged. A crash before that
    // leaves a file with any part of the lines, or none.
    await Promise.all([writeDurably(file, lines), this.folderFile.sync()]);
  }

  close(): void {
    this.#open?.file.close();
    this.#open = undefined;
    this.folderFile.close();
  }
}

async function writeDurably(file: LedgerFile, bytes: Uint8Array): Promise<void> {
  await writeAll(file, bytes);
  await file.syncData();
}

/**
 * The lines of the entries from `first` to before `end`, all of them durable and in one file, each with its
 * newline. Throws LedgerCorruptError when one is gone.
 */
export async function readLines(
  files: LedgerFiles,
  folder: string,
  first: number,
  end: number,
): Promise<Uint8Array> {
  const firstIndex = firstIndexOfFile(first);
  const path = join(folder, logFileName(firstIndex));
  const bytes = await readFile(files, path, fileBytesMax) ?? new Uint8Array();
  let [index, start] = [firstIndex, 0];
  for (const { offsetBytes, endBytes } of splitLines(bytes)) {
    if (endBytes === undefined) break;
    if (index === first) start = offsetBytes;
    index += 1;
    if (index === end) return bytes.subarray(start, endBytes + 1);
  }
  throw new LedgerCorruptError(`Cannot read entry ${index} of "${path}": it is gone`, path, index);
}

/** The entries from `first` to before `end`, all of them durable. Reads one file at a time. */
export async function readEntries(
  files: LedgerFiles,
  folder: string,
  first: number,
  end: number,
): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for (let index = first; index < end;) {
    const fileEnd = Math.min(end, firstIndexOfFile(index) + fileRecordsMax);
    const bytes = await readLines(files, folder, index, fileEnd);
    for (const { offsetBytes, endBytes } of splitLines(bytes)) {
      const line = decodeLine(bytes.subarray(offsetBytes, endBytes));
      entries.push({ index, leafHash: hashLeaf(line), line });
      index += 1;
    }
  }
  return entries;
}
