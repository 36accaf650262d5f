/**
 * The package store: the bytes of admitted packages, each package in a read-only folder named by its digest.
 *
 * Cells run from here and from nowhere else. A name that is a hash cannot come to mean other bytes
 * unnoticed: `verifyPackage` hashes everything again before a cell starts.
 *
 * Crashes: a package is written to a folder beside, then renamed. A crash before leaves a folder that
 * `collectGarbage` removes; one after may leave a folder whose bytes never reached the disk, which the
 * next `put` or `verifyPackage` finds out. Modes 0444 and 0555 keep honest programs out; root ignores them.
 *
 * Needs read and write permission for the store's folder.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import { packageDigestOf } from "../trust/package_digest.ts";
import {
  hashListedFile,
  isNotFound,
  isSystemError,
  listPackage,
  type PackageLimits,
} from "./package_files.ts";
import type { ReadPackage } from "./read_package.ts";

const digestPattern = /^[0-9a-f]{64}$/;
/** Of a package that is being written. No digest begins like this. */
const newPrefix = ".new-";

export interface PackageStore {
  /** Where the package of this digest stands, if it is in the store. */
  folderOf(digest: string): string;
  /** Writes the package unless it is there undamaged; returns its folder. */
  put(read: Pick<ReadPackage, "digest" | "files">): Promise<string>;
  /** Throws PLUGIN_REJECTED unless the stored package is exactly the one of this digest. */
  verify(digest: string): Promise<void>;
  /** Removes all packages but these and what crashes left; returns the names removed. */
  collectGarbage(keep: ReadonlySet<string>): Promise<string[]>;
}

/** Opens the store in `folder`, for example `DATA/packages`, which is made if it is not there. */
export async function createPackageStore(folder: string, limits: PackageLimits): Promise<PackageStore> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o755 });
  const root = await Deno.realPath(folder);
  const folderOf = (digest: string): string => {
    if (!digestPattern.test(digest)) throw new RangeError(`Cannot locate package "${digest}": no digest`);
    return `${root}/${digest}`;
  };
  const turns = new Turns();
  return {
    folderOf,
    put: ({ digest, files }) =>
      turns.ofOne(digest, () => putPackage(root, folderOf(digest), { digest, files }, limits)),
    verify: (digest) => verifyPackage(folderOf(digest), digest, limits),
    collectGarbage: (keep) => turns.ofAll(() => removeAllBut(root, keep)),
  };
}

/**
 * Who writes and who removes take turns, so that neither sees what the other has half done: packages of different
 * digests are written at once, those of one digest one after the other, and what is removed is removed alone.
 */
class Turns {
  readonly #ofOne = new Map<string, Promise<unknown>>();
  #ofAll: Promise<unknown> = Promise.resolve();

  ofOne<T>(digest: string, task: () => Promise<T>): Promise<T> {
    const turn = Promise.all([this.#ofAll, this.#ofOne.get(digest)]).then(task);
    const over = settled(turn).then(() => {
      if (this.#ofOne.get(digest) === over) this.#ofOne.delete(digest);
    });
    this.#ofOne.set(digest, over);
    return turn;
  }

  ofAll<T>(task: () => Promise<T>): Promise<T> {
    const turn = Promise.all([this.#ofAll, ...this.#ofOne.values()]).then(task);
    this.#ofAll = settled(turn);
    return turn;
  }
}

/** A failure is the caller's, not the next one's. */
function settled(turn: Promise<unknown>): Promise<void> {
  return turn.then(() => undefined, () => undefined);
}

/** Throws PLUGIN_REJECTED unless the files in `folder` are exactly those of the package `digest`. */
export async function verifyPackage(folder: string, digest: string, limits: PackageLimits): Promise<void> {
  const state = await damageOf(folder, digest, limits);
  if (state === undefined) return;
  throw new ProblemError("PLUGIN_REJECTED", `Cannot verify package "${digest}": ${state}`);
}

/** What is wrong with a stored package; undefined if nothing is. */
async function damageOf(folder: string, digest: string, limits: PackageLimits): Promise<string | undefined> {
  try {
    const listing = await listPackage(folder, limits);
    if (listing.faults.length > 0) return listing.faults[0];
    const hashed = [];
    for (const file of listing.files) {
      const result = await hashListedFile(listing.root, file);
      if (!result.ok) return result.message;
      hashed.push({ path: file.path, sha256: result.sha256 });
    }
    return packageDigestOf(hashed) === digest ? undefined : "its files are not those that were admitted";
  } catch (error) {
    if (isNotFound(error)) return "it is not in the store";
    if (isSystemError(error)) return `it cannot be read: ${error.message}`;
    throw error;
  }
}

async function putPackage(
  root: string,
  folder: string,
  read: Pick<ReadPackage, "digest" | "files">,
  limits: PackageLimits,
): Promise<string> {
  if (await damageOf(folder, read.digest, limits) === undefined) return folder;
  await removeReadOnly(folder);
  const temporary = await Deno.makeTempDir({ dir: root, prefix: newPrefix });
  try {
    await writeFiles(temporary, read);
    await Deno.rename(temporary, folder);
  } catch (error) {
    await removeReadOnly(temporary);
    throw error;
  }
  return folder;
}

async function writeFiles(root: string, { files }: Pick<ReadPackage, "files">): Promise<void> {
  const folders = new Set([root]);
  for (const { path, bytes } of files) {
    let parent = root;
    for (const segment of path.split("/").slice(0, -1)) {
      parent = `${parent}/${segment}`;
      if (folders.has(parent)) continue;
      await Deno.mkdir(parent, { mode: 0o755 });
      folders.add(parent);
    }
    await Deno.writeFile(`${root}/${path}`, bytes, { createNew: true, mode: 0o444 });
    await Deno.chmod(`${root}/${path}`, 0o444); // whatever the umask left of it
  }
  for (const path of folders) await Deno.chmod(path, 0o555);
}

async function removeAllBut(root: string, keep: ReadonlySet<string>): Promise<string[]> {
  const removed: string[] = [];
  for await (const { name } of Deno.readDir(root)) {
    if (keep.has(name)) continue;
    await removeReadOnly(`${root}/${name}`);
    removed.push(name);
  }
  return removed.sort();
}

/** Removes a file or folder, if it is there. A folder of mode 0555 does not let its entries go before. */
async function removeReadOnly(path: string): Promise<void> {
  try {
    await makeWritable(path);
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

async function makeWritable(path: string): Promise<void> {
  const { isDirectory } = await Deno.lstat(path);
  if (!isDirectory) return; // a link's mode is that of what it points to
  await Deno.chmod(path, 0o755);
  for await (const entry of Deno.readDir(path)) await makeWritable(`${path}/${entry.name}`);
}
