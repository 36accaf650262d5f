import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import type { LedgerRecord } from "../../../schemas/ledger_event.ts";
import { signCheckpoint } from "../checkpoint.ts";
import { firstPrev, formatRecord } from "../record.ts";
import { createSigner } from "../signed_note.ts";
import { accepted, folder, open } from "../testing/ledger_support.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";
import { Frontier, hashLeaf } from "../tree.ts";
import {
  checkpointFile,
  createLog,
  logFile,
  publishedFile,
  put,
  refusal,
  textOf,
  verify,
} from "./testing_verifier.ts";
import { readLedgerKeys } from "./verify_folder.ts";

Deno.test("verifyLedgerFolder() accuses no entry for what somebody else wrote into checkpoints.log", async () => {
  const { disk, keys } = await createLog(40);
  const [origin] = keys[0].split("+");
  const forger = createSigner(origin, generateKeyPairSync("ed25519").privateKey);
  const published = textOf(disk, publishedFile);
  for (const size of [40, 41, 999]) {
    const note = signCheckpoint({ origin, size, rootHash: "00".repeat(32) }, [forger]);
    put(disk, publishedFile, `${published}${new TextEncoder().encode(note).toBase64()}\n`);
    const { index, message } = await refusal(disk, keys);
    const { name, keyId } = forger.verifier;
    assert.deepEqual([index, message], [
      undefined,
      `line 4 of checkpoints.log is signed by no key of this ledger: it is of "${origin}", signed by ${name}+${keyId}`,
    ]);
  }
  put(disk, publishedFile, published);
  for (const size of [40, 999]) {
    put(disk, checkpointFile, signCheckpoint({ origin, size, rootHash: "00".repeat(32) }, [forger]));
    const { index, message } = await refusal(disk, keys);
    assert.deepEqual([index, /the checkpoint is signed by no key/.test(message)], [undefined, true], message);
  }
  const [first] = published.split("\n");
  put(disk, publishedFile, `${first}\n`.repeat(20_000));
  assert.match((await refusal(disk, keys)).message, /is one too many of some 0 entries/);
});

Deno.test("verifyLedgerFolder() tells nothing of what follows the last entry that a trusted key signed for", async () => {
  const { disk, keys } = await createLog(4);
  const before = await verify(disk, keys);
  const [origin] = keys[0].split("+");
  const forger = createSigner(origin, generateKeyPairSync("ed25519").privateKey);
  const lines = textOf(disk, logFile()).trimEnd().split("\n");
  const tail = [["ledger.retired", keys[0]], ["ledger.rotated", forger.verifier.text]] as const;
  for (const [type, key] of tail) {
    const [time, prev] = ["2031-01-01T00:00:00.000Z", hashLeaf(lines.at(-1) ?? "")];
    const rest = { actor: "kernel", plugin: "", data: { key }, prev };
    lines.push(formatRecord({ v: 1, seq: lines.length, time, type, ...rest }));
  }
  put(disk, logFile(), `${lines.join("\n")}\n`);
  const tree = new Frontier();
  for (const line of lines) tree.append(hashLeaf(line));
  const note = signCheckpoint({ origin, size: lines.length, rootHash: tree.rootHash() }, [forger]);
  put(disk, publishedFile, `${textOf(disk, publishedFile)}${new TextEncoder().encode(note).toBase64()}\n`);
  assert.deepEqual(await verify(disk, keys), { ...before, above: { entries: 2, bytes: 0 } });
  assert.deepEqual(await readLedgerKeys(folder, disk), before.keys);
  await assert.rejects(() => verify(disk, keys, note), /^LedgerInvalidError: the anchor is signed neither/);
});

Deno.test("verifyLedgerFolder() refuses an entry that names a key too many, and says so", async () => {
  const disk = new MemoryDisk();
  const [origin] = (await createLog(1)).keys[0].split("+");
  const signer = () => createSigner(origin, generateKeyPairSync("ed25519").privateKey);
  const first = signer();
  const lines: string[] = [];
  const tree = new Frontier();
  for (let seq = 0; seq <= 1_000; seq++) {
    const isFirst = seq === 0;
    const type = isFirst ? "ledger.created" : "ledger.rotated";
    const data: LedgerRecord["data"] = isFirst
      ? { origin, keys: [first.verifier.text] }
      : { key: signer().verifier.text };
    const prev = isFirst ? firstPrev(origin) : hashLeaf(lines.at(-1) ?? "");
    const rest = { time: "2031-01-01T00:00:00.000Z", actor: "kernel", plugin: "", prev };
    lines.push(formatRecord({ v: 1, seq, type, data, ...rest }));
    tree.append(hashLeaf(lines.at(-1) ?? ""));
    if (seq % 256 === 0) disk.put(logFile(seq), new Uint8Array());
    const file = logFile(seq - seq % 256);
    put(disk, file, `${textOf(disk, file)}${lines.at(-1)}\n`);
  }
  put(disk, checkpointFile, signCheckpoint({ origin, size: 1_001, rootHash: tree.rootHash() }, [first]));
  put(disk, publishedFile, "");
  const { message } = await refusal(disk, [first.verifier.text]);
  assert.equal(message, "entry 1000 names one key too many: more than 1000");
});

Deno.test("verifyLedgerFolder() refuses the word of a key that it was not given", async () => {
  const { disk, keys } = await createLog(4);
  const other = await createLog(4, 9);
  const { verifier } = createSigner(keys[0].split("+")[0], generateKeyPairSync("ed25519").privateKey);
  for (const wrong of [other.keys[0], verifier.text]) {
    const { message } = await refusal(disk, [wrong]);
    assert.match(message, /^the checkpoint is signed neither by a key/);
    const [origin, keyId] = keys[0].split("+");
    assert.ok(message.endsWith(`: it is of "${origin}", signed by ${origin}+${keyId}`), message);
  }
  assert.match(
    (await refusal(disk, keys, other.anchors[2])).message,
    /^the anchor is signed by no key of this ledger/,
  );
});

Deno.test("verifyLedgerFolder() follows the keys from the old one to the new one, and believes no other", async () => {
  const disk = new MemoryDisk();
  const keys: string[] = [];
  {
    await using ledger = await open(disk);
    keys.push(...ledger.verifierKeys);
    await ledger.append(accepted("old"));
    keys.push((await ledger.rotateKey("token:admin")).key);
    await ledger.append(accepted("both"));
    await ledger.retireKey("token:admin");
    await ledger.append(accepted("new"));
  }
  for (const given of [[keys[0]], [keys[1]], keys]) {
    const { signedBy, keys: named } = await verify(disk, given);
    assert.deepEqual(signedBy, [keys[1]]);
    assert.deepEqual(named, [{ key: keys[0], from: 0, until: 4 }, { key: keys[1], from: 2, until: null }]);
  }
  assert.deepEqual(await readLedgerKeys(folder, disk), (await verify(disk, keys)).keys);
  // Without the checkpoint of the old key that covers the record, the old key vouches for nothing.
  const lines = textOf(disk, publishedFile).split("\n");
  put(disk, publishedFile, lines.slice(-2).join("\n"));
  assert.match((await refusal(disk, [keys[0]])).message, /^the checkpoint is signed neither/);
  assert.equal((await refusal(disk, [keys[1]])).message, "verified");
});

Deno.test("verifyLedgerFolder() takes the word of a key until the entry that retires it, and of the next one", async () => {
  const disk = new MemoryDisk();
  await using ledger = await open(disk);
  const signer = () => createSigner(ledger.origin, createPrivateKey(textOf(disk, `${folder}/signing.key`)));
  const oldSigner = signer();
  await ledger.rotateKey("token:admin");
  const retired = await ledger.retireKey("token:admin");
  const both = [oldSigner, signer()];
  const keys = both.map(({ verifier }) => verifier.text);
  for (const size of [retired.index + 1, retired.index + 2]) {
    if (ledger.size < size) await ledger.append(accepted("later"));
    const rootHash = Uint8Array.fromBase64(ledger.checkpoint().rootHash).toHex();
    const found = async (signers: typeof both) => {
      const copy = disk.killProcess();
      put(copy, checkpointFile, signCheckpoint({ origin: ledger.origin, size, rootHash }, signers));
      return await verify(copy, keys).then(({ signedBy }) => signedBy, ({ message }) => message);
    };
    const isLast = size === retired.index + 1;
    assert.deepEqual(await found(both), isLast ? keys : [keys[1]]);
    const alone = await found([oldSigner]);
    if (isLast) assert.deepEqual(alone, [keys[0]]);
    else assert.match(String(alone), /^the checkpoint is signed by no key of this ledger/);
  }
});
