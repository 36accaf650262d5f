import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { checkInclusion, ProofError } from "./proof.ts";
import { createSigner } from "./signed_note.ts";
import { ReferenceTree } from "./testing/reference_tree.ts";
import { formatTlogProof, parseTlogProof } from "./tlog_proof.ts";
import { hashLeaf } from "./tree.ts";

const head = "c2sp.org/tlog-proof@v1\n";
const [first, second] = [hashLeaf("first"), hashLeaf("second")];
const [line1, line2] = [first, second].map((hash) => `${Uint8Array.fromHex(hash).toBase64()}\n`);
const note = "origin\n9\nroot\n\n— origin signature\n";

Deno.test("formatTlogProof() writes the text of c2sp.org/tlog-proof@v1", () => {
  const text = formatTlogProof({ index: 73_894, hashes: [first, second], checkpoint: note });
  assert.equal(text, `${head}index 73894\n${line1}${line2}\n${note}`);
  assert.equal(
    formatTlogProof({ index: 0, hashes: [], checkpoint: note }),
    `${head}index 0\n\n${note}`,
  );
});

Deno.test("parseTlogProof() reads a proof whose checkpoint and hashes then prove the entry", () => {
  const signer = createSigner("airlock-test", generateKeyPairSync("ed25519").privateKey);
  const tree = ReferenceTree.ofSize(43);
  const written = signCheckpoint({ origin: "airlock-test", size: 43, rootHash: tree.root(0, 43) }, [signer]);
  const text = formatTlogProof({ index: 41, hashes: tree.path(41, 0, 43), checkpoint: written });
  const { index, hashes, checkpoint } = parseTlogProof(text);
  const { size, rootHash } = openCheckpoint(checkpoint, [signer.verifier]).checkpoint;
  assert.equal(index, 41);
  checkInclusion({ index, size, leafHash: tree.leaves[41], rootHash, hashes });
});

Deno.test("parseTlogProof() gives what formatTlogProof() was given", () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => bytes.toHex());
  const proof = fc.record({
    index: fc.maxSafeNat(),
    hashes: fc.array(hash, { maxLength: 53 }),
    checkpoint: fc.string({ unit: "binary" }),
  }, { noNullPrototype: true });
  fc.assert(fc.property(proof, (proof) => assert.deepEqual(parseTlogProof(formatTlogProof(proof)), proof)));
});

Deno.test("parseTlogProof() drops a well-formed line of extra data, which nothing signs", () => {
  for (const extra of ["YQ==", "YWI=", "YWJj", "YWJjZA=="]) {
    const proof = parseTlogProof(`${head}extra ${extra}\nindex 7\n${line1}\n${note}`);
    assert.deepEqual(proof, { index: 7, hashes: [first], checkpoint: note });
  }
});

Deno.test("parseTlogProof() refuses every other spelling", () => {
  const spareBits = line1.replace(/.=\n$/, (end) => `${nextDigit(end[0])}=\n`);
  const wrong: Record<string, string> = {
    "nothing": "",
    "a note": note,
    "another version": `c2sp.org/tlog-proof@v2\nindex 7\n\n${note}`,
    "a mark of byte order": `\ufeff${head}index 7\n\n${note}`,
    "carriage returns": `${head}index 7\n${line1}\n${note}`.replaceAll("\n", "\r\n"),
    "no index": `${head}${line1}\n${note}`,
    "an index without digits": `${head}index \n\n${note}`,
    "an index of two spaces": `${head}index  7\n\n${note}`,
    "an index with a space behind": `${head}index 7 \n\n${note}`,
    "a negative index": `${head}index -7\n\n${note}`,
    "a signed index": `${head}index +7\n\n${note}`,
    "an index with a zero in front": `${head}index 07\n\n${note}`,
    "an index in hex": `${head}index 0x7\n\n${note}`,
    "an index with an exponent": `${head}index 7e1\n\n${note}`,
    "an index in other digits": `${head}index ٧\n\n${note}`,
    "an index above the safe integers": `${head}index ${2 ** 53}\n\n${note}`,
    "an index of 64 bits": `${head}index 18446744073709551615\n\n${note}`,
    "an index twice": `${head}index 7\nindex 7\n\n${note}`,
    "no empty line": `${head}index 7\n${line1}${note}`,
    "no checkpoint's border": `${head}index 7\n${line1}`,
    "a hash of 31 bytes": `${head}index 7\n${new Uint8Array(31).toBase64()}\n\n${note}`,
    "a hash of 33 bytes": `${head}index 7\n${new Uint8Array(33).toBase64()}\n\n${note}`,
    "a hash with spare bits": `${head}index 7\n${spareBits}\n${note}`,
    "a hash without padding": `${head}index 7\n${line1.replace("=", "")}\n${note}`,
    "a hash in hex": `${head}index 7\n${first}\n\n${note}`,
    "a hash in base64url": `${head}index 7\n${"-".repeat(42)}A=\n\n${note}`,
    "a hash with a space": `${head}index 7\n ${line1}\n${note}`,
    "too many hashes": `${head}index 7\n${line1.repeat(54)}\n${note}`,
    "extra data behind the index": `${head}index 7\nextra YWJj\n\n${note}`,
    "extra data twice": `${head}extra YWJj\nextra YWJj\nindex 7\n\n${note}`,
    "an empty line of extra data": `${head}extra \nindex 7\n\n${note}`,
    "extra data that is not base64": `${head}extra a!\nindex 7\n\n${note}`,
    "extra data without padding": `${head}extra YQ\nindex 7\n\n${note}`,
    "extra data with spare bits": `${head}extra YR==\nindex 7\n\n${note}`,
    "a text that is too long": `${head}index 7\n\n${note}${"a".repeat(1_000_000)}`,
    "extra data that is too long": `${head}extra ${"a".repeat(4_000_000)}\nindex 7\n\n${note}`,
  };
  assert.notEqual(spareBits, line1);
  for (const [what, text] of Object.entries(wrong)) {
    assert.throws(() => parseTlogProof(text), ProofError, what);
  }
});

Deno.test("parseTlogProof() takes the longest text there is, and gives it back", () => {
  const hashes = Array<string>(53).fill(first);
  const start = formatTlogProof({ index: Number.MAX_SAFE_INTEGER, hashes, checkpoint: "" });
  const checkpoint = "a".repeat(1_000_000 - start.length);
  assert.equal(parseTlogProof(start + checkpoint).checkpoint, checkpoint);
  // The longest line too: a pattern must not run out of stack on it.
  const extra = "YWJj".repeat(249_000);
  assert.equal(parseTlogProof(`${head}extra ${extra}\nindex 7\n\n${note}`).checkpoint, note);
});

Deno.test("parseTlogProof() throws nothing but ProofError, and what it reads has one spelling", () => {
  const text = formatTlogProof({ index: 70, hashes: [first, second], checkpoint: note });
  const at = fc.nat({ max: text.length });
  fc.assert(
    fc.property(at, at, fc.string({ unit: "binary", maxLength: 3 }), (from, length, put) => {
      const changed = text.slice(0, from) + put + text.slice(from + length % 3);
      try {
        assert.equal(formatTlogProof(parseTlogProof(changed)), changed);
      } catch (error) {
        if (!(error instanceof ProofError)) throw error;
      }
    }),
    { numRuns: 5_000 },
  );
});

/** Of base64: the same bytes in front of two spare bits, and other spare bits. */
function nextDigit(digit: string): string {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return digits[digits.indexOf(digit) + 1];
}
