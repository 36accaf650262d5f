import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkConsistency,
  checkInclusion,
  createConsistencyProof,
  createInclusionProof,
  ProofError,
  type ReadSubtree,
} from "./proof.ts";
import {
  rightConsistencies,
  rightInclusions,
  wrongConsistencies,
  wrongInclusions,
} from "./testing/merkle_cases.ts";
import { readMerkleVectors } from "./testing/merkle_vectors.ts";
import { ReferenceTree } from "./testing/reference_tree.ts";
import { coverRange, Frontier, hashLeaf, hashNode, type SubtreePlace } from "./tree.ts";

const sizeMax = 130;
const tree = ReferenceTree.ofSize(sizeMax);
const readTree: ReadSubtree = ({ level, index }) => {
  const width = 2 ** level;
  return Promise.resolve(tree.root(index * width, (index + 1) * width));
};

/** Whether it is accepted. What is not a {@linkcode ProofError} comes through. */
function accepts(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

for (const [kind, count] of [["inclusion", 98], ["consistency", 420]] as const) {
  const vectors = readMerkleVectors(kind);
  const name =
    `check functions agree with the ${count} vectors merkle_${kind}.json of transparency-dev/merkle`;
  Deno.test({
    name,
    ignore: vectors === undefined,
    fn() {
      const wrong = vectors?.filter(({ check, wantErr }) => accepts(check) === wantErr);
      assert.deepEqual(wrong?.map(({ name }) => name), []);
      assert.equal(vectors?.length, count);
    },
  });
}

Deno.test("checkInclusion() accepts the right cases of our own set and refuses the wrong ones", () => {
  const refused = rightInclusions().filter(({ claim }) => !accepts(() => checkInclusion(claim)));
  assert.deepEqual(refused.map(({ name }) => name), []);
  const wrong = wrongInclusions();
  assert.deepEqual(
    wrong.filter(({ claim }) => accepts(() => checkInclusion(claim))).map(({ name }) => name),
    [],
  );
  assert.ok(wrong.length > 10_000, `${wrong.length} cases`);
});

Deno.test("checkConsistency() accepts the right cases of our own set and refuses the wrong ones", () => {
  const refused = rightConsistencies().filter(({ claim }) => !accepts(() => checkConsistency(claim)));
  assert.deepEqual(refused.map(({ name }) => name), []);
  const wrong = wrongConsistencies();
  assert.deepEqual(
    wrong.filter(({ claim }) => accepts(() => checkConsistency(claim))).map(({ name }) => name),
    [],
  );
  assert.ok(wrong.length > 10_000, `${wrong.length} cases`);
});

Deno.test("the reference tree has the roots of Frontier", () => {
  const frontier = new Frontier();
  for (let size = 1; size <= sizeMax; size++) {
    frontier.append(hashLeaf(`entry ${size - 1}`));
    assert.equal(tree.root(0, size), frontier.rootHash(), `${size}`);
  }
});

Deno.test("createInclusionProof() is PATH of RFC 6962 for every entry of every size up to 130", async () => {
  const claims = [];
  for (let size = 1; size <= sizeMax; size++) {
    for (let index = 0; index < size; index++) {
      const hashes = await createInclusionProof(index, size, readTree);
      assert.deepEqual(hashes, tree.path(index, 0, size), `${index} of ${size}`);
      assert.equal(hashes.length, inclusionLength(index, size));
      const claim = { index, size, leafHash: tree.leaves[index], rootHash: tree.root(0, size), hashes };
      checkInclusion(claim);
      claims.push(claim);
    }
  }
  assert.equal(claims.length, sizeMax * (sizeMax + 1) / 2);
  // No proof serves another entry, or another size.
  for (let at = 0; at < claims.length; at++) {
    for (const step of [1, 130, 4_099]) {
      const other = claims[(at + step) % claims.length];
      const { index, size, hashes } = claims[at];
      assert.ok(
        !accepts(() => checkInclusion({ ...other, index, size, hashes })),
        `${index} of ${size}, ${step}`,
      );
    }
  }
});

Deno.test("createConsistencyProof() is PROOF of RFC 6962 for every two sizes up to 130", async () => {
  const claims = [];
  for (let to = 1; to <= sizeMax; to++) {
    for (let from = 1; from <= to; from++) {
      const hashes = await createConsistencyProof(from, to, readTree);
      assert.deepEqual(hashes, tree.proof(from, to), `${from} in ${to}`);
      const claim = { from, to, fromRootHash: tree.root(0, from), toRootHash: tree.root(0, to), hashes };
      checkConsistency(claim);
      if (from < to) claims.push(claim);
    }
  }
  assert.equal(claims.length, sizeMax * (sizeMax - 1) / 2);
  for (let at = 0; at < claims.length; at++) {
    for (const step of [1, 130, 4_099]) {
      const other = claims[(at + step) % claims.length];
      const { from, to, hashes } = claims[at];
      assert.ok(
        !accepts(() => checkConsistency({ ...other, from, to, hashes })),
        `${from} in ${to}, ${step}`,
      );
    }
  }
});

Deno.test("proofs are made of complete subtrees of the log, each asked for once and without waiting", async () => {
  for (let size = 1; size <= sizeMax; size++) {
    for (let first = 0; first < size; first++) {
      await assertReads(size, (read) => createInclusionProof(first, size, read));
      await assertReads(size, (read) => createConsistencyProof(first + 1, size, read));
    }
  }
});

async function assertReads(size: number, create: (read: ReadSubtree) => Promise<string[]>): Promise<void> {
  const asked = new Set<string>();
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let isLate = false;
  const hashes = create(async (place) => {
    const { level, index } = place;
    assert.ok((index + 1) * 2 ** level <= size, `${level}/${index} of ${size}`);
    assert.ok(!asked.has(`${level}/${index}`) && !isLate);
    asked.add(`${level}/${index}`);
    await gate;
    return await readTree(place);
  });
  isLate = true;
  open();
  // At most one hash has several parts, and those are at most one a level.
  assert.ok(asked.size <= (await hashes).length + Math.log2(size));
}

Deno.test("createInclusionProof() and createConsistencyProof() refuse numbers that make no sense", async () => {
  for (
    const [index, size] of [[0, 0], [1, 1], [-1, 1], [0.5, 2], [0, NaN], [0, Infinity], [0, 2 ** 53], [
      0,
      1.5,
    ]]
  ) {
    await assert.rejects(createInclusionProof(index, size, readTree), RangeError, `${index} of ${size}`);
  }
  for (
    const [from, to] of [[0, 0], [0, 1], [2, 1], [-1, 1], [0.5, 2], [1, NaN], [1, Infinity], [1, 2 ** 53]]
  ) {
    await assert.rejects(createConsistencyProof(from, to, readTree), RangeError, `${from} in ${to}`);
  }
});

/** As the specifications count them, on BigInts: `inner + border`. */
function inclusionLength(index: number, size: number): number {
  const [i, last] = [BigInt(index), BigInt(size) - 1n];
  const inner = i === last ? 0 : (i ^ last).toString(2).length;
  const border = (i >> BigInt(inner)).toString(2).replaceAll("0", "").length;
  return inner + border;
}

/** A log of any size whose entries are all alike, but for one: each of its subtrees has a hash that is quickly made. */
class SparseLog {
  readonly #alike = [hashLeaf("alike")];
  readonly leafHash = hashLeaf("special");

  constructor(readonly special: number) {
    for (let level = 0; level < 53; level++) {
      this.#alike.push(hashNode(this.#alike[level], this.#alike[level]));
    }
  }

  hash({ level, index }: SubtreePlace): string {
    if (Math.floor(this.special / 2 ** level) !== index) return this.#alike[level];
    if (level === 0) return this.leafHash;
    const child = { level: level - 1, index: 2 * index };
    return hashNode(this.hash(child), this.hash({ ...child, index: child.index + 1 }));
  }

  rootHash(size: number): string {
    return coverRange(0, size).map((place) => this.hash(place)).reduceRight((right, left) =>
      hashNode(left, right)
    );
  }

  readonly read: ReadSubtree = (place) => Promise.resolve(this.hash(place));
}

/** Both at least 2 ** 32, the first below the second. */
const largePair = fc.tuple(
  fc.integer({ min: 2 ** 32, max: Number.MAX_SAFE_INTEGER - 1 }),
  fc.double({ min: 0, max: 1, noNaN: true }),
).map(([low, part]) => [low, low + 1 + Math.floor(part * (Number.MAX_SAFE_INTEGER - low - 1))]);
const bit = fc.integer({ min: 0, max: 52 });

function flipBit(number: number, at: number): number {
  return Number(BigInt(number) ^ (1n << BigInt(at)));
}

Deno.test("checkInclusion() knows every bit of an index above 32 bits", async () => {
  await fc.assert(fc.asyncProperty(largePair, bit, async ([index, size], at) => {
    const log = new SparseLog(index);
    const hashes = await createInclusionProof(index, size, log.read);
    assert.equal(hashes.length, inclusionLength(index, size));
    const claim = { index, size, leafHash: log.leafHash, rootHash: log.rootHash(size), hashes };
    checkInclusion(claim);
    assert.ok(!accepts(() => checkInclusion({ ...claim, index: flipBit(index, at) })));
    assert.ok(!accepts(() => checkInclusion({ ...claim, hashes: hashes.slice(1) })));
  }));
});

Deno.test("checkConsistency() knows every bit of a size above 32 bits", async () => {
  await fc.assert(fc.asyncProperty(largePair, bit, async ([from, to], at) => {
    const log = new SparseLog(from - 1);
    const hashes = await createConsistencyProof(from, to, log.read);
    const claim = { from, to, fromRootHash: log.rootHash(from), toRootHash: log.rootHash(to), hashes };
    checkConsistency(claim);
    assert.ok(!accepts(() => checkConsistency({ ...claim, from: flipBit(from, at) })));
    assert.ok(!accepts(() => checkConsistency({ ...claim, hashes: hashes.slice(0, -1) })));
  }));
});

Deno.test("checkInclusion() and checkConsistency() throw nothing but ProofError, whatever they are given", () => {
  const number = fc.oneof(fc.double(), fc.integer(), fc.nat({ max: 9 }), fc.maxSafeNat());
  const hash = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f]{64}$/));
  const hashes = fc.array(hash, { maxLength: 60 });
  fc.assert(
    fc.property(number, number, hash, hash, hashes, (first, second, left, right, hashes) => {
      accepts(() => checkInclusion({ index: first, size: second, leafHash: left, rootHash: right, hashes }));
      accepts(() =>
        checkConsistency({ from: first, to: second, fromRootHash: left, toRootHash: right, hashes })
      );
    }),
    { numRuns: 2_000 },
  );
});
