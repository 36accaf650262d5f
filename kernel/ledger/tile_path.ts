/**
 * A tile is up to 256 consecutive hashes of one level of the tree, or the entries under them; its path is how
 * the public format https://c2sp.org/tlog-tiles names it, here without a leading slash:
 *
 *     tile/<level>/<index>[.p/<width>]
 *     tile/entries/<index>[.p/<width>]
 *
 * The index is in groups of three digits, all but the last after an `x`: 1234067 is `x001/x234/067`. The width
 * of a full tile, 256, is not written.
 *
 * Invariant: a tile has one path, so a cache or a filter in front of us never sees two names of one thing.
 *
 * Pure.
 *
 * @module
 */
export type TilePlace =
  | { readonly kind: "hashes"; readonly level: number; readonly index: number; readonly width: number }
  | { readonly kind: "entries"; readonly index: number; readonly width: number };

/** Hashes, or entries, in a full tile. */
export const tileWidth = 256;

const levelMax = 63;
const entryBytesMax = 0xffff;

/** Six groups hold every safe integer. */
const pathPattern = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/;

/** Undefined unless `path` is the one spelling of a tile's path. */
export function parseTilePath(path: string): TilePlace | undefined {
  const [, kind, groups, digits] = pathPattern.exec(path) ?? [];
  if (kind === undefined) return undefined;
  const level = kind === "entries" ? 0 : Number(kind);
  const index = Number(groups.replace(/[x/]/g, ""));
  const width = digits === undefined ? tileWidth : Number(digits);
  if (level > levelMax || !Number.isSafeInteger(index) || width < 1 || width > tileWidth) return undefined;
  const place: TilePlace = kind === "entries"
    ? { kind, index, width }
    : { kind: "hashes", level, index, width };
  // What is not spelled as we would: zeros in front, a full tile's width.
  return formatTilePath(place) === path ? place : undefined;
}

export function formatTilePath(place: TilePlace): string {
  const digits = String(place.index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").replace(/\d{3}(?=\d)/g, "x$&/");
  const folder = place.kind === "entries" ? "entries" : String(place.level);
  const suffix = place.width === tileWidth ? "" : `.p/${place.width}`;
  return `tile/${folder}/${groups}${suffix}`;
}

/**
 * Whether a log of `size` entries has that tile. A partial tile stays one after the log has outgrown it, since a
 * smaller size had it.
 */
export function isTileOf(place: TilePlace, size: number): boolean {
  const level = place.kind === "entries" ? 0 : place.level;
  // A power of two divides a number exactly, at any level.
  const hashes = Math.floor(size / tileWidth ** level);
  return place.index * tileWidth + place.width <= hashes;
}

/** What a tile of entries holds: each entry behind its length in 16 bits, big endian. */
export function formatEntryTile(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(entries.reduce((sum, { length }) => sum + 2 + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > entryBytesMax) {
      throw new RangeError(`Cannot put an entry of ${entry.length} bytes into a tile: ${entryBytesMax} fit`);
    }
    view.setUint16(at, entry.length);
    bytes.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return bytes;
}
