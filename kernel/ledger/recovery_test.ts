import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { scanLog } from "./recovery.ts";
import { Frontier } from "./tree.ts";
import { accepted, folder, labelOf, open, readAll, verifyAll } from "./testing/ledger_support.ts";
import { type FaultMode, MemoryDisk } from "./testing/memory_disk.ts";

const logFolder = `${folder}/log`;
const firstFile = `${logFolder}/00000000000000000000.ndjson`;
const secondFile = `${logFolder}/00000000000000000256.ndjson`;
const checkpointFile = `${folder}/checkpoint`;
const newline = 0x0a;

/** A ledger of `anchored` calls below its persisted checkpoint and `above` calls above it, as a kill leaves it. */
async function createDisk(anchored: number, above: number): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  {
    await using ledger = await open(disk);
    await Promise.all(
      Array.from({ length: anchored }, (_, index) => ledger.append(accepted(`r${index + 1}`))),
    );
  }
  const ledger = await open(disk);
  for (let index = 0; index < above; index++) await ledger.append(accepted(`r${anchored + index + 1}`));
  const killed = disk.killProcess();
  await ledger[Symbol.asyncDispose]();
  return killed;
}

function lineEnds(bytes: Uint8Array): number[] {
  return Array.from(bytes.keys()).filter((offset) => bytes[offset] === newline).map((offset) => offset + 1);
}

function cutFiles(disk: MemoryDisk): string[] {
  return disk.paths().filter((path) => path.startsWith(`${folder}/cut/`));
}

Deno.test("openLedger() keeps every whole record above the checkpoint after a kill and a loss of power", async () => {
  for (const disk of [await createDisk(3, 4), (await createDisk(3, 4)).cutPower()]) {
    await using ledger = await open(disk);
    const labels = (await verifyAll(ledger)).map(labelOf);
    assert.deepEqual(labels, ["ledger.created", "r1", "r2", "r3", "r4", "r5", "r6", "r7"]);
  }
});

Deno.test("openLedger() recovers the last batch cut at every byte", async () => {
  const disk = await createDisk(2, 2);
  const bytes = disk.get(firstFile);
  const anchorBytes = lineEnds(bytes)[2];
  for (let length = anchorBytes; length < bytes.length; length++) {
    const torn = disk.killProcess();
    torn.put(firstFile, bytes.subarray(0, length));
    const wholeEnds = lineEnds(bytes.subarray(0, length));
    const cut = bytes.subarray(wholeEnds.at(-1)!, length);
    await using ledger = await open(torn);
    const entries = await verifyAll(ledger);
    const kept = entries.slice(0, wholeEnds.length).map(({ line }) => `${line}\n`).join("");
    assert.equal(kept, new TextDecoder().decode(bytes.subarray(0, wholeEnds.at(-1))));
    const told = entries.slice(wholeEnds.length).map(({ line }) => JSON.parse(line).data);
    const cutSha256 = createHash("sha256").update(cut).digest("hex");
    assert.deepEqual(told, cut.length === 0 ? [] : [{ bytesCut: cut.length, cutSha256 }]);
    assert.deepEqual(cutFiles(torn).map((path) => torn.get(path)), cut.length === 0 ? [] : [cut]);
  }
});

Deno.test("openLedger() refuses a log cut at any byte below its checkpoint", async () => {
  const disk = await createDisk(3, 1);
  const bytes = disk.get(firstFile);
  for (let length = 0; length < lineEnds(bytes)[3]; length++) {
    const torn = disk.killProcess();
    torn.put(firstFile, bytes.subarray(0, length));
    await assert.rejects(() => open(torn), LedgerCorruptError, `cut to ${length} bytes`);
    assert.deepEqual(torn.get(firstFile), bytes.subarray(0, length), "a refused log stays as it is");
  }
});

// Below the checkpoint the root binds every bit. Above it the chain binds all entries but the last one, which
// nothing that is on disk says anything about.
Deno.test("scanLog() refuses every flipped bit below the checkpoint and ends the log at those above it", async () => {
  const disk = await createDisk(4, 3);
  const bytes = disk.get(firstFile);
  const lines = new TextDecoder().decode(bytes).split("\n");
  const anchor = parseCheckpoint(new TextDecoder().decode(disk.get(checkpointFile)).split("\n\n")[0] + "\n");
  assert.equal(anchor.size, 5);
  const ends = lineEnds(bytes);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    disk.put(firstFile, flipped);
    const index = ends.findIndex((end) => end > bit >> 3);
    if (index < anchor.size) {
      await assert.rejects(
        () => scanLog(disk, logFolder, { anchor, tree: new Frontier() }),
        LedgerCorruptError,
        `bit ${bit}`,
      );
      continue;
    }
    const { tree, cut } = await scanLog(disk, logFolder, { anchor, tree: new Frontier() });
    const changedLineIsKept = tree.size === index + 1;
    assert.ok(tree.size === index || changedLineIsKept, `bit ${bit}: ${tree.size} entries`);
    // A changed line that still reads as the next record of the chain is kept; what follows it does not follow.
    assert.equal(cut.length, changedLineIsKept && index === lines.length - 2 ? 0 : 1, `bit ${bit}`);
  }
});

Deno.test("openLedger() refuses every flipped bit of the persisted checkpoint", async () => {
  const disk = await createDisk(2, 1);
  const bytes = disk.get(checkpointFile);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    disk.put(checkpointFile, flipped);
    await assert.rejects(() => open(disk), LedgerCorruptError, `bit ${bit}`);
  }
});

Deno.test("openLedger() says where a log was changed", async () => {
  const disk = await createDisk(5, 1);
  const changed = new TextDecoder().decode(disk.get(firstFile)).replace(`"request":"r3"`, `"request":"r9"`);
  disk.put(firstFile, new TextEncoder().encode(changed));
  await assert.rejects(() => open(disk), (error) => {
    assert.ok(error instanceof LedgerCorruptError);
    assert.deepEqual([error.file, error.index], [firstFile, 3]);
    assert.match(error.message, /0\.ndjson": entry 3 is not the one that was logged/);
    return true;
  });
});

Deno.test("openLedger() refuses a rewritten log that is chained but has another root", async () => {
  const disk = await createDisk(1, 0);
  const other = await createDisk(0, 0);
  await using rewriter = await open(other);
  await rewriter.append(accepted("forged"));
  disk.put(firstFile, other.get(firstFile));
  await assert.rejects(() => open(disk), /entry 1 is not the one that was logged/);
  disk.drop(`${folder}/tiles/0`);
  await assert.rejects(
    () => open(disk),
    /the root hash of its entries is not the one of the checkpoint of size 2/,
  );
});

Deno.test("openLedger() refuses a folder from which a file was taken away", async () => {
  for (
    const [path, message] of [
      [checkpointFile, /it has a log and no checkpoint/],
      [`${folder}/signing.key`, /its signing key is gone/],
      [firstFile, /the log ends after 0 entries, its checkpoint has 4/],
    ] as const
  ) {
    const disk = await createDisk(3, 1);
    disk.drop(path);
    await assert.rejects(() => open(disk), (error) => {
      assert.ok(error instanceof LedgerCorruptError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("openLedger() cuts a gap between files above the checkpoint and refuses it below", async () => {
  const above = await createDisk(250, 10);
  above.put(firstFile, above.get(firstFile).subarray(0, lineEnds(above.get(firstFile))[252]));
  const second = above.get(secondFile);
  {
    await using ledger = await open(above);
    const entries = await verifyAll(ledger);
    assert.equal(entries.length, 254);
    assert.equal(JSON.parse(entries[253].line).data.bytesCut, second.length);
    assert.deepEqual(above.get(cutFiles(above)[0]), second);
    assert.ok(!above.paths().includes(secondFile));
  }
  const below = await createDisk(260, 0);
  below.put(firstFile, below.get(firstFile).subarray(0, lineEnds(below.get(firstFile))[252]));
  await assert.rejects(() => open(below), LedgerCorruptError);
});

Deno.test("openLedger() cuts a record too many in a file, for good", async () => {
  const disk = await createDisk(255, 0);
  const full = disk.get(firstFile);
  disk.put(firstFile, new Uint8Array([...full, ...full.subarray(0, lineEnds(full)[0])]));
  await using ledger = await open(disk);
  assert.equal((await verifyAll(ledger)).length, 257);
  assert.deepEqual(disk.get(firstFile), full);
  assert.deepEqual(disk.cutPower().get(firstFile), full);
});

interface Acknowledged {
  readonly index: number;
  readonly label: string;
}

/** Runs `work` until the disk refuses; the acknowledgements that it gave up to then. */
async function runToFault(
  disk: MemoryDisk,
  work: (acknowledge: (entry: Acknowledged) => void) => Promise<void>,
): Promise<Acknowledged[]> {
  const acknowledged: Acknowledged[] = [];
  await work((entry) => acknowledged.push(entry)).catch(() => undefined);
  disk.fault = undefined;
  return acknowledged;
}

/** Appends alone, together and across the end of a file, then closes. */
async function appendSome(disk: MemoryDisk, acknowledge: (entry: Acknowledged) => void): Promise<void> {
  await using ledger = await open(disk);
  const append = async (label: string) =>
    acknowledge({ index: (await ledger.append(accepted(label))).index, label });
  await append("a1");
  await Promise.all(["b1", "b2", "b3"].map(append));
  await append("c1");
}

/** Every fault at every operation of {@linkcode appendSome}, then a kill or a loss of power, then a new start. */
async function sweepFaults(base: MemoryDisk): Promise<number> {
  const dry = base.killProcess();
  await appendSome(dry, () => {});
  const operations = dry.operations;
  for (let at = 1; at <= operations; at++) {
    for (const mode of ["before", "after"] satisfies FaultMode[]) {
      const disk = base.killProcess();
      disk.writeBytesMax = 100;
      disk.fault = { at, mode };
      const acknowledged = await runToFault(disk, (acknowledge) => appendSome(disk, acknowledge));
      for (const [how, found] of [["kill", disk.killProcess()], ["power", disk.cutPower()]] as const) {
        await checkRecovered(found, acknowledged, `operation ${at} failed ${mode} its work, then ${how}`);
      }
    }
  }
  return operations;
}

/** Opens, appends, and loses power at once: what a start has recovered is durable too. */
async function checkRecovered(
  disk: MemoryDisk,
  acknowledged: readonly Acknowledged[],
  what: string,
): Promise<void> {
  try {
    const ledger = await open(disk);
    const next = { index: (await ledger.append(accepted("next"))).index, label: "next" };
    await using again = await open(disk.cutPower());
    const labels = (await verifyAll(again)).map(labelOf);
    for (const { index, label } of [...acknowledged, next]) {
      assert.equal(labels[index], label);
      // It is checked against the signed root before it is handed out.
      await again.reader.inclusionProof(index);
    }
    await ledger[Symbol.asyncDispose]();
  } catch (cause) {
    throw new Error(what, { cause });
  }
}

Deno.test("openLedger() and append() lose nothing acknowledged whichever operation fails, from the first start", async () => {
  assert.ok(await sweepFaults(new MemoryDisk()) > 40);
});

Deno.test("append() loses nothing acknowledged whichever operation fails at the end of a file", async () => {
  assert.ok(await sweepFaults((await createDisk(251, 2)).cutPower()) > 15);
});

Deno.test("openLedger() loses neither records nor cut bytes whichever operation of a recovery fails", async () => {
  const base = await createDisk(253, 4);
  const [tornFile, torn] = [firstFile, base.get(firstFile)];
  base.put(tornFile, torn.subarray(0, torn.length - 7));
  const cut = [
    ...base.get(firstFile).subarray(lineEnds(base.get(firstFile)).at(-1)),
    ...base.get(secondFile),
  ];
  const dry = base.killProcess();
  await (await open(dry))[Symbol.asyncDispose]();
  for (let at = 1; at <= dry.operations; at++) {
    for (const mode of ["before", "after"] satisfies FaultMode[]) {
      const disk = base.killProcess();
      disk.fault = { at, mode };
      await runToFault(disk, async () => await (await open(disk))[Symbol.asyncDispose]());
      for (const found of [disk.killProcess(), disk.cutPower()]) {
        await using ledger = await open(found);
        const labels = (await verifyAll(ledger)).map(labelOf);
        assert.deepEqual(labels.slice(250, 255), ["r250", "r251", "r252", "r253", "r254"], `operation ${at}`);
        const told = (await readAll(ledger)).map(({ line }) => JSON.parse(line).data.cutSha256).filter(
          Boolean,
        );
        const kept = cutFiles(found).filter((path) => path.endsWith(".cut")).map((path) => found.get(path));
        assert.ok(
          kept.some((bytes) => Buffer.from(bytes).equals(Uint8Array.from(cut))),
          `operation ${at} ${mode}`,
        );
        for (const bytes of kept) assert.ok(told.includes(createHash("sha256").update(bytes).digest("hex")));
      }
    }
  }
});
