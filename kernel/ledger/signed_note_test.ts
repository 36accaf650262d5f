import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { CheckpointError, openCheckpoint, parseCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { createSigner, openNote, parseVerifierKey, SignedNoteError, signNote } from "./signed_note.ts";
import { emptyRootHash } from "./tree.ts";

const signer = createSigner("airlock-test", generateKeyPairSync("ed25519").privateKey);

// From the documentation of golang.org/x/mod/sumdb/note.
const goVerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const goText =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const goSignature =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

Deno.test("openNote() accepts the note of Go's documentation", () => {
  assert.equal(openNote(`${goText}\n${goSignature}`, [parseVerifierKey(goVerifierKey)]).text, goText);
});

Deno.test("openNote() gives the text of a note of signNote(), to the holder of the verifier key only", () => {
  const note = signNote("a\n\nb\n", [signer]);
  assert.equal(openNote(note, [parseVerifierKey(signer.verifier.text)]).text, "a\n\nb\n");
  const other = createSigner("airlock-test", generateKeyPairSync("ed25519").privateKey);
  assert.throws(() => openNote(note, [other.verifier]), SignedNoteError);
});

Deno.test("openNote() passes over signatures of other keys", () => {
  const [text, ours] = signNote("text\n", [signer]).split("\n\n");
  assert.equal(openNote(`${text}\n\n${goSignature}${ours}`, [signer.verifier]).text, "text\n");
});

Deno.test("openNote() says which of several keys signed, and takes no bad signature of any of them", () => {
  const next = createSigner("airlock-test", generateKeyPairSync("ed25519").privateKey);
  const note = signNote("text\n", [signer, next]);
  const both = [signer.verifier, next.verifier];
  assert.deepEqual(openNote(note, both).signedBy, both);
  assert.deepEqual(openNote(note, [next.verifier]).signedBy, [next.verifier]);
  assert.deepEqual(openNote(signNote("text\n", [next]), both).signedBy, [next.verifier]);
  const [, oldLine, newLine] = note.split(/\n(?=\u2014)/);
  const [, otherLine] = signNote("other\n", [signer]).split(/\n(?=\u2014)/);
  assert.throws(() => openNote(`text\n\n${otherLine}${newLine}`, both), SignedNoteError);
  assert.deepEqual(openNote(`text\n\n${oldLine}\n${newLine}`, both).signedBy, both);
  assert.throws(() => openNote(`text\n\n${`${oldLine}\n`.repeat(101)}`, both), SignedNoteError);
});

Deno.test("openNote() refuses a note with any bit flipped", () => {
  const bytes = new TextEncoder().encode(signNote("text\n", [signer]));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(
      () => openNote(new TextDecoder().decode(flipped), [signer.verifier]),
      SignedNoteError,
      `bit ${bit}`,
    );
  }
});

Deno.test("signNote() refuses text that is not whole lines", () => {
  for (const text of ["", "a", "a\r\n", "\0\n", "\ud800\n"]) {
    assert.throws(() => signNote(text, [signer]), SignedNoteError, JSON.stringify(text));
  }
});

Deno.test("createSigner() refuses a name that would break the format", () => {
  for (const name of ["", "a b", "a+b", "a\nb"]) {
    assert.throws(() => createSigner(name, signer.privateKey), SignedNoteError, JSON.stringify(name));
  }
});

Deno.test("parseVerifierKey() refuses an id that is not the one of its key, and other algorithms", () => {
  const { name, keyId, text } = signer.verifier;
  assert.throws(() => parseVerifierKey(text.replace(keyId, "00000000")), SignedNoteError);
  assert.throws(() => parseVerifierKey(`${name}+${keyId}+AgAA`), SignedNoteError);
  assert.throws(() => parseVerifierKey(name), SignedNoteError);
});

Deno.test("openCheckpoint() gives back what signCheckpoint() signed", () => {
  const checkpoint = { origin: "airlock-test", size: 42, rootHash: emptyRootHash };
  assert.deepEqual(openCheckpoint(signCheckpoint(checkpoint, [signer]), [signer.verifier]), {
    checkpoint,
    signedBy: [signer.verifier],
  });
});

Deno.test("openCheckpoint() takes the word of no key that is of another log", () => {
  const other = { origin: "another-log", size: 42, rootHash: emptyRootHash };
  assert.throws(() => openCheckpoint(signCheckpoint(other, [signer]), [signer.verifier]), SignedNoteError);
});

Deno.test("parseCheckpoint() refuses other ways to write a checkpoint", () => {
  const root = Uint8Array.fromHex(emptyRootHash).toBase64();
  assert.equal(parseCheckpoint(`o\n0\n${root}\n`).size, 0);
  const spareBits = root.replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`);
  for (
    const text of [
      "",
      `o\n01\n${root}\n`,
      `o\n-1\n${root}\n`,
      `o\n1e3\n${root}\n`,
      `o\n9007199254740993\n${root}\n`,
      `\n1\n${root}\n`,
      `o\n1\n${root}`,
      `o\n1\n${root}\nextension\n`,
      `o\n1\n${root.slice(4)}\n`,
      `o\n1\n${spareBits}\n`,
    ]
  ) assert.throws(() => parseCheckpoint(text), CheckpointError, text);
});

const openssl = await new Deno.Command("openssl", { args: ["version"] }).output().then(
  (o) => o.success,
  () => false,
);

Deno.test({
  name: "signNote() makes a signature that openssl accepts",
  ignore: !openssl,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const [text, signature] = signNote("a checkpoint\n", [signer]).split(/\n(?=\u2014)/);
      const encoded = Uint8Array.fromBase64(signature.trim().split(" ")[2]);
      await Deno.writeTextFile(join(folder, "text"), text);
      await Deno.writeFile(join(folder, "signature"), encoded.subarray(4));
      const pem = signer.verifier.publicKey.export({ format: "pem", type: "spki" });
      await Deno.writeTextFile(join(folder, "key"), pem.toString());
      const { success } = await new Deno.Command("openssl", {
        args: [
          "pkeyutl",
          "-verify",
          "-pubin",
          "-inkey",
          "key",
          "-rawin",
          "-in",
          "text",
          "-sigfile",
          "signature",
        ],
        cwd: folder,
      }).output();
      assert.ok(success);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
