/**
 * A disk in memory that can be made to fail at any operation and to lose what was not synced, for tests.
 *
 * It has two layers: what processes see, and what the platter has. A sync of a file carries the bytes that were
 * written since the last sync down, a sync of a folder the names in it. A sync that fails loses those bytes:
 * later syncs succeed without them, as on Linux.
 *
 * @module
 */
import { dirname } from "node:path";
import type { LedgerFile, LedgerFiles } from "../ledger_files.ts";

/** `before`: the operation does nothing and throws. `after`: it does its work, then throws. */
export type FaultMode = "before" | "after";

export class DiskFaultError extends Error {
  override name = "DiskFaultError";
}

interface Inode {
  bytes: Uint8Array;
  /** Bytes that a sync has to carry down, one flag each. */
  dirty: Uint8Array;
  synced: Uint8Array;
  lockedBy: LedgerFile | undefined;
}

export class MemoryDisk implements LedgerFiles {
  readonly #names = new Map<string, Inode>();
  readonly #syncedNames = new Map<string, Inode>();
  readonly #folders = new Set<string>();
  /** How many bytes one write takes at most. */
  writeBytesMax = Infinity;
  /** Operations so far, and which of them fails. */
  operations = 0;
  fault: { readonly at: number; readonly mode: FaultMode } | undefined;

  /** What another process finds after this one was killed: no locks, all bytes. */
  killProcess(): MemoryDisk {
    const after = new MemoryDisk();
    for (const folder of this.#folders) after.#folders.add(folder);
    const copies = new Map<Inode, Inode>();
    for (const [names, copy] of [[this.#names, after.#names], [this.#syncedNames, after.#syncedNames]]) {
      for (const [path, inode] of names) {
        const { bytes, dirty, synced } = inode;
        const twin = copies.get(inode) ??
          { bytes: bytes.slice(), dirty: dirty.slice(), synced: synced.slice(), lockedBy: undefined };
        copies.set(inode, twin);
        copy.set(path, twin);
      }
    }
    return after;
  }

  /** What is there after a loss of power: synced names and synced bytes only. */
  cutPower(): MemoryDisk {
    const after = new MemoryDisk();
    for (const folder of this.#folders) after.#folders.add(folder);
    for (const [path, { synced }] of this.#syncedNames) after.put(path, synced);
    return after;
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  get(path: string): Uint8Array {
    return this.#inode(path).bytes.slice();
  }

  /** Puts a file there, synced. */
  put(path: string, bytes: Uint8Array): void {
    const inode = {
      bytes: bytes.slice(),
      dirty: new Uint8Array(bytes.length),
      synced: bytes.slice(),
      lockedBy: undefined,
    };
    this.#names.set(path, inode);
    this.#syncedNames.set(path, inode);
  }

  drop(path: string): void {
    this.#names.delete(path);
    this.#syncedNames.delete(path);
  }

  open(path: string, options: Deno.OpenOptions): Promise<LedgerFile> {
    if (this.#folders.has(path)) return Promise.resolve(this.#openFolder(path));
    const open = () => {
      if (!this.#names.has(path)) {
        if (!options.create) throw new Deno.errors.NotFound(path);
        const empty = () => new Uint8Array();
        this.#names.set(path, { bytes: empty(), dirty: empty(), synced: empty(), lockedBy: undefined });
      }
      const inode = this.#inode(path);
      if (options.truncate) resize(inode, 0);
      return this.#openFile(inode, options.append ?? false);
    };
    // Only an open that may create changes anything.
    return options.create ? this.#step(open) : promise(open);
  }

  readAt(path: string, offsetBytes: number, bytesMax: number): Promise<Uint8Array> {
    return promise(() => this.#inode(path).bytes.slice(offsetBytes, offsetBytes + bytesMax));
  }

  makeFolder(path: string): Promise<void> {
    return this.#step(() => void this.#folders.add(dirname(path)).add(path));
  }

  list(path: string): Promise<string[]> {
    return promise(() =>
      this.paths().filter((name) => dirname(name) === path).map((name) => name.slice(path.length + 1))
    );
  }

  rename(from: string, to: string): Promise<void> {
    return this.#step(() => {
      this.#names.set(to, this.#inode(from));
      this.#names.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#step(() => void this.#names.delete(path));
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw new Deno.errors.NotFound(path);
    return inode;
  }

  /** One operation that may fail. `lost` is what a failure does. */
  #step<T>(work: () => T, lost?: () => void): Promise<T> {
    return promise(() => {
      this.operations += 1;
      const mode = this.operations === this.fault?.at ? this.fault.mode : undefined;
      if (mode === "before") {
        lost?.();
        throw new DiskFaultError(`operation ${this.operations} failed`);
      }
      const result = work();
      if (mode === "after") throw new DiskFaultError(`operation ${this.operations} failed after its work`);
      return result;
    });
  }

  #openFolder(path: string): LedgerFile {
    const refuse = () => Promise.reject(new Deno.errors.IsADirectory(path));
    const sync = () =>
      this.#step(() => {
        for (const name of this.#syncedNames.keys()) {
          if (dirname(name) === path && !this.#names.has(name)) this.#syncedNames.delete(name);
        }
        for (const [name, inode] of this.#names) {
          if (dirname(name) === path) this.#syncedNames.set(name, inode);
        }
      });
    return {
      sync,
      syncData: sync,
      read: refuse,
      write: refuse,
      seek: refuse,
      truncate: refuse,
      tryLock: refuse,
      close() {},
    };
  }

  #openFile(inode: Inode, append: boolean): LedgerFile {
    let position = 0;
    const sync = () =>
      this.#step(() => {
        const synced = new Uint8Array(inode.bytes.length);
        synced.set(inode.synced.subarray(0, synced.length));
        inode.dirty.forEach((flag, offset) => flag && (synced[offset] = inode.bytes[offset]));
        inode.synced = synced;
        inode.dirty.fill(0);
      }, () => inode.dirty.fill(0));
    const file: LedgerFile = {
      sync,
      syncData: sync,
      read: (into) =>
        promise(() => {
          const bytes = inode.bytes.subarray(position, position + into.length);
          into.set(bytes);
          position += bytes.length;
          return bytes.length === 0 ? null : bytes.length;
        }),
      write: (from) =>
        this.#step(() => {
          if (append) position = inode.bytes.length;
          const bytes = from.subarray(0, this.writeBytesMax);
          if (position + bytes.length > inode.bytes.length) resize(inode, position + bytes.length);
          inode.bytes.set(bytes, position);
          inode.dirty.fill(1, position, position + bytes.length);
          position += bytes.length;
          return bytes.length;
        }),
      seek: (offset, whence) =>
        promise(() => position = Number(offset) + (whence === Deno.SeekMode.End ? inode.bytes.length : 0)),
      truncate: (bytes = 0) => this.#step(() => resize(inode, bytes)),
      tryLock: () => promise(() => (inode.lockedBy ??= file) === file),
      close: () => {
        if (inode.lockedBy === file) inode.lockedBy = undefined;
      },
    };
    return file;
  }
}

function resize(inode: Inode, length: number): void {
  for (const layer of ["bytes", "dirty"] as const) {
    const resized = new Uint8Array(length);
    resized.set(inode[layer].subarray(0, length));
    inode[layer] = resized;
  }
}

/** Runs `work` in a turn of its own, as a real disk would. */
async function promise<T>(work: () => T): Promise<T> {
  await Promise.resolve();
  return work();
}
