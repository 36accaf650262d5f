/**
 * A tile cache: the hashes of the tiles that proofs were last made of, and what was folded of them.
 *
 * A proof needs eight or so nodes of each of a few tiles, and the right edge of the tree is in every one. Here a
 * tile is read once, and each node in it is hashed once.
 *
 * Invariants:
 * - at most `tilesMax` tiles are held, some 40 KB each; the one that was not asked for the longest goes first;
 * - what is held is as little believed as what is on the disk: who finds it wrong calls {@linkcode TileCache.clear}, so
 *   that tiles which were mended are read again.
 *
 * @module
 */
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { hashBytes, tileHashesMax, tileHeight, type Tiles } from "./tiles.ts";
import { hashNode, type SubtreePlace } from "./tree.ts";

interface CachedTile {
  /** Hashes in it: a tile at the right edge grows. */
  readonly width: number;
  readonly bytes: Promise<Uint8Array>;
  /** By height above the tile's hashes and position among those of that height; see {@linkcode nodeKey}. */
  readonly nodes: Map<number, string>;
}

export class TileCache {
  /** By level and index; the one asked for last is the last. */
  #tiles = new Map<string, CachedTile>();

  constructor(private readonly tiles: Pick<Tiles, "read">, private readonly tilesMax: number) {}

  /** Root hash of a complete subtree of a log of `size`. Rejects with LedgerCorruptError where the tiles end before. */
  async subtree({ level, index }: SubtreePlace, size: number): Promise<string> {
    const tileLevel = Math.floor(level / tileHeight);
    const height = level % tileHeight;
    const position = index * 2 ** height;
    const tileIndex = Math.floor(position / tileHashesMax);
    const first = tileIndex * tileHashesMax;
    const width = Math.min(tileHashesMax, Math.floor(size / tileHashesMax ** tileLevel) - first);
    const tile = this.#tile(tileLevel, tileIndex, width);
    const bytes = await tile.bytes;
    if (bytes.length < tile.width * hashBytes) {
      const path = `tiles/${tileLevel}`;
      throw new LedgerCorruptError(`Cannot read "${path}": it is shorter than the log`, path);
    }
    return foldNode(tile.nodes, bytes, height, (position - first) / 2 ** height);
  }

  clear(): void {
    this.#tiles = new Map();
  }

  #tile(level: number, index: number, width: number): CachedTile {
    const key = `${level}/${index}`;
    const held = this.#tiles.get(key);
    this.#tiles.delete(key);
    if (held !== undefined && held.width >= width) {
      this.#tiles.set(key, held);
      return held;
    }
    const [oldest] = this.#tiles.keys();
    if (oldest !== undefined && this.#tiles.size >= this.tilesMax) this.#tiles.delete(oldest);
    // Complete subtrees of a smaller log are those of a larger one.
    const nodes = held?.nodes ?? new Map<number, string>();
    const tile: CachedTile = { width, bytes: this.tiles.read(level, index, width), nodes };
    this.#tiles.set(key, tile);
    return tile;
  }
}

function foldNode(nodes: Map<number, string>, bytes: Uint8Array, height: number, at: number): string {
  if (height === 0) return bytes.subarray(at * hashBytes, (at + 1) * hashBytes).toHex();
  const key = nodeKey(height, at);
  let hash = nodes.get(key);
  if (hash === undefined) {
    const left = foldNode(nodes, bytes, height - 1, 2 * at);
    const right = foldNode(nodes, bytes, height - 1, 2 * at + 1);
    nodes.set(key, hash = hashNode(left, right));
  }
  return hash;
}

/** Of the binary tree over a tile, numbered from its root, level by level. */
function nodeKey(height: number, at: number): number {
  return 2 ** (tileHeight - height) + at;
}
