import assert from "node:assert/strict";
import { openCheckpoint } from "./checkpoint.ts";
import type { Ledger } from "./ledger.ts";
import { parseVerifierKey } from "./signed_note.ts";
import { accepted, folder, open, verifyAll } from "./testing/ledger_support.ts";
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
    await using ledger = await open(disk);
    told.push((await ledger.rotateKey("kernel")).key);
    told.push((await ledger.retireKey("kernel")).key);
  };
  const dry = base.killProcess();
  await work(dry, []);
  for (let at = 1; at <= dry.operations; at++) {
    for (const mode of ["before", "after"] satisfies FaultMode[]) {
      const disk = base.killProcess();
      disk.fault = { at, mode };
      const told: string[] = [];
      await work(disk, told).catch(() => undefined);
      for (const found of [disk.killProcess(), disk.cutPower()]) {
        const what = `operation ${at} failed ${mode} its work`;
        await using ledger = await open(found);
        const entries = (await verifyAll(ledger)).map(({ line }) => JSON.parse(line));
        const named = entries.filter(({ type }) => type === "ledger.rotated").map(({ data }) => data.key);
        const [created] = entries[0].data.keys;
        // Whoever signs now was named by a record that a key before it vouched for.
        for (const key of ledger.verifierKeys) assert.ok([created, ...named].includes(key), what);
        if (told[0] !== undefined) assert.ok(ledger.verifierKeys.includes(told[0]), what);
        if (told[1] !== undefined) assert.deepEqual(ledger.verifierKeys, [told[0]], what);
        await ledger.append(accepted("next"));
        assert.deepEqual(signersOf(ledger, ledger.verifierKeys).length, ledger.verifierKeys.length, what);
      }
    }
  }
});
