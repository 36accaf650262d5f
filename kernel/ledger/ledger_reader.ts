/**
 * The ledger reader: what can be read of a ledger, all of it of durable sizes.
 *
 * Invariants:
 * - a proof leaves only after it was checked against the signed root hash: tiles are derived, and a damaged one
 *   must not become a proof that accuses an honest log;
 * - what one request costs has a limit, whatever it asks for: at most one file of the log is held at a time, a
 *   filter looks at so many records and no more, and the event loop gets its turn between files.
 *
 * @module
 */
import { join } from "node:path";
import { setImmediate } from "node:timers";
import type { CheckpointView, ConsistencyProof, InclusionProof, LedgerEntry } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { type BundleHeader, formatBundleHeader } from "./bundle.ts";
import { LedgerCorruptError } from "./corrupt_error.ts";
import { createEntryFilter, type EntryFilter } from "./entry_filter.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { fileRecordsMax, firstIndexOfFile, readLines, splitLines } from "./log_files.ts";
import {
  checkConsistency,
  checkInclusion,
  createConsistencyProof,
  createInclusionProof,
  ProofError,
} from "./proof.ts";
import { decodeLine } from "./record.ts";
import { formatEntryTile, isTileOf, type TilePlace } from "./tile_path.ts";
import { hashBytes, tileHashesMax, type Tiles } from "./tiles.ts";
import { coverRange, Frontier, hashLeaf, type SubtreePlace } from "./tree.ts";

export interface EntriesQuery extends EntryFilter {
  /** Index of the last entry already read. */
  readonly after?: number | undefined;
  /** 1 to 1000. */
  readonly limit: number;
}

export interface EntriesPage {
  /** Ascending. Fewer than `limit` where a filter has looked at enough records, or the lines are long. */
  readonly items: LedgerEntry[];
  /** Index to go on after, or null at the end. */
  readonly next: number | null;
}

export interface Bundle {
  readonly header: BundleHeader;
  /** All of the bundle, its header line first. */
  readonly lines: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface LedgerReader {
  /** Throws RangeError on an index or a limit that is none. */
  entries(query: EntriesQuery): Promise<EntriesPage>;
  /** For the newest checkpoint. Rejects with ProblemError: ENTRY_NOT_FOUND, INTERNAL. */
  inclusionProof(index: number): Promise<InclusionProof>;
  /** `to`: the durable size if left out. Rejects with ProblemError: INPUT_INVALID, INTERNAL. */
  consistencyProof(from: number, to?: number): Promise<ConsistencyProof>;
  /** Undefined when the log has not, and had not, such a tile. */
  tile(place: TilePlace): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** The entries from `from` to before `to`. Rejects with ProblemError: INPUT_INVALID, INTERNAL. */
  bundle(from: number, to?: number): Promise<Bundle>;
}

export interface LedgerReaderDeps {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
  readonly tiles: Pick<Tiles, "subtree" | "read">;
  /** Of the durable size. */
  checkpoint(): CheckpointView;
  /** Verifier keys of who signs now. */
  keys(): readonly string[];
  /** Records that one request with a filter looks at. */
  readonly filterRecordsMax: number;
}

const limitMax = 1_000;
/** A page ends with the line that reaches this. */
const pageCharsMax = 8_388_608;
/** A reader who takes one of these now and then is not gone. */
const chunkBytesMax = 65_536;

export function createLedgerReader(deps: LedgerReaderDeps): LedgerReader {
  const { checkpoint } = deps;
  const tree = new ProvenTree(deps);
  return {
    entries: (query) => readPage(deps, query),

    async inclusionProof(index) {
      const { size, rootHash, note } = checkpoint();
      if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
        throw new ProblemError(
          "ENTRY_NOT_FOUND",
          `Cannot prove entry ${index}: the ledger has entries 0 to ${size - 1}`,
        );
      }
      const hashes = await tree.inclusion(index, size, toHex(rootHash));
      return { index, size, hashes: hashes.map(toBase64), checkpoint: note };
    },

    async consistencyProof(from, to) {
      const { size, rootHash } = checkpoint();
      const end = to ?? size;
      checkRange("prove", from, end, { from: 1, end: size, lengthMin: 0 });
      const hashes = await tree.consistency(from, end, { size, rootHash: toHex(rootHash) });
      return { from, to: end, hashes: hashes.map(toBase64) };
    },

    tile: (place) => readTile(deps, place),

    async bundle(from, to) {
      const { origin, size, rootHash, note } = checkpoint();
      const end = to ?? size;
      checkRange("export", from, end, { from: 0, end: size, lengthMin: 1 });
      const { left, right } = await tree.surroundings(from, end, { size, rootHash: toHex(rootHash) });
      const header: BundleHeader = {
        format: "airlock-ledger-bundle@v1",
        origin,
        from,
        to: end,
        size,
        keys: [...deps.keys()],
        left: left.map(toBase64),
        right: right.map(toBase64),
        checkpoint: note,
      };
      return { header, lines: readBundle(deps, header) };
    },
  };
}

async function readPage(
  { files, folder, checkpoint, filterRecordsMax }: LedgerReaderDeps,
  { after = -1, limit, ...filter }: EntriesQuery,
): Promise<EntriesPage> {
  if (
    !Number.isSafeInteger(after) || after < -1 || !Number.isInteger(limit) || limit < 1 || limit > limitMax
  ) {
    throw new RangeError(`Cannot read ${limit} entries after ${after}: at most ${limitMax} after an index`);
  }
  const isAskedFor = createEntryFilter(filter);
  const first = after + 1;
  const { size } = checkpoint();
  const end = Math.min(size, first + (isAskedFor === undefined ? limit : filterRecordsMax));
  const items: LedgerEntry[] = [];
  let chars = 0;
  const isFull = () => items.length >= limit || chars >= pageCharsMax;
  let index = first;
  while (index < end && !isFull()) {
    if (index > first) await eventLoopTurn();
    const bytes = await readLines(files, join(folder, "log"), index, Math.min(end, endOfFile(index)));
    for (const { offsetBytes, endBytes } of splitLines(bytes)) {
      if (isFull()) break;
      const line = decodeLine(bytes.subarray(offsetBytes, endBytes));
      if (isAskedFor === undefined || isAskedFor(line)) {
        items.push({ index, leafHash: hashLeaf(line), line });
        chars += line.length;
      }
      index += 1;
    }
  }
  return { items, next: index < size ? index - 1 : null };
}

async function readTile(
  { files, folder, tiles, checkpoint }: LedgerReaderDeps,
  place: TilePlace,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (!isTileOf(place, checkpoint().size)) return undefined;
  const { index, width } = place;
  if (place.kind === "hashes") {
    await tilesWritten();
    const bytes = await tiles.read(place.level, index, width);
    if (bytes.length !== width * hashBytes) throw tilesDamaged(`read tile ${index} of level ${place.level}`);
    return new Uint8Array(bytes);
  }
  // One file of the log is one tile of entries.
  const first = index * tileHashesMax;
  const bytes = await readLines(files, join(folder, "log"), first, first + width);
  const entries = Array.from(splitLines(bytes), (span) => bytes.subarray(span.offsetBytes, span.endBytes));
  return new Uint8Array(formatEntryTile(entries));
}

async function* readBundle(
  { files, folder }: LedgerReaderDeps,
  header: BundleHeader,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield new TextEncoder().encode(formatBundleHeader(header));
  for (let index = header.from; index < header.to; index = endOfFile(index)) {
    const end = Math.min(header.to, endOfFile(index));
    const bytes = await readLines(files, join(folder, "log"), index, end);
    for (let at = 0; at < bytes.length; at += chunkBytesMax) {
      yield bytes.slice(at, at + chunkBytesMax);
    }
  }
}

/** Hashes out of the tiles, each set of them checked against a signed root. */
class ProvenTree {
  readonly #read: (place: SubtreePlace) => Promise<string>;

  constructor({ tiles }: Pick<LedgerReaderDeps, "tiles">) {
    this.#read = (place) => tiles.subtree(place);
  }

  inclusion(index: number, size: number, rootHash: string): Promise<string[]> {
    return this.#prove(`prove entry ${index}`, async () => {
      const leafHash = await this.#read({ level: 0, index });
      const hashes = await createInclusionProof(index, size, this.#read);
      checkInclusion({ index, size, leafHash, rootHash, hashes });
      return hashes;
    });
  }

  consistency(from: number, to: number, signed: { size: number; rootHash: string }): Promise<string[]> {
    return this.#prove(`prove that ${to} entries begin with ${from}`, async () => {
      const [fromRootHash, toRootHash] = [await this.#rootHash(from), await this.#rootHash(to)];
      const hashes = await createConsistencyProof(from, to, this.#read);
      checkConsistency({ from, to, fromRootHash, toRootHash, hashes });
      // Nobody signed the root of `to` where it is not the newest: it is checked as the signed one's beginning.
      const { size } = signed;
      const anchored = await createConsistencyProof(to, size, this.#read);
      const roots = { fromRootHash: toRootHash, toRootHash: signed.rootHash };
      checkConsistency({ from: to, to: size, ...roots, hashes: anchored });
      return hashes;
    });
  }

  /** Roots of the complete subtrees before `from`, and from `to` on. */
  surroundings(
    from: number,
    to: number,
    { size, rootHash }: { size: number; rootHash: string },
  ): Promise<{ left: string[]; right: string[] }> {
    return this.#prove(`export entries ${from} to ${to - 1}`, async () => {
      const frontier = new Frontier();
      const left = await this.#append(frontier, 0, from);
      await this.#append(frontier, from, to);
      const right = await this.#append(frontier, to, size);
      if (frontier.rootHash() !== rootHash) throw new ProofError("the tiles have another root hash");
      return { left, right };
    });
  }

  async #rootHash(size: number): Promise<string> {
    const frontier = new Frontier();
    await this.#append(frontier, 0, size);
    return frontier.rootHash();
  }

  /** Gives the roots that it appended. */
  async #append(frontier: Frontier, from: number, to: number): Promise<string[]> {
    const hashes: string[] = [];
    for (const place of coverRange(from, to)) {
      const hash = await this.#read(place);
      frontier.appendSubtree(hash, place.level);
      hashes.push(hash);
    }
    return hashes;
  }

  async #prove<T>(action: string, prove: () => Promise<T>): Promise<T> {
    await tilesWritten();
    try {
      return await prove();
    } catch (error) {
      if (error instanceof ProofError || error instanceof LedgerCorruptError) {
        throw tilesDamaged(action, error);
      }
      throw error;
    }
  }
}

function tilesDamaged(action: string, cause?: Error): ProblemError {
  const remedy =
    "stop Airlock, remove the folder ledger/tiles from its data folder and start it again: they " +
    "are then made anew from the log";
  return new ProblemError("INTERNAL", `Cannot ${action}: the ledger's tiles are damaged; ${remedy}`, {
    cause,
  });
}

function checkRange(
  action: string,
  from: number,
  to: number,
  bounds: { from: number; end: number; lengthMin: number },
): void {
  const areSafe = Number.isSafeInteger(from) && Number.isSafeInteger(to);
  if (areSafe && from >= bounds.from && to <= bounds.end && to - from >= bounds.lengthMin) return;
  const range = `"from" must be ${bounds.from} or more, "to" at least ${
    bounds.lengthMin === 0 ? "that" : "one more"
  } and at most ${bounds.end}`;
  throw new ProblemError("INPUT_INVALID", `Cannot ${action} "from=${from}&to=${to}": ${range}`);
}

/** Index of the first entry of the next file. */
function endOfFile(index: number): number {
  return firstIndexOfFile(index) + fileRecordsMax;
}

/** The tiles of entries that just became durable are begun in the same turn, after their callers were told. */
const tilesWritten = eventLoopTurn;

function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function toHex(base64: string): string {
  return Uint8Array.fromBase64(base64).toHex();
}

function toBase64(hex: string): string {
  return Uint8Array.fromHex(hex).toBase64();
}
