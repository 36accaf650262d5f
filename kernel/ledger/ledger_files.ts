/**
 * File operations of the ledger: the few it needs of Deno, as an interface, and what is built from them.
 *
 * The interface exists so that a fault can be put at each single operation. The meaning of "durable" is the
 * one of POSIX: bytes of a file after its `sync` or `syncData`, a name in a folder after the folder's `sync`.
 * An error of any sync is final: the kernel of the operating system may have dropped the bytes, and a second
 * sync would report success. It is never tried again.
 *
 * @module
 */
import { dirname } from "node:path";

export type LedgerFile = Pick<
  Deno.FsFile,
  "read" | "write" | "seek" | "truncate" | "sync" | "syncData" | "tryLock" | "close"
>;

export interface LedgerFiles {
  open(path: string, options: Deno.OpenOptions): Promise<LedgerFile>;
  /** The bytes from `offsetBytes` on, at most `bytesMax` of them; in `into`, if there is one that they fit into. */
  readAt(path: string, offsetBytes: number, bytesMax: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Creates the folder, for its owner only, unless it exists. */
  makeFolder(path: string): Promise<void>;
  /** Names in the folder, in no order. */
  list(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

/** The files of this machine. */
export const denoFiles: LedgerFiles = {
  open: async (path, options) => {
    const file = await Deno.open(path, options);
    // Into the page cache at once: handing it to a thread took longer than the copy. Only syncs wait for disks.
    // deno-lint-ignore require-await -- what it throws is a rejection
    return Object.assign(file, { write: async (bytes: Uint8Array) => file.writeSync(bytes) });
  },
  // Most often from the page cache: as with writes, a thread for each step would take longer.
  // deno-lint-ignore require-await -- what it throws is a rejection
  readAt: async (path, offsetBytes, bytesMax, into) => {
    using file = Deno.openSync(path);
    const length = Math.max(0, Math.min(file.statSync().size - offsetBytes, bytesMax));
    const bytes = into !== undefined && into.length >= length
      ? into.subarray(0, length)
      : new Uint8Array(length);
    file.seekSync(offsetBytes, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < bytes.length) {
      const count = file.readSync(bytes.subarray(filled));
      if (count === null) break;
      filled += count;
    }
    return bytes.subarray(0, filled);
  },
  makeFolder: (path) => Deno.mkdir(path, { recursive: true, mode: 0o700 }),
  list: async (path) => (await Array.fromAsync(Deno.readDir(path))).map((entry) => entry.name),
  rename: (from, to) => Deno.rename(from, to),
  remove: (path) => Deno.remove(path),
};

/** For every file of the ledger: its owner only. */
export const fileMode = 0o600;

/** Opens a file, hands it to `use` and closes it, whatever happens. */
export async function withFile<T>(
  files: LedgerFiles,
  path: string,
  options: Deno.OpenOptions,
  use: (file: LedgerFile) => Promise<T>,
): Promise<T> {
  const file = await files.open(path, options);
  try {
    return await use(file);
  } finally {
    file.close();
  }
}

/** Writes all of `bytes`, however short each single write turns out. */
export async function writeAll(file: LedgerFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const count = await file.write(bytes.subarray(written));
    if (count <= 0) throw new Error(`Cannot write ${bytes.length} bytes: the file took ${written}`);
    written += count;
  }
}

/** The bytes from `offsetBytes` on, at most `bytesMax` of them. */
export async function readFrom(file: LedgerFile, offsetBytes: number, bytesMax: number): Promise<Uint8Array> {
  const end = await file.seek(0, Deno.SeekMode.End);
  const bytes = new Uint8Array(Math.max(0, Math.min(end - offsetBytes, bytesMax)));
  await file.seek(offsetBytes, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < bytes.length) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/** The file's first `bytesMax` bytes, or undefined when there is no such file. */
export async function readFile(
  files: LedgerFiles,
  path: string,
  bytesMax: number,
): Promise<Uint8Array | undefined> {
  try {
    return await withFile(files, path, { read: true }, (file) => readFrom(file, 0, bytesMax));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(files: LedgerFiles, path: string): Promise<void> {
  await withFile(files, path, { read: true }, (folder) => folder.sync());
}

/** Creates a folder unless it exists; its name is durable. */
export async function makeDurableFolder(files: LedgerFiles, path: string): Promise<void> {
  await files.makeFolder(path);
  await syncFolder(files, dirname(path));
}

/**
 * Replaces a file as a whole; durable when it resolves. A crash leaves the old file or the new one, and
 * perhaps a `.tmp` that the next replacement writes over.
 */
export async function replaceFile(files: LedgerFiles, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  await withFile(
    files,
    temporary,
    { write: true, create: true, truncate: true, mode: fileMode },
    async (file) => {
      await writeAll(file, bytes);
      await file.sync();
    },
  );
  await files.rename(temporary, path);
  await syncFolder(files, dirname(path));
}
