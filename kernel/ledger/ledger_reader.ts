/**
 * The ledger reader: what can be read of a ledger, all of it of durable sizes.
 *
 * Invariants:
 * - no entry leaves that is not the one that was logged: the leaf hash of each line that is read is held to the one
 *   in the tiles, so that a line which was changed under a running kernel is not served with a hash of its own;
 * - a proof leaves only after it was checked against the signed root hash;
 * - what one request costs has a limit, whatever it asks for: at most one file of the log is held at a time, a
 *   filter looks at so many records and no more, and the event loop gets its turn between files.
 *
 * @module
 */
import { join } from "node:path";
import type { CheckpointView, ConsistencyProof, InclusionProof, LedgerEntry } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { type BundleHeader, formatBundleHeader } from "./bundle.ts";
import { createEntryFilter, type EntryFilter } from "./entry_filter.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { fileRecordsMax, firstIndexOfFile, readLines, splitLines } from "./log_files.ts";
import { ProvenTree, type SignedRoot, tilesDamaged, tilesWritten } from "./proven_tree.ts";
import { decodeLine } from "./record.ts";
import { formatEntryTile, isTileOf, type TilePlace } from "./tile_path.ts";
import { hashBytes, tileHashesMax, type Tiles } from "./tiles.ts";
import { hashLeaf } from "./tree.ts";

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
  /** Rejects with RangeError on an index or a limit that is none, ProblemError INTERNAL where an entry was changed. */
  entries(query: EntriesQuery): Promise<EntriesPage>;
  /** For the newest checkpoint. Rejects with ProblemError: ENTRY_NOT_FOUND, INTERNAL. */
  inclusionProof(index: number): Promise<InclusionProof>;
  /** `to`: the durable size if left out. Rejects with ProblemError: INPUT_INVALID, INTERNAL. */
  consistencyProof(from: number, to?: number): Promise<ConsistencyProof>;
  /** Undefined when the log has not, and had not, such a tile. Rejects with ProblemError INTERNAL. */
  tile(place: TilePlace): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** The entries from `from` to before `to`. Rejects with ProblemError: INPUT_INVALID, INTERNAL. */
  bundle(from: number, to?: number): Promise<Bundle>;
}

export interface LedgerReaderDeps {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
  readonly tiles: Pick<Tiles, "read">;
  /** Of the durable size. */
  checkpoint(): CheckpointView;
  /** Verifier keys of who signs now. */
  keys(): readonly string[];
  /** Records that one request with a filter looks at. */
  readonly filterRecordsMax: number;
}

const limitMax = 1_000;
/** A page ends with the line that reaches this. */
const pageCharsMax = 1_048_576;
/** A reader who takes one of these now and then is not gone. */
const chunkBytesMax = 65_536;

export function createLedgerReader(deps: LedgerReaderDeps): LedgerReader {
  const { checkpoint } = deps;
  const tree = new ProvenTree(deps.tiles);
  const log = new LoggedLines(deps, tree);
  return {
    entries: (query) => readPage(deps, log, query),

    async inclusionProof(index) {
      const { size, rootHash, note } = checkpoint();
      if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
        throw new ProblemError(
          "ENTRY_NOT_FOUND",
          `Cannot prove entry ${index}: the ledger has entries 0 to ${size - 1}`,
        );
      }
      const hashes = await tree.inclusion(index, { size, rootHash: toHex(rootHash) });
      return { index, size, hashes: hashes.map(toBase64), checkpoint: note };
    },

    async consistencyProof(from, to) {
      const signed = signedRoot(checkpoint());
      const end = to ?? signed.size;
      checkRange("prove", from, end, { from: 1, end: signed.size, lengthMin: 0 });
      const hashes = await tree.consistency(from, end, signed);
      return { from, to: end, hashes: hashes.map(toBase64) };
    },

    tile: (place) => readTile(deps, log, place),

    async bundle(from, to) {
      const newest = checkpoint();
      const { origin, size, note } = newest;
      const end = to ?? size;
      checkRange("export", from, end, { from: 0, end: size, lengthMin: 1 });
      const { left, right } = await tree.surroundings(from, end, signedRoot(newest));
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
      return { header, lines: readBundle(log, header) };
    },
  };
}

/** A stretch of one file of the log. */
interface LoggedStretch {
  /** Of the lines, each with its newline. */
  readonly bytes: Uint8Array;
  readonly lines: readonly { readonly bytes: Uint8Array; readonly leafHash: string }[];
}

/** The lines of the log, each held to its leaf hash in the tiles. */
class LoggedLines {
  constructor(private readonly deps: LedgerReaderDeps, private readonly tree: ProvenTree) {}

  /** The entries from `first` to before `end`, durable and in one file. Rejects with ProblemError INTERNAL. */
  async read(first: number, end: number): Promise<LoggedStretch> {
    const { files, folder, tiles, checkpoint } = this.deps;
    // Also the event loop's turn between one file and the next.
    await tilesWritten();
    const tileFirst = firstIndexOfFile(first);
    const width = end - tileFirst;
    const tile = await tiles.read(0, tileFirst / tileHashesMax, width);
    if (tile.length !== width * hashBytes) throw tilesDamaged(`read entry ${first}`);
    const bytes = await readLines(files, join(folder, "log"), first, end);
    const hashes = tile.subarray((first - tileFirst) * hashBytes).toHex();
    const lines: LoggedStretch["lines"][number][] = [];
    for (const { offsetBytes, endBytes } of splitLines(bytes)) {
      const line = bytes.subarray(offsetBytes, endBytes);
      const leafHash = hashLeaf(line);
      if (!hashes.startsWith(leafHash, lines.length * 2 * hashBytes)) {
        throw await this.tree.difference(first + lines.length, signedRoot(checkpoint()));
      }
      lines.push({ bytes: line, leafHash });
    }
    return { bytes, lines };
  }
}

async function readPage(
  { checkpoint, filterRecordsMax }: LedgerReaderDeps,
  log: LoggedLines,
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
    for (const { bytes, leafHash } of (await log.read(index, Math.min(end, endOfFile(index)))).lines) {
      if (isFull()) break;
      const line = decodeLine(bytes);
      if (isAskedFor === undefined || isAskedFor(line)) {
        items.push({ index, leafHash, line });
        chars += line.length;
      }
      index += 1;
    }
  }
  return { items, next: index < size ? index - 1 : null };
}

async function readTile(
  { tiles, checkpoint }: LedgerReaderDeps,
  log: LoggedLines,
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
  const { lines } = await log.read(first, first + width);
  return new Uint8Array(formatEntryTile(lines.map(({ bytes }) => bytes)));
}

async function* readBundle(log: LoggedLines, header: BundleHeader): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield new TextEncoder().encode(formatBundleHeader(header));
  for (let index = header.from; index < header.to; index = endOfFile(index)) {
    const { bytes } = await log.read(index, Math.min(header.to, endOfFile(index)));
    for (let at = 0; at < bytes.length; at += chunkBytesMax) {
      yield bytes.slice(at, at + chunkBytesMax);
    }
  }
}

function signedRoot({ size, rootHash }: CheckpointView): SignedRoot {
  return { size, rootHash: toHex(rootHash) };
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

function toHex(base64: string): string {
  return Uint8Array.fromBase64(base64).toHex();
}

function toBase64(hex: string): string {
  return Uint8Array.fromHex(hex).toBase64();
}
