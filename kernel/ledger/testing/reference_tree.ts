/**
 * The tree and the proofs of RFC 6962 to the letter of their recursive definitions, for tests to compare with.
 *
 * @module
 */
import { hashLeaf, hashNode } from "../tree.ts";

export class ReferenceTree {
  readonly #roots = new Map<string, string>();

  constructor(readonly leaves: readonly string[]) {}

  /** A log of `size` entries that differ. */
  static ofSize(size: number): ReferenceTree {
    return new ReferenceTree(Array.from({ length: size }, (_, index) => hashLeaf(`entry ${index}`)));
  }

  /** `MTH(D[from:to])`. There is at least one entry in it. */
  root(from: number, to: number): string {
    if (to - from === 1) return this.leaves[from];
    const key = `${from}:${to}`;
    const known = this.#roots.get(key);
    if (known !== undefined) return known;
    const k = from + splitOf(to - from);
    const root = hashNode(this.root(from, k), this.root(k, to));
    this.#roots.set(key, root);
    return root;
  }

  /** `PATH(m, D[from:to])`. */
  path(m: number, from: number, to: number): string[] {
    if (to - from === 1) return [];
    const k = splitOf(to - from);
    return m < k
      ? [...this.path(m, from, from + k), this.root(from + k, to)]
      : [...this.path(m - k, from + k, to), this.root(from, from + k)];
  }

  /** `PROOF(m, D[0:n])`. */
  proof(m: number, n: number): string[] {
    return this.#subproof(m, 0, n, true);
  }

  #subproof(m: number, from: number, to: number, b: boolean): string[] {
    const n = to - from;
    if (m === n) return b ? [] : [this.root(from, to)];
    const k = splitOf(n);
    return m <= k
      ? [...this.#subproof(m, from, from + k, b), this.root(from + k, to)]
      : [...this.#subproof(m - k, from + k, to, false), this.root(from, from + k)];
  }
}

/** The largest power of two below `n`. */
function splitOf(n: number): number {
  return 2 ** (n - 1).toString(2).length / 2;
}
