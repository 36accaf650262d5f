/**
 * Our own set of proofs to refuse: a right one, and each way we know to make it wrong, one at a time. It covers
 * the ground of the vectors of transparency-dev/merkle where those are absent.
 *
 * @module
 */
import type { ConsistencyClaim, InclusionClaim } from "../proof.ts";
import { emptyRootHash, hashLeaf } from "../tree.ts";
import { ReferenceTree } from "./reference_tree.ts";

export interface MerkleCase<Claim> {
  readonly name: string;
  readonly claim: Claim;
}

type Change<Claim> = readonly [name: string, change: Partial<Claim>];

const randomHash = hashLeaf("random");

/** The last has indexes and sizes on both sides of a full subtree, and a right edge of more than one part. */
const inclusions = [[0, 1], [0, 2], [1, 2], [0, 8], [5, 8], [7, 8], [2, 3], [1, 5], [4, 5], [6, 7], [40, 43]];
const consistencies = [[1, 1], [8, 8], [1, 2], [1, 8], [6, 8], [7, 8], [2, 5], [4, 5], [6, 7], [3, 7], [
  24,
  43,
]];

const tree = ReferenceTree.ofSize(43);

export function rightInclusions(): MerkleCase<InclusionClaim>[] {
  return inclusions.map(([index, size]) => ({
    name: `entry ${index} of ${size}`,
    claim: {
      index,
      size,
      leafHash: tree.leaves[index],
      rootHash: tree.root(0, size),
      hashes: tree.path(index, 0, size),
    },
  }));
}

export function rightConsistencies(): MerkleCase<ConsistencyClaim>[] {
  return consistencies.map(([from, to]) => ({
    name: `${from} in ${to}`,
    claim: {
      from,
      to,
      fromRootHash: tree.root(0, from),
      toRootHash: tree.root(0, to),
      hashes: tree.proof(from, to),
    },
  }));
}

export function wrongInclusions(): MerkleCase<InclusionClaim>[] {
  return rightInclusions().flatMap(({ name, claim }) => {
    const { index, size, leafHash, rootHash, hashes } = claim;
    return changed(name, claim, [
      ...wrongNumbers(index).map((wrong): Change<InclusionClaim> => [`index ${wrong}`, { index: wrong }]),
      ["index of the size", { index: size }],
      ...[2 * size, Math.floor(size / 2), 0, -size, NaN, Infinity, size + 0.5]
        .map((wrong): Change<InclusionClaim> => [`size ${wrong}`, { size: wrong }]),
      ...wrongHashes(rootHash).map(([what, wrong]): Change<InclusionClaim> => [
        `root ${what}`,
        { rootHash: wrong },
      ]),
      ...wrongHashes(leafHash).map(([what, wrong]): Change<InclusionClaim> => [
        `leaf ${what}`,
        { leafHash: wrong },
      ]),
      ["leaf and root empty", { leafHash: "", rootHash: "" }],
      ...wrongLists(hashes, [rootHash, leafHash])
        .map(([what, wrong]): Change<InclusionClaim> => [`proof ${what}`, { hashes: wrong }]),
    ]);
  });
}

export function wrongConsistencies(): MerkleCase<ConsistencyClaim>[] {
  return rightConsistencies().flatMap(({ name, claim }) => {
    const { from, to, fromRootHash, toRootHash, hashes } = claim;
    return changed(name, claim, [
      ...[...wrongNumbers(from), 0, to + 1, 2 * to]
        .map((wrong): Change<ConsistencyClaim> => [`first size ${wrong}`, { from: wrong }]),
      ...[2 * to, Math.floor(to / 2), 0, -to, NaN, Infinity, to + 0.5]
        .map((wrong): Change<ConsistencyClaim> => [`second size ${wrong}`, { to: wrong }]),
      ["both sizes 0", {
        from: 0,
        to: 0,
        fromRootHash: emptyRootHash,
        toRootHash: emptyRootHash,
        hashes: [],
      }],
      ...wrongHashes(fromRootHash)
        .map(([what, wrong]): Change<ConsistencyClaim> => [`first root ${what}`, { fromRootHash: wrong }]),
      ...wrongHashes(toRootHash)
        .map(([what, wrong]): Change<ConsistencyClaim> => [`second root ${what}`, { toRootHash: wrong }]),
      // Two equal sizes have one root, and it is right either way.
      ...(from === to ? [] : [
        [
          "roots swapped",
          { fromRootHash: toRootHash, toRootHash: fromRootHash },
        ] as const,
      ]),
      ...wrongLists(hashes, [fromRootHash, toRootHash])
        .map(([what, wrong]): Change<ConsistencyClaim> => [`proof ${what}`, { hashes: wrong }]),
    ]);
  });
}

function changed<Claim>(
  name: string,
  claim: Claim,
  changes: readonly Change<Claim>[],
): MerkleCase<Claim>[] {
  return changes.map(([what, change]) => ({ name: `${name}: ${what}`, claim: { ...claim, ...change } }));
}

/** Near it, and the same number to an operator of 32 bits. */
function wrongNumbers(right: number): number[] {
  const xor2 = right % 4 < 2 ? right + 2 : right - 2;
  return [
    right + 1,
    right - 1,
    xor2,
    right + 2 ** 32,
    right - 2 ** 32,
    right + 2 ** 53,
    right + 0.5,
    -1,
    NaN,
  ];
}

function wrongHashes(right: string): [what: string, wrong: string][] {
  return [
    ["empty", ""],
    ["of an empty tree", emptyRootHash],
    ["random", randomHash],
    ["in upper case", right.toUpperCase()],
    ["with a newline", `${right}\n`],
    ["short", right.slice(2)],
    ["long", `${right}00`],
    ["not hex", `${right.slice(1)}g`],
    ...flips(right),
  ];
}

/** Each of the 256 bits. */
function flips(right: string): [what: string, wrong: string][] {
  return Array.from({ length: 256 }, (_, bit) => {
    const bytes = Uint8Array.fromHex(right);
    bytes[bit >> 3] ^= 1 << (bit & 7);
    return [`with bit ${bit} flipped`, bytes.toHex()];
  });
}

function wrongLists(right: readonly string[], known: readonly string[]): [what: string, wrong: string[]][] {
  const lists: [what: string, wrong: string[]][] = [];
  for (const extra of ["", randomHash, emptyRootHash, ...known, ...right.slice(0, 1)]) {
    for (let at = 0; at <= right.length; at++) {
      lists.push([`with ${extra || "an empty hash"} before ${at}`, right.toSpliced(at, 0, extra)]);
    }
  }
  lists.push(["of very many", Array<string>(100_000).fill(randomHash)]);
  if (right.length > 0) lists.push(["empty", []], ["with holes", Array<string>(right.length)]);
  right.forEach((hash, at) => {
    lists.push([`without ${at}`, right.toSpliced(at, 1)]);
    for (const [what, wrong] of wrongHashes(hash)) lists.push([`${at} ${what}`, right.with(at, wrong)]);
    // All of them differ, so another order is another proof.
    if (at > 0) {
      lists.push([`${at} and the one before swapped`, right.with(at, right[at - 1]).with(at - 1, hash)]);
    }
  });
  return lists;
}
