import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { openCheckpoint } from "./checkpoint.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { formatRecord } from "./record.ts";
import { createSigner, parseVerifierKey, signNote } from "./signed_note.ts";
import { hashLeaf } from "./tree.ts";
import { accepted, createDeps, folder, open, options, verifyAll } from "./testing/ledger_support.ts";
import { type FaultMode, MemoryDisk } from "./testing/memory_disk.ts";

/** Keys that signed the newest checkpoint, among `keys`. */
function signersOf(ledger: Ledger, keys: readonly string[]): string[] {
  const { signedBy } = openCheckpoint(ledger.checkpoint().note, keys.map(parseVerifierKey));
  return signedBy.map(({ text }) => text);
}

/** Of each checkpoint that was published, its size and which of `keys` signed it. */
function published(disk: MemoryDisk, keys: readonly string[]): [size: number, by: number[]][] {
  const lines = new TextDecoder().decode(disk.get(`${folder}/checkpoints.log`)).trimEnd().split("\n");
  return lines.map((line) => {
    const note = new TextDecoder().decode(Uint8Array.fromBase64(line));
    const { checkpoint, signedBy } = openCheckpoint(note, keys.map(parseVerifierKey));
    return [checkpoint.size, signedBy.map(({ text }) => keys.indexOf(text)).sort()];
  });
}

Deno.test("Ledger passes from one key to the next: the old one vouches for the record that names the new one", async () => {
  const disk = new MemoryDisk();
  const keys: string[] = [];
  {
    await using ledger = await open(disk);
    keys.push(...ledger.verifierKeys);
    const { key, index, checkpoint } = await ledger.rotateKey("token:admin");
    keys.push(key);
    assert.deepEqual(ledger.verifierKeys, [keys[1], keys[0]]);
    assert.deepEqual(signersOf(ledger, keys), keys);
    assert.equal(checkpoint, ledger.checkpointBase64());
    const { line } = (await verifyAll(ledger))[index];
    const { type, actor, data } = JSON.parse(line);
    assert.deepEqual([type, actor, data], ["ledger.rotated", "token:admin", { key }]);
    await assert.rejects(() => ledger.rotateKey("token:admin"), { code: "CONFLICT" });
  }
  await using ledger = await open(disk);
  await ledger.append(accepted("both"));
  assert.deepEqual(signersOf(ledger, keys), keys);
  const { key, index } = await ledger.retireKey("token:admin");
  assert.deepEqual([key, ledger.verifierKeys, signersOf(ledger, keys)], [keys[0], [keys[1]], [keys[1]]]);
  assert.deepEqual(JSON.parse((await verifyAll(ledger))[index].line).data, { key: keys[0] });
  await assert.rejects(() => ledger.retireKey("token:admin"), { code: "CONFLICT" });
  await ledger.append(accepted("new"));
  await ledger[Symbol.asyncDispose]();
  await using again = await open(disk);
  assert.deepEqual(again.verifierKeys, [keys[1]]);
  // 0 created, 1 rotated, 2 an append, 3 retired, 4 an append.
  assert.deepEqual(published(disk, keys), [
    ...[[0, [0]], [1, [0]], [2, [0]], [2, [0, 1]]],
    ...[[4, [0, 1]], [4, [1]], [5, [1]]],
  ]);
});

Deno.test("Ledger.rotateKey() refuses a second change while one is under way", async () => {
  await using ledger = await open(new MemoryDisk());
  const [first, second] = await Promise.allSettled([ledger.rotateKey("kernel"), ledger.rotateKey("kernel")]);
  assert.deepEqual([first.status, second.status], ["fulfilled", "rejected"]);
  assert.equal(ledger.verifierKeys.length, 2);
});

Deno.test("Ledger has its keys after any operation of a rotation or a retirement failed", async () => {
  const base = new MemoryDisk();
  await (await open(base))[Symbol.asyncDispose]();
  const work = async (disk: MemoryDisk, told: string[]) => {
    const { deps, fatals } = createDeps(disk);
    let isOpen = false;
    try {
      await using ledger = await openLedger(options, deps);
      isOpen = true;
      told.push((await ledger.rotateKey("kernel")).key);
      told.push((await ledger.retireKey("kernel")).key);
    } catch {
      // What the disk refuses, the ledger does not survive.
      assert.equal(fatals.length, isOpen ? 1 : fatals.length);
    }
  };
  const dry = base.killProcess();
  await work(dry, []);
  for (let at = 1; at <= dry.operations; at++) {
    for (const mode of ["before", "after"] satisfies FaultMode[]) {
      const disk = base.killProcess();
      disk.fault = { at, mode };
      const told: string[] = [];
      await work(disk, told);
      for (const found of [disk.killProcess(), disk.cutPower()]) {
        const what = `operation ${at} failed ${mode} its work`;
        await using ledger = await open(found);
        const entries = (await verifyAll(ledger)).map(({ line }) => JSON.parse(line));
        const keysOf = (wanted: string) =>
          entries.filter(({ type }) => type === wanted).map(({ data }) => data.key);
        const [created] = entries[0].data.keys;
        // Whoever signs now was named by a record that a key before it vouched for, and by none after.
        for (const key of ledger.verifierKeys) {
          assert.ok([created, ...keysOf("ledger.rotated")].includes(key), what);
          assert.ok(!keysOf("ledger.retired").includes(key), what);
        }
        if (told[0] !== undefined) assert.ok(ledger.verifierKeys.includes(told[0]), what);
        if (told[1] !== undefined) assert.deepEqual(ledger.verifierKeys, [told[0]], what);
        await ledger.append(accepted("next"));
        assert.deepEqual(signersOf(ledger, ledger.verifierKeys).length, ledger.verifierKeys.length, what);
      }
    }
  }
});

Deno.test("Ledger changes its keys under load, with checkpoints published all the time", async () => {
  const disk = new MemoryDisk();
  const keys: string[] = [];
  {
    await using ledger = await open(disk, { checkpointIntervalMs: 0 });
    keys.push(...ledger.verifierKeys);
    let isOver = false;
    const appending = Array.from({ length: 8 }, async (_, writer) => {
      for (let count = 0; !isOver; count++) await ledger.append(accepted(`${writer}-${count}`));
    });
    for (let change = 0; change < 10; change++) {
      keys.push((await ledger.rotateKey("kernel")).key);
      await ledger.retireKey("kernel");
    }
    isOver = true;
    await Promise.all(appending);
    await verifyAll(ledger);
  }
  for (const [size, by] of published(disk, keys)) assert.ok(by.length > 0, String(size));
  await using again = await open(disk);
  assert.deepEqual(again.verifierKeys, [keys[10]]);
});

Deno.test("Ledger.rotateKey() that is refused changes nothing, at the next start either", async () => {
  const disk = new MemoryDisk();
  {
    await using ledger = await open(disk, { queueRecordsMax: 1 });
    let told = "";
    const crowding = Array.from({ length: 8 }, async () => {
      for (let count = 0; count < 10_000 && told === ""; count++) {
        await ledger.append(accepted("crowd")).catch(() => new Promise((resolve) => setTimeout(resolve)));
      }
    });
    told = await ledger.rotateKey("token:admin").then(() => "done", ({ code }) => code);
    await Promise.all(crowding);
    assert.equal(told, "QUEUE_FULL");
    assert.ok(!disk.paths().includes(`${folder}/signing.key.next`));
  }
  const ledger = await open(disk);
  assert.equal(ledger.verifierKeys.length, 1);
  await ledger[Symbol.asyncDispose]();
  // Closed, it takes no change, and writes nothing.
  const before = disk.operations;
  await assert.rejects(() => ledger.rotateKey("kernel"), { code: "NOT_READY" });
  assert.equal(disk.operations, before);
});

Deno.test("Ledger waits for a change of keys under way before it is closed", async () => {
  const disk = new MemoryDisk();
  const ledger = await open(disk);
  const rotated = ledger.rotateKey("kernel").then(() => "done", ({ code }) => code);
  await ledger[Symbol.asyncDispose]();
  const after = disk.operations;
  const told = await rotated;
  assert.equal(disk.operations, after, "it writes nothing once it is closed");
  await using again = await open(disk);
  assert.equal(again.verifierKeys.length, told === "done" ? 2 : 1);
});

/** A ledger after a kill, with a line at its end that someone put there who does not hold its key. */
async function forgeTail(type: "ledger.rotated" | "ledger.retired", key?: string): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  let own = "";
  {
    await using ledger = await open(disk);
    own = ledger.verifierKeys[0];
    await ledger.append(accepted("r1"));
  }
  const path = `${folder}/log/${"0".repeat(20)}.ndjson`;
  const log = new TextDecoder().decode(disk.get(path));
  const last = log.trimEnd().split("\n").at(-1) ?? "";
  const forged = formatRecord({
    ...{ v: 1, seq: 2, time: "2026-11-20T10:00:01.000Z", type, actor: "kernel", plugin: "" },
    data: { key: key ?? own },
    prev: hashLeaf(last),
  });
  disk.put(path, new TextEncoder().encode(`${log}${forged}\n`));
  return disk;
}

Deno.test("openLedger() signs no entry that changes keys and was put there by somebody else", async () => {
  const stranger = createSigner("airlock-00010203", generateKeyPairSync("ed25519").privateKey).verifier.text;
  for (
    const [type, key] of [["ledger.rotated", stranger], ["ledger.retired"], [
      "ledger.retired",
      stranger,
    ]] as const
  ) {
    const disk = await forgeTail(type, key);
    await assert.rejects(() => open(disk), (error) => {
      assert.ok(error instanceof LedgerCorruptError);
      assert.equal(error.index, 2);
      assert.match(error.message, /entry 2, which no checkpoint covers, changes keys/);
      return true;
    });
  }
});

Deno.test("openLedger() adopts no next key that the key before it did not sign", async () => {
  const disk = new MemoryDisk();
  await (await open(disk))[Symbol.asyncDispose]();
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = String(privateKey.export({ format: "pem", type: "pkcs8" }));
  const stranger = createSigner("airlock-00010203", privateKey);
  for (const planted of [pem, pem + signNote(`${stranger.verifier.text}\n`, [stranger]), "x", ""]) {
    const copy = disk.killProcess();
    copy.put(`${folder}/signing.key.next`, new TextEncoder().encode(planted));
    await assert.rejects(() => open(copy), LedgerCorruptError, planted);
  }
});
