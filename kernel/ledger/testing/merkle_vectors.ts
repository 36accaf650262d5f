/**
 * The proof vectors of transparency-dev/merkle, which lie beside the repository where there are any, each as a
 * check that throws or does not.
 *
 * The second file has three kinds of case: consistency of two sizes, and inclusion in and consistency of a
 * subtree `[start, end)`, from draft-ietf-plants-merkle-tree-certs. We have no proofs of subtrees. What those
 * cases ask is brought down to what we have: an entry of a subtree is an entry of a log of its own, and a
 * subtree that starts at 0 is a smaller size. The rules about which ranges are subtrees are here.
 *
 * @module
 */
import { z } from "zod";
import { checkConsistency, checkInclusion, ProofError } from "../proof.ts";
import { emptyRootHash } from "../tree.ts";

export interface MerkleVector {
  readonly name: string;
  readonly wantErr: boolean;
  readonly check: () => void;
}

/** Hex. Some are not 32 bytes, which is then the point of the case. */
const hashSchema = z.base64().transform((text) => Uint8Array.fromBase64(text).toHex());

const fields = {
  name: z.string(),
  desc: z.string(),
  wantErr: z.boolean(),
  proof: z.array(hashSchema).nullable().transform((hashes) => hashes ?? []),
};
const roots = { root1: hashSchema, root2: hashSchema };

const inclusionSchema = z.strictObject({
  ...fields,
  root: hashSchema,
  leafHash: hashSchema,
  leafIdx: z.number(),
  treeSize: z.number(),
}).transform((it): MerkleVector => ({
  name: it.name,
  wantErr: it.wantErr,
  check: () =>
    checkInclusion({
      index: it.leafIdx,
      size: it.treeSize,
      leafHash: it.leafHash,
      rootHash: it.root,
      hashes: it.proof,
    }),
}));

const consistencySchema = z.strictObject({ ...fields, ...roots, size1: z.number(), size2: z.number() })
  .transform((it): MerkleVector => ({
    name: it.name,
    wantErr: it.wantErr,
    check: () =>
      checkConsistency({
        from: it.size1,
        to: it.size2,
        fromRootHash: it.root1,
        toRootHash: it.root2,
        hashes: it.proof,
      }),
  }));

const subtreeInclusionSchema = z.strictObject({
  ...fields,
  root: hashSchema,
  leafHash: hashSchema,
  leafIdx: z.number(),
  start: z.number(),
  end: z.number(),
}).transform((it): MerkleVector => ({
  name: it.name,
  wantErr: it.wantErr,
  check: () => {
    checkSubtree(it.start, it.end);
    checkInclusion({
      index: it.leafIdx - it.start,
      size: it.end - it.start,
      leafHash: it.leafHash,
      rootHash: it.root,
      hashes: it.proof,
    });
  },
}));

const subtreeConsistencySchema = z.strictObject({
  ...fields,
  ...roots,
  start: z.number(),
  end: z.number(),
  size: z.number(),
}).transform((it): MerkleVector => ({
  name: it.name,
  wantErr: it.wantErr,
  check: () => {
    checkSubtree(it.start, it.end);
    if (it.start === it.end) {
      if (it.end <= it.size && it.proof.length === 0 && it.root1 === emptyRootHash) return;
      throw new ProofError("an empty subtree has the empty root, and an empty proof");
    }
    if (it.start > 0) throw new RangeError(`${it.name}: no vector had a subtree that starts later`);
    checkConsistency({
      from: it.end,
      to: it.size,
      fromRootHash: it.root1,
      toRootHash: it.root2,
      hashes: it.proof,
    });
  },
}));

/** A subtree starts at a multiple of its width, rounded up to a power of two. */
function checkSubtree(start: number, end: number): void {
  let width = 1;
  while (width < end - start) width *= 2;
  if (start > end || start % width !== 0) throw new ProofError(`[${start}, ${end}) is no subtree`);
}

const fileSchema = z.strictObject({
  source: z.string(),
  cases: z.array(
    z.union([inclusionSchema, consistencySchema, subtreeInclusionSchema, subtreeConsistencySchema]),
  ),
});

/** Undefined where the folder is absent. */
export function readMerkleVectors(kind: "inclusion" | "consistency"): readonly MerkleVector[] | undefined {
  const url = new URL(`../../../../shared/vectors/merkle_${kind}.json`, import.meta.url);
  let text: string;
  try {
    text = Deno.readTextFileSync(url);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return fileSchema.parse(JSON.parse(text)).cases;
}
