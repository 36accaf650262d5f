/**
 * Tiles are the hashes of the tree as https://c2sp.org/tlog-tiles cuts them: a tile of level L holds the roots of
 * up to 256 neighbouring complete subtrees of `256 ** L` leaves. They make a proof cost a few reads, however long
 * the log is, and let a start begin near its end.
 *
 * On disk `tiles/<level>` is all tiles of one level, one after the other, 32 bytes a hash, so a tile is a stretch
 * of its file. Tiles are derived: what they say is believed only as far as it gives a signed root hash, and
 * a start that finds something else makes them anew from the log.
 *
 * Invariant: level L holds `floor(size / 256 ** L)` hashes. They are synced before a checkpoint of their size is
 * published; what lies above that may be lost or torn by a crash, and is written again at the next start.
 *
 * @module
 */
import { join } from "node:path";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import {
  fileMode,
  type LedgerFile,
  type LedgerFiles,
  makeDurableFolder,
  syncFolder,
  withFile,
  writeAll,
} from "./ledger_files.ts";
import { coverRange, Frontier, hashNode, type SubtreePlace } from "./tree.ts";

/** Hashes of a full tile; the roots of a level lie this many levels of the tree above those of the level below. */
export const tileHashesMax = 256;
export const tileHeight = 8;
export const hashBytes = 32;
/** A tree of more leaves than a safe integer counts does not exist. */
const levelsMax = 7;

export class Tiles {
  #size = 0;
  /** By level; once {@linkcode reset}, the position of each is the end of its file. */
  readonly #levels: LedgerFile[] = [];
  /** Hashes to be written, by level. */
  #pending: string[][] = [];
  readonly #isDirty: boolean[] = [];

  private constructor(private readonly files: LedgerFiles, private readonly folder: string) {}

  /**
   * Opens the tiles in `folder`, or begins them. They are not believed yet: see {@linkcode frontier}. All files
   * are there from the start, so that {@linkcode write} never waits for one.
   */
  static async open(files: LedgerFiles, folder: string): Promise<Tiles> {
    await makeDurableFolder(files, folder);
    const tiles = new Tiles(files, folder);
    try {
      for (let level = 0; level < levelsMax; level++) {
        const options = { read: true, write: true, create: true, mode: fileMode };
        tiles.#levels.push(await files.open(tiles.#path(level), options));
      }
      await syncFolder(files, folder);
      return tiles;
    } catch (error) {
      tiles.close();
      throw error;
    }
  }

  /** Leaves that are in it. */
  get size(): number {
    return this.#size;
  }

  /**
   * The tree of the leaves up to the last of `borders`, as the files have it, put together of what lies between
   * one border and the next. Undefined when the files are shorter than that.
   */
  async frontier(...borders: number[]): Promise<Frontier | undefined> {
    if (!await this.#isAsLongAs(borders.at(-1) ?? 0)) return undefined;
    const frontier = new Frontier();
    for (const border of borders) {
      for (const place of coverRange(frontier.size, border)) {
        const hash = await this.#hash(place);
        if (hash === undefined) return undefined;
        frontier.appendSubtree(hash, place.level);
      }
    }
    return frontier;
  }

  /** Forgets all but the first `size` leaves, a multiple of 256. */
  async reset(size: number): Promise<void> {
    this.#size = size;
    for (const [level, file] of this.#levels.entries()) {
      const bytes = Math.floor(size / tileHashesMax ** level) * hashBytes;
      await file.truncate(bytes);
      await file.seek(bytes, Deno.SeekMode.Start);
      this.#isDirty[level] = true;
    }
  }

  /** Takes note of a subtree that is complete; see {@linkcode Frontier}. {@linkcode write} writes it. */
  take(level: number, rootHash: string): void {
    if (level % tileHeight === 0) (this.#pending[level / tileHeight] ??= []).push(rootHash);
  }

  /** Writes what was taken. */
  async write(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    for (const [level, file] of this.#levels.entries()) {
      const hashes = pending[level];
      if (hashes === undefined) continue;
      await writeAll(file, Uint8Array.fromHex(hashes.join("")));
      this.#isDirty[level] = true;
    }
    this.#size += pending[0]?.length ?? 0;
  }

  /** Replaces hashes that are there; durable when it resolves. */
  async put(level: number, position: number, hashes: readonly string[]): Promise<void> {
    await withFile(this.files, this.#path(level), { write: true }, async (file) => {
      await file.seek(position * hashBytes, Deno.SeekMode.Start);
      await writeAll(file, Uint8Array.fromHex(hashes.join("")));
      await file.syncData();
    });
  }

  /** What was written is durable when it resolves. */
  async sync(): Promise<void> {
    for (const [level, file] of this.#levels.entries()) {
      if (!this.#isDirty[level]) continue;
      this.#isDirty[level] = false;
      await file.syncData();
    }
  }

  /** Root hash of a complete subtree. Throws LedgerCorruptError when the files do not have it. */
  async subtree(place: SubtreePlace): Promise<string> {
    const hash = await this.#hash(place);
    if (hash === undefined) {
      const path = this.#path(Math.floor(place.level / tileHeight));
      throw new LedgerCorruptError(`Cannot read tiles "${path}": they are shorter than the log`, path);
    }
    return hash;
  }

  /** The first `width` hashes of a tile, 32 bytes each; fewer when the file ends before. */
  async read(level: number, index: number, width: number): Promise<Uint8Array> {
    if (level >= levelsMax) return new Uint8Array();
    const offsetBytes = index * tileHashesMax * hashBytes;
    return await this.#read(level, offsetBytes, width * hashBytes);
  }

  close(): void {
    for (const file of this.#levels.splice(0)) file.close();
  }

  async #isAsLongAs(size: number): Promise<boolean> {
    for (let level = 0; level < levelsMax; level++) {
      const hashes = Math.floor(size / tileHashesMax ** level);
      if (hashes === 0) break;
      if ((await this.#read(level, (hashes - 1) * hashBytes, hashBytes)).length < hashBytes) return false;
    }
    return true;
  }

  /** Folds the hashes of the level below it in a tile. */
  async #hash({ level, index }: SubtreePlace): Promise<string | undefined> {
    const width = 2 ** (level % tileHeight);
    const tileLevel = Math.floor(level / tileHeight);
    if (tileLevel >= levelsMax) return undefined;
    const bytes = await this.#read(tileLevel, index * width * hashBytes, width * hashBytes);
    if (bytes.length < width * hashBytes) return undefined;
    let hashes = Array.from(
      { length: width },
      (_, at) => bytes.subarray(at * hashBytes, (at + 1) * hashBytes).toHex(),
    );
    while (hashes.length > 1) hashes = foldPairs(hashes);
    return hashes[0];
  }

  async #read(level: number, offsetBytes: number, bytesMax: number): Promise<Uint8Array> {
    return await this.files.readAt(this.#path(level), offsetBytes, bytesMax);
  }

  #path(level: number): string {
    return join(this.folder, String(level));
  }
}

function foldPairs(hashes: readonly string[]): string[] {
  return Array.from(
    { length: hashes.length / 2 },
    (_, pair) => hashNode(hashes[2 * pair], hashes[2 * pair + 1]),
  );
}
