/**
 * The Merkle tree of RFC 6962: the hash of an entry, of two subtrees, and of a whole log.
 *
 * The hash of an entry serves the chain (`prev`) and the tree at once, so a record costs one SHA-256 and,
 * on average, one node. Hashes are lower-case hex everywhere in the ledger: they compare with `===`, stand
 * in records as they are, and node:crypto makes them faster than Buffers.
 *
 * Invariant: a {@linkcode Frontier} of n leaves holds popcount(n) hashes, so a log of any length is
 * verified in constant memory.
 *
 * Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";

export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Root hash of a tree without leaves. */
export const emptyRootHash: string = sha256Hex("");

/** `SHA-256(0x00 ‖ entry)`. `entry` is the exact line, without its newline. */
export function hashLeaf(entry: string | Uint8Array): string {
  if (typeof entry === "string") return sha256Hex(`\0${entry}`);
  return createHash("sha256").update("\0").update(entry).digest("hex");
}

/** `SHA-256(0x01 ‖ left ‖ right)`. */
export function hashNode(left: string, right: string): string {
  return sha256Hex(Uint8Array.fromHex(`01${left}${right}`));
}

const hashChars = 64;

/** A complete subtree: the `2 ** level` leaves from `index * 2 ** level` on. */
export interface SubtreePlace {
  readonly level: number;
  readonly index: number;
}

/** Roots of the complete subtrees that together are the leaves from `from` to before `to`, left to right. */
export function coverRange(from: number, to: number): SubtreePlace[] {
  const places: SubtreePlace[] = [];
  for (let at = from; at < to;) {
    let [level, width] = [0, 1];
    while (at % (2 * width) === 0 && at + 2 * width <= to) [level, width] = [level + 1, 2 * width];
    places.push({ level, index: at / width });
    at += width;
  }
  return places;
}

/**
 * The right edge of a growing tree: the roots of its complete subtrees, largest first.
 *
 * It is all that is needed to append a leaf and to tell the root.
 */
export class Frontier {
  #size = 0;
  readonly #roots: string[] = [];
  /** Kept: as many bytes anew for each node cost more than their hash. */
  readonly #node = Uint8Array.of(1, ...new Uint8Array(64));
  readonly #children = this.#node.subarray(1);

  /** `completed` is told of each complete subtree, from the leaf up, as an append completes it. */
  constructor(private readonly completed?: (level: number, rootHash: string) => void) {}

  get size(): number {
    return this.#size;
  }

  append(leafHash: string): void {
    this.appendSubtree(leafHash, 0);
  }

  /** Appends the root of a complete subtree of `2 ** level` leaves. The size must be a multiple of that. */
  appendSubtree(rootHash: string, level: number): void {
    const width = 2 ** level;
    if (this.#size % width !== 0) {
      throw new RangeError(`Cannot append ${width} leaves to ${this.#size}: they are no subtree there`);
    }
    let root = rootHash;
    let height = level;
    this.completed?.(height, root);
    // Each trailing one bit of the old size is a complete subtree that the new one completes into a larger
    // one. Division, because the bit operators of JavaScript end at 32 bits.
    for (let rest = this.#size / width; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#roots.pop();
      if (left === undefined) throw new RangeError(`Cannot append leaf ${this.#size}: the frontier is short`);
      root = this.#hashNode(left, root);
      this.completed?.(++height, root);
    }
    this.#roots.push(root);
    this.#size += width;
  }

  /** As {@linkcode hashNode}. */
  #hashNode(left: string, right: string): string {
    if (left.length !== hashChars || right.length !== hashChars) {
      throw new RangeError(`Cannot hash "${left}" and "${right}": they are no hashes`);
    }
    this.#children.setFromHex(left + right);
    return sha256Hex(this.#node);
  }

  rootHash(): string {
    if (this.#roots.length === 0) return emptyRootHash;
    return this.#roots.reduceRight((right, left) => this.#hashNode(left, right));
  }
}
