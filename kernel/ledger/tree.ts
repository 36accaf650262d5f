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
export function hashLeaf(entry: string): string {
  return sha256Hex(`\0${entry}`);
}

/** `SHA-256(0x01 ‖ left ‖ right)`. */
export function hashNode(left: string, right: string): string {
  return sha256Hex(Uint8Array.fromHex(`01${left}${right}`));
}

/**
 * The right edge of a growing tree: the roots of its complete subtrees, largest first.
 *
 * It is all that is needed to append a leaf and to tell the root.
 */
export class Frontier {
  #size = 0;
  readonly #roots: string[] = [];

  get size(): number {
    return this.#size;
  }

  append(leafHash: string): void {
    let root = leafHash;
    // Each trailing one bit of the old size is a complete subtree that the new leaf completes into a larger
    // one. Division, because the bit operators of JavaScript end at 32 bits.
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#roots.pop();
      if (left === undefined) throw new RangeError(`Cannot append leaf ${this.#size}: the frontier is short`);
      root = hashNode(left, root);
    }
    this.#roots.push(root);
    this.#size += 1;
  }

  rootHash(): string {
    if (this.#roots.length === 0) return emptyRootHash;
    return this.#roots.reduceRight((right, left) => hashNode(left, right));
  }
}
