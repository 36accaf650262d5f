import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { signCheckpoint } from "../checkpoint.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { createSigner, parseVerifierKey } from "../signed_note.ts";
import { accepted, open } from "../testing/ledger_support.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";
import { verifyBundle } from "./verify_bundle.ts";

const newline = 0x0a;

async function createBundle(size: number, from: number, to: number) {
  await using ledger = await open(new MemoryDisk());
  await Promise.all(Array.from({ length: size - 1 }, (_, index) => ledger.append(accepted(`r${index + 1}`))));
  const { lines } = await ledger.reader.bundle(from, to);
  const bytes = new Uint8Array(await new Response(ReadableStream.from(lines)).arrayBuffer());
  return { bytes, keys: ledger.verifierKeys.map(parseVerifierKey), checkpoint: ledger.checkpoint() };
}

/** In chunks that cut lines anywhere. */
function streamOf(bytes: Uint8Array, chunkBytes = 1_000): ReadableStream<Uint8Array> {
  return ReadableStream.from((function* () {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.slice(at, at + chunkBytes);
  })());
}

async function refusal(bytes: Uint8Array, keys: Parameters<typeof verifyBundle>[1]["keys"]) {
  try {
    await verifyBundle(streamOf(bytes), { keys });
  } catch (error) {
    assert.ok(error instanceof LedgerInvalidError, String(error));
    return { index: error.index, message: error.message, isExact: error.isExact };
  }
  return { index: undefined, message: "verified", isExact: true };
}

Deno.test("verifyBundle() accepts each range of a log, in chunks of any size", async () => {
  for (
    const [size, from, to] of [[1, 0, 1], [13, 0, 13], [13, 5, 6], [13, 12, 13], [600, 255, 513]] as const
  ) {
    const { bytes, keys, checkpoint } = await createBundle(size, from, to);
    for (const chunkBytes of [1, 777, 1_000_000]) {
      const { rootHash, signedBy, ...verified } = await verifyBundle(streamOf(bytes, chunkBytes), { keys });
      assert.deepEqual([verified.from, verified.to, verified.size], [from, to, size]);
      assert.equal(Uint8Array.fromHex(rootHash).toBase64(), checkpoint.rootHash);
      assert.deepEqual(signedBy, keys.map(({ text }) => text));
    }
  }
});

Deno.test("verifyBundle() finds each flipped bit of a bundle, and names its entry", async () => {
  const { bytes, keys } = await createBundle(13, 5, 9);
  let entry = 4;
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = bytes.slice();
      flipped[at] ^= 1 << bit;
      const { index, message, isExact } = await refusal(flipped, keys);
      const isListOfKeys = entry === 4 && message === "verified";
      assert.ok(!isListOfKeys || isInformation(bytes, at), `bit ${bit} of byte ${at} in the header`);
      if (entry === 4) continue;
      const where = `bit ${bit} of byte ${at}, in entry ${entry}: ${message}`;
      // What the last entry was, only the root hash says, and that may be for the hashes around.
      if (
        /(?:: entry 8, those hashes or all of it were changed|^the bundle ends before entry 8)$/.test(message)
      ) assert.equal(entry, 8, where);
      else if (isExact) assert.equal(index, entry, where);
      else {
        const isUnproven = entry === 8 || bytes[at] === newline || flipped[at] === newline;
        assert.ok(isUnproven && index === 5, where);
        assert.ok(message.startsWith(`the chain breaks at entry ${entry}: entry 5 or one after it`), where);
      }
    }
    if (bytes[at] === newline) entry += 1;
  }
});

/** Whether the byte is one of what the header only tells: keys that nobody believes. */
function isInformation(bytes: Uint8Array, at: number): boolean {
  const header = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(newline)));
  const start = header.indexOf(`"keys":[`);
  return at > start && at < header.indexOf("]", start);
}

Deno.test("verifyBundle() refuses a bundle cut at any byte", async () => {
  const { bytes, keys } = await createBundle(6, 2, 5);
  for (let length = 0; length < bytes.length; length++) {
    assert.notEqual((await refusal(bytes.subarray(0, length), keys)).message, "verified", `${length} bytes`);
  }
});

Deno.test("verifyBundle() refuses what is not a bundle, or not of a trusted key", async () => {
  const { bytes, keys } = await createBundle(6, 2, 5);
  const text = new TextDecoder().decode(bytes);
  const lines = text.split("\n");
  const encode = (changed: string) => new TextEncoder().encode(changed);
  const refused: [what: string, bytes: Uint8Array, message: RegExp][] = [
    ["a line too many", encode(`${text}${lines[3]}\n`), /^there is more after entry 4/],
    [
      "two lines in each other's place",
      encode([lines[0], lines[2], lines[1], ...lines.slice(3)].join("\n")),
      /entry 2/,
    ],
    ["another range", encode(text.replace(`"from":2,"to":5`, `"from":3,"to":6`)), /./],
    ["no range", encode(text.replace(`"from":2,"to":5`, `"from":5,"to":2`)), /not the header of a bundle/],
    ["a size beyond numbers", encode(text.replace(`"size":6`, `"size":9007199254740993`)), /not the header/],
    ["a header with a key twice", encode(text.replace(`"from":2`, `"from":2,"from":2`)), /not the header/],
    ["a header without end", encode("x".repeat(100_000)), /longer than 65536 bytes/],
    ["an entry without end", encode(`${lines[0]}\n${"x".repeat(100_000)}`), /longer than 65535 bytes/],
    ["nothing", new Uint8Array(), /not the header/],
  ];
  for (const [what, changed, message] of refused) {
    assert.match((await refusal(changed, keys)).message, message, what);
  }
  assert.match((await refusal(bytes, [])).message, /not signed by a key that was given/);
});

Deno.test("verifyBundle() holds a bundle to an anchor of its range, or of its checkpoint", async () => {
  const anchors: string[] = [];
  await using ledger = await open(new MemoryDisk());
  for (let index = 1; index < 12; index++) {
    anchors[ledger.size] = ledger.checkpoint().note;
    await ledger.append(accepted(`r${index}`));
  }
  anchors[ledger.size] = ledger.checkpoint().note;
  const keys = ledger.verifierKeys.map(parseVerifierKey);
  const { lines } = await ledger.reader.bundle(3, 7);
  const bytes = new Uint8Array(await new Response(ReadableStream.from(lines)).arrayBuffer());
  for (const size of [3, 4, 5, 6, 7, 12]) {
    const { anchor } = await verifyBundle(streamOf(bytes), { keys, anchor: anchors[size] });
    assert.deepEqual(anchor, { size });
  }
  for (const size of [1, 2, 8, 11]) {
    const verified = verifyBundle(streamOf(bytes), { keys, anchor: anchors[size] });
    await assert.rejects(() => verified, /this bundle can be held to one of 3 to 7 entries, or of 12$/);
  }
  // Signed by the same key: a log that was rewritten.
  const { privateKey } = generateKeyPairSync("ed25519");
  const signer = createSigner(ledger.origin, privateKey);
  for (const size of [3, 5, 7, 12]) {
    const forged = { origin: ledger.origin, size, rootHash: "00".repeat(32) };
    const both = [...keys, signer.verifier];
    const verified = verifyBundle(streamOf(bytes), { keys: both, anchor: signCheckpoint(forged, [signer]) });
    await assert.rejects(
      () => verified,
      /^LedgerInvalidError: the anchor, of \d+ entries, has another root hash/,
    );
  }
});

Deno.test("verifyBundle() lets go of a stream that it refuses", async () => {
  const { bytes, keys } = await createBundle(6, 2, 5);
  for (const head of [bytes.subarray(0, bytes.indexOf(newline) + 1), new Uint8Array()]) {
    let isCancelled = false;
    let isBegun = false;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(isBegun ? new TextEncoder().encode("no record\n") : head);
        isBegun = true;
      },
      cancel() {
        isCancelled = true;
      },
    });
    await assert.rejects(() => verifyBundle(endless, { keys }), LedgerInvalidError);
    assert.deepEqual([isCancelled, endless.locked], [true, false]);
  }
});

Deno.test("verifyBundle() takes the word of a key until the entry that retires it, and of the next one", async () => {
  const disk = new MemoryDisk();
  await using ledger = await open(disk);
  const [oldKey] = ledger.verifierKeys;
  const oldSigner = createSigner(ledger.origin, createPrivateKey(readText(disk, "/data/ledger/signing.key")));
  await ledger.rotateKey("token:admin");
  const [newKey] = ledger.verifierKeys;
  const retired = await ledger.retireKey("token:admin");
  const newSigner = createSigner(ledger.origin, createPrivateKey(readText(disk, "/data/ledger/signing.key")));
  const given = [oldKey, newKey].map(parseVerifierKey);
  for (const size of [retired.index + 1, retired.index + 2]) {
    if (ledger.size < size) await ledger.append(accepted("later"));
    const rootHash = Uint8Array.fromBase64(ledger.checkpoint().rootHash).toHex();
    assert.equal(ledger.size, size);
    const { lines } = await ledger.reader.bundle(0);
    const [head, ...rest] = (await new Response(ReadableStream.from(lines)).text()).split("\n");
    const signedBy = async (...signers: (typeof oldSigner)[]) => {
      const checkpoint = signCheckpoint({ origin: ledger.origin, size, rootHash }, signers);
      const text = [JSON.stringify({ ...JSON.parse(head ?? ""), checkpoint }), ...rest].join("\n");
      const bytes = streamOf(new TextEncoder().encode(text));
      return await verifyBundle(bytes, { keys: given }).then(
        (found) => found.signedBy,
        ({ message }) => message,
      );
    };
    const isLast = size === retired.index + 1;
    assert.deepEqual(await signedBy(oldSigner, newSigner), isLast ? [oldKey, newKey] : [newKey]);
    assert.deepEqual(
      await signedBy(oldSigner),
      isLast ? [oldKey] : "the checkpoint is signed by a key that was retired before",
    );
  }
});

function readText(disk: MemoryDisk, path: string): string {
  return new TextDecoder().decode(disk.get(path));
}

Deno.test("verifyBundle() refuses the word of a key that the log has retired", async () => {
  await using ledger = await open(new MemoryDisk());
  const [oldKey] = ledger.verifierKeys;
  await ledger.rotateKey("token:admin");
  const both = ledger.checkpoint();
  await ledger.retireKey("token:admin");
  await ledger.append(accepted("later"));
  const bundleOf = async (changed: (text: string) => string = (text) => text) => {
    const { lines } = await ledger.reader.bundle(0);
    const text = await new Response(ReadableStream.from(lines)).text();
    return new TextEncoder().encode(changed(text));
  };
  const verifier = parseVerifierKey(oldKey);
  assert.match((await refusal(await bundleOf(), [verifier])).message, /not signed by a key that was given/);
  assert.equal(
    (await refusal(await bundleOf(), ledger.verifierKeys.map(parseVerifierKey))).message,
    "verified",
  );
  assert.equal(both.size, 2);
});
