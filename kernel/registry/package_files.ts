/**
 * Package files: what stands in a package's folder, listed and read as if somebody were changing it.
 *
 * Whoever can write to the folder could swap a file for a link between a look and a read. So every file
 * is opened once, the open file must be the one that was listed, at the path where it was listed, and
 * only the bytes read then are hashed and kept. Opening never blocks, not even on a pipe.
 *
 * Invariants:
 * - only regular files and folders; anything else is a fault;
 * - paths are printable, relative, and distinct also where letter case and Unicode forms do not count;
 * - never more files, bytes or levels than the limits, and never more than {@linkcode faultsMax} faults.
 *
 * Needs read permission for the folder.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, realpath } from "node:fs/promises";
import { Buffer } from "node:buffer";

export interface PackageLimits {
  bytesMax: number;
  filesMax: number;
}

export interface ListedFile {
  /** Relative to the package, with forward slashes. */
  path: string;
  stats: BigIntStats;
}

export interface PackageListing {
  /** The real path of the folder. */
  root: string;
  files: ListedFile[];
  faults: string[];
  /** Whether every file of the folder was seen, the skipped ones excepted. */
  complete: boolean;
}

export type ReadResult<T> = ({ ok: true; sha256: string } & T) | { ok: false; message: string };

const depthMax = 32;
const pathLengthMax = 1_024;
const faultsMax = 100;
const chunkBytes = 1_048_576;

/** Lists the package in `folder`, the names in `isSkipped` (asked for the top level only) left out. */
export async function listPackage(
  folder: string,
  limits: PackageLimits,
  isSkipped: (name: string) => boolean = () => false,
): Promise<PackageListing> {
  const listing: PackageListing = { root: folder, files: [], faults: [], complete: false };
  const stats = await lstat(folder, { bigint: true });
  if (!stats.isDirectory()) {
    listing.faults.push(stats.isSymbolicLink() ? "The folder is a link" : "There is no folder here");
    return listing;
  }
  listing.root = await realpath(folder);
  const lister = new Lister(listing, limits, isSkipped);
  await lister.list("", 1);
  listing.complete = !lister.stopped;
  return listing;
}

/** Reads a listed file. The failures are those of a folder that changes, or that may not be read. */
export function readListedFile(root: string, file: ListedFile): Promise<ReadResult<{ bytes: Uint8Array }>> {
  return withListedFile(root, file, async (handle, size) => {
    // One byte more than expected, so that a file that grew is noticed.
    const bytes = Buffer.allocUnsafe(size + 1);
    const read = await hashUpTo(handle, size + 1, (offset) => bytes.subarray(offset, offset + chunkBytes));
    return { ...read, bytes: bytes.subarray(0, size) };
  });
}

/** Hashes a listed file without keeping its bytes, under the same checks. */
export function hashListedFile(root: string, file: ListedFile): Promise<ReadResult<unknown>> {
  return withListedFile(root, file, (handle, size) => {
    const chunk = Buffer.allocUnsafe(Math.min(size + 1, chunkBytes));
    return hashUpTo(handle, size + 1, (offset) => chunk.subarray(0, size + 1 - offset));
  });
}

interface Hashed {
  length: number;
  sha256: string;
}

/** Opens a listed file and lets `read` have it, if it is the one that was listed and stays so. */
async function withListedFile<T extends Hashed>(
  root: string,
  file: ListedFile,
  read: (handle: FileHandle, size: number) => Promise<T>,
): Promise<ReadResult<T>> {
  const path = `${root}/${file.path}`;
  const size = Number(file.stats.size);
  const fault = (state: string): ReadResult<T> => ({ ok: false, message: `File "${file.path}" ${state}` });
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return fault(`cannot be opened: ${error.message}`);
  }
  try {
    const opened = await handle.stat({ bigint: true });
    const isListed = opened.isFile() && opened.dev === file.stats.dev && opened.ino === file.stats.ino;
    if (!isListed || await realpath(path) !== path) return fault("was swapped while it was read");
    const result = await read(handle, size);
    return result.length === size ? { ok: true, ...result } : fault("changed while it was read");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return fault(`cannot be read: ${error.message}`);
  } finally {
    await handle.close();
  }
}

/** Whether the system refused or failed, in contrast to a bug. */
export function isSystemError(error: unknown): error is Error {
  return error instanceof Deno.errors.NotCapable ||
    (error instanceof Error && "code" in error && typeof error.code === "string");
}

/** Whether the system found nothing there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    (isSystemError(error) && "code" in error && error.code === "ENOENT");
}

/** Hashes at most `lengthMax` bytes, each read into what `bufferAt` gives for its offset. */
async function hashUpTo(
  handle: FileHandle,
  lengthMax: number,
  bufferAt: (offset: number) => Buffer,
): Promise<Hashed> {
  const hash = createHash("sha256");
  let length = 0;
  while (length < lengthMax) {
    const buffer = bufferAt(length);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, length);
    hash.update(buffer.subarray(0, bytesRead));
    length += bytesRead;
    // Of a regular file less than was asked for is all there is.
    if (bytesRead < buffer.length) break;
  }
  return { length, sha256: hash.digest("hex") };
}

class Lister {
  readonly #listing: PackageListing;
  readonly #limits: PackageLimits;
  readonly #isSkipped: (name: string) => boolean;
  /** Folded path → path as it stands. */
  readonly #folded = new Map<string, string>();
  #bytes = 0n;
  stopped = false;

  constructor(listing: PackageListing, limits: PackageLimits, isSkipped: (name: string) => boolean) {
    this.#listing = listing;
    this.#limits = limits;
    this.#isSkipped = isSkipped;
  }

  /** `folder` is relative to the package, "" or with a slash at its end. */
  async list(folder: string, depth: number): Promise<void> {
    const names = await readdir(`${this.#listing.root}/${folder}`);
    for (const name of names.sort()) {
      if (this.stopped) return;
      const path = folder + name;
      if (!this.#isPlainName(name)) {
        this.#fault(
          `The name ${JSON.stringify(path)} has a control character, a backslash or no valid UTF-8`,
        );
        continue;
      }
      const stats = await lstat(`${this.#listing.root}/${path}`, { bigint: true });
      const isOrdinary = stats.isFile() || stats.isDirectory();
      if (depth === 1 && isOrdinary && this.#isSkipped(name)) continue;
      this.#checkPath(path);
      if (stats.isSymbolicLink()) this.#fault(`"${path}" is a link`);
      else if (!isOrdinary) this.#fault(`"${path}" is neither a file nor a folder`);
      else if (stats.isFile()) this.#add({ path, stats });
      else if (name === "node_modules") {
        this.#fault(`"${path}" cannot be in a package: bundle what the plugin imports`);
      } else if (depth === depthMax) this.#stop(`"${path}" lies deeper than ${depthMax} folders`);
      else await this.list(`${path}/`, depth + 1);
    }
  }

  #add(file: ListedFile): void {
    const { bytesMax, filesMax } = this.#limits;
    this.#bytes += file.stats.size;
    if (this.#listing.files.length === filesMax) return this.#stop(`There are more than ${filesMax} files`);
    if (this.#bytes > bytesMax) return this.#stop(`The files have more than ${bytesMax} bytes together`);
    this.#listing.files.push(file);
  }

  #isPlainName(name: string): boolean {
    // A name that is not UTF-8 arrives with a replacement character.
    return !/[\p{Cc}\u2028\u2029\\\ufffd]/u.test(name) && name.isWellFormed();
  }

  #checkPath(path: string): void {
    if (path.length > pathLengthMax) return this.#stop(`A path is longer than ${pathLengthMax} characters`);
    const folded = path.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
    const other = this.#folded.get(folded);
    if (other !== undefined) this.#fault(`"${path}" and "${other}" are one name on some systems`);
    if (this.#folded.size > this.#limits.filesMax * 2) return this.#stop("There are too many folders");
    this.#folded.set(folded, path);
  }

  #fault(message: string): void {
    if (this.#listing.faults.push(message) >= faultsMax) this.stopped = true;
  }

  #stop(message: string): void {
    this.#fault(message);
    this.stopped = true;
  }
}
