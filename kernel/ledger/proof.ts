/**
 * Inclusion and consistency proofs of RFC 6962, sections 2.1.1 and 2.1.2: made from the roots of complete
 * subtrees, and checked from nothing but what the caller holds.
 *
 * Both sides walk the tree from its root, with halves instead of bits: the bit operators of JavaScript end at
 * 32 bits, and sizes do not. The walk names the ranges of entries that a proof must hash, so their number and
 * their order are never what the proof says.
 *
 * A proof binds an index to a size, and both to root hashes. That a root hash belongs to a size is the word of
 * the checkpoint that names them.
 *
 * Pure.
 *
 * @module
 */
import { coverRange, hashNode, type SubtreePlace } from "./tree.ts";

/** Root hash of the complete subtree at `place` of the log. */
export type ReadSubtree = (place: SubtreePlace) => Promise<string>;

/** A proof that does not prove what it is for. */
export class ProofError extends Error {
  override name = "ProofError";
}

export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: string;
  readonly rootHash: string;
  readonly hashes: readonly string[];
}

export interface ConsistencyClaim {
  readonly from: number;
  readonly to: number;
  readonly fromRootHash: string;
  readonly toRootHash: string;
  readonly hashes: readonly string[];
}

/** The entries from `from` to before `to`: a node of the tree of some size. */
interface Range {
  readonly from: number;
  readonly to: number;
}

const hashPattern = /^[0-9a-f]{64}$/;

/** That entry `index` is in the first `size`, leaf to root. Throws RangeError where there is no such entry. */
export async function createInclusionProof(
  index: number,
  size: number,
  read: ReadSubtree,
): Promise<string[]> {
  if (!isInclusion(index, size)) {
    throw new RangeError(`Cannot prove entry ${index} in ${size} entries: there is no such entry`);
  }
  return await readRanges(siblingsOf(index, size), read);
}

/** That the first `from` entries begin the first `to`. Throws RangeError where the sizes make no sense. */
export async function createConsistencyProof(
  from: number,
  to: number,
  read: ReadSubtree,
): Promise<string[]> {
  if (!isConsistency(from, to)) {
    throw new RangeError(`Cannot prove ${from} entries in ${to}: the first size must be 1 to the second`);
  }
  const { edge, siblings } = siblingsOfEdge(from, to);
  return await readRanges(edge.from === 0 ? siblings : [edge, ...siblings], read);
}

/** Throws {@linkcode ProofError} unless `hashes` lead from the leaf at `index` to the root of `size` entries. */
export function checkInclusion({ index, size, leafHash, rootHash, hashes }: InclusionClaim): void {
  const action = `Cannot check entry ${index} in ${size} entries`;
  if (!isInclusion(index, size)) throw new ProofError(`${action}: there is no such entry`);
  const siblings = siblingsOf(index, size);
  checkHashes(action, hashes, siblings.length, [leafHash, rootHash]);
  const root = siblings.reduce((hash, sibling, at) => {
    return sibling.from < index ? hashNode(hashes[at], hash) : hashNode(hash, hashes[at]);
  }, leafHash);
  if (root !== rootHash) throw new ProofError(`${action}: the proof leads to another root hash`);
}

/** Throws {@linkcode ProofError} unless `hashes` lead to the roots of both sizes, the first being 1 at least. */
export function checkConsistency(claim: ConsistencyClaim): void {
  const { from, to, fromRootHash, toRootHash, hashes } = claim;
  const action = `Cannot check ${from} entries in ${to}`;
  if (!isConsistency(from, to)) {
    throw new ProofError(`${action}: the first size must be 1 to the second`);
  }
  if (from === to) {
    // Nothing is hashed: whatever the two are, they are consistent if they are one.
    if (hashes.length === 0 && fromRootHash === toRootHash) return;
    throw new ProofError(`${action}: equal sizes have one root hash, and an empty proof`);
  }
  const { edge, siblings } = siblingsOfEdge(from, to);
  // An edge from the first entry on is the whole first tree, whose root the caller has.
  const isEdgeKnown = edge.from === 0;
  checkHashes(action, hashes, siblings.length + (isEdgeKnown ? 0 : 1), [fromRootHash, toRootHash]);
  const [start, ...rest] = isEdgeKnown ? [fromRootHash, ...hashes] : hashes;
  let [fromRoot, toRoot] = [start, start];
  siblings.forEach((sibling, at) => {
    if (sibling.from < from) {
      fromRoot = hashNode(rest[at], fromRoot);
      toRoot = hashNode(rest[at], toRoot);
    } else {
      toRoot = hashNode(toRoot, rest[at]);
    }
  });
  if (fromRoot !== fromRootHash) {
    throw new ProofError(`${action}: the proof leads to another root hash of ${from}`);
  }
  if (toRoot !== toRootHash) throw new ProofError(`${action}: the proof leads to another root hash of ${to}`);
}

function isInclusion(index: number, size: number): boolean {
  return Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size;
}

function isConsistency(from: number, to: number): boolean {
  return Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 1 && from <= to;
}

function checkHashes(
  action: string,
  hashes: readonly string[],
  count: number,
  others: readonly string[],
): void {
  // The count first: then no proof costs more than the few hashes that it may have.
  if (hashes.length !== count) {
    throw new ProofError(`${action}: the proof has ${hashes.length} hashes, and must have ${count}`);
  }
  for (const hash of [...hashes, ...others]) {
    if (!hashPattern.test(hash)) throw new ProofError(`${action}: a hash is not 64 digits of hex`);
  }
}

/** What stands beside the way from leaf `index` to the root of `size` entries, in this order: PATH of the RFC. */
function siblingsOf(index: number, size: number): Range[] {
  const siblings: Range[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      siblings.push({ from: middle, to });
      to = middle;
    } else {
      siblings.push({ from, to: middle });
      from = middle;
    }
  }
  return siblings.reverse();
}

/**
 * The largest node of both trees that ends with entry `size - 1`, and what stands beside the way from it to the
 * root of `to` entries: SUBPROOF of the RFC.
 */
function siblingsOfEdge(size: number, toSize: number): { edge: Range; siblings: Range[] } {
  const siblings: Range[] = [];
  let [from, to] = [0, toSize];
  while (to !== size) {
    const middle = from + splitOf(to - from);
    if (size <= middle) {
      siblings.push({ from: middle, to });
      to = middle;
    } else {
      siblings.push({ from, to: middle });
      from = middle;
    }
  }
  return { edge: { from, to }, siblings: siblings.reverse() };
}

/** The largest power of two below `count`: how many leaves a node of `count` has on its left. */
function splitOf(count: number): number {
  let split = 1;
  while (2 * split < count) split *= 2;
  return split;
}

/** The hash of each range. At most one of them, at the right edge, is not a complete subtree already. */
function readRanges(ranges: readonly Range[], read: ReadSubtree): Promise<string[]> {
  return Promise.all(ranges.map(async ({ from, to }) => {
    const roots = await Promise.all(coverRange(from, to).map(read));
    return roots.reduceRight((right, left) => hashNode(left, right));
  }));
}
