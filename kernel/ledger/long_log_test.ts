import assert from "node:assert/strict";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { openLedger } from "./ledger.ts";
import { checkConsistency, checkInclusion } from "./proof.ts";
import { accepted, createDeps, folder, open, options, verifyAll } from "./testing/ledger_support.ts";
import { MemoryDisk } from "./testing/memory_disk.ts";
import { hashLeaf } from "./tree.ts";

const fileOf = (index: number) => `${folder}/log/${String(index).padStart(20, "0")}.ndjson`;
const tileFile = (level: number) => `${folder}/tiles/${level}`;
/** So few are read at a start that the older ones matter; all others are read at once. */
const short = { ...options, openRecordsMax: 256, auditRecordsPerSecond: 1_000_000_000 };
const hex = (base64: string) => Uint8Array.fromBase64(base64).toHex();

/** A closed ledger of `size` entries. */
async function createDisk(size: number): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await using ledger = await open(disk);
  let index = 1;
  const appending = Array.from({ length: 512 }, async () => {
    while (index < size) await ledger.append(accepted(`r${index++}`));
  });
  await Promise.all(appending);
  return disk;
}

function flipBit(disk: MemoryDisk, path: string, offsetBytes: number): void {
  const bytes = disk.get(path);
  bytes[offsetBytes] ^= 1;
  disk.put(path, bytes);
}

/** Opens with few records read; gives what the ledger told. */
async function openShort(disk: MemoryDisk) {
  const { deps, fatals } = createDeps(disk);
  const warnings: string[] = [];
  const scanned: number[] = [];
  const told = Promise.withResolvers<void>();
  const ledger = await openLedger(short, {
    ...deps,
    scanned: ({ seq }) => scanned.push(seq),
    warn(message) {
      warnings.push(message);
      told.resolve();
    },
    fatal(error) {
      fatals.push(error);
      told.resolve();
    },
  });
  return { ledger, fatals, warnings, scanned, told: told.promise };
}

Deno.test("openLedger() reads the end of a long log only, and goes on with the same tree", async () => {
  const disk = await createDisk(1_000);
  const { ledger, scanned, fatals, warnings } = await openShort(disk);
  await using _ = ledger;
  assert.deepEqual([scanned[0], scanned.length], [512, 488]);
  await ledger.append(accepted("next"));
  assert.equal((await verifyAll(ledger)).length, 1_001);
  assert.deepEqual([fatals, warnings], [[], []]);
});

Deno.test("openLedger() gives each record that it reads to scanned(), in order", async () => {
  const disk = await createDisk(300);
  const { deps } = createDeps(disk);
  const seen: string[] = [];
  await using _ledger = await openLedger(options, {
    ...deps,
    scanned: ({ seq, type }) => seen.push(`${seq} ${type}`),
  });
  assert.deepEqual([seen.length, seen[0], seen[299]], [300, "0 ledger.created", "299 call.accepted"]);
});

Deno.test("Tiles hold the leaf hashes, and the roots of each 256 of them", async () => {
  const disk = await createDisk(600);
  await using ledger = await open(disk);
  const leaves = (await verifyAll(ledger)).map(({ leafHash }) => leafHash);
  assert.equal(disk.get(tileFile(0)).toHex(), leaves.join(""));
  assert.equal(disk.get(tileFile(1)).length, 64);
  const tile = await ledger.reader.tile({ kind: "hashes", level: 0, index: 2, width: 88 });
  assert.equal(tile?.toHex(), leaves.slice(512).join(""));
});

Deno.test("openLedger() makes tiles anew that are gone, short or of another tree, and then proves each entry", async () => {
  const damages: [string, (disk: MemoryDisk) => void][] = [
    ["gone", (disk) => [0, 1].forEach((level) => disk.drop(tileFile(level)))],
    ["short", (disk) => disk.put(tileFile(1), disk.get(tileFile(1)).slice(0, 40))],
    ["of another tree", (disk) => flipBit(disk, tileFile(1), 5)],
    ["without their last leaf", (disk) => disk.put(tileFile(0), disk.get(tileFile(0)).slice(0, -32))],
  ];
  for (const [what, damage] of damages) {
    const disk = await createDisk(700);
    damage(disk);
    const { ledger, scanned, warnings } = await openShort(disk);
    await using _ = ledger;
    assert.deepEqual([scanned.length, warnings.length], [700, 1], what);
    const { size, rootHash } = ledger.checkpoint();
    for (const { index, leafHash } of await verifyAll(ledger)) {
      const { hashes } = await ledger.reader.inclusionProof(index);
      checkInclusion({ index, size, leafHash, rootHash: hex(rootHash), hashes: hashes.map(hex) });
    }
  }
});

Deno.test("openLedger() opens a log of more than 65,536 entries whatever happened to its tiles", async () => {
  const disk = await createDisk(65_600);
  const damages: [what: string, damage: (disk: MemoryDisk) => void, warned?: number][] = [
    ["a bit of level 1", (disk) => flipBit(disk, tileFile(1), 5)],
    // What lies after the start is written anew in any case.
    ["a bit of level 2", (disk) => flipBit(disk, tileFile(2), 5), 0],
    ["no level 0", (disk) => disk.drop(tileFile(0))],
    ["no level 1", (disk) => disk.drop(tileFile(1))],
    ["no level 2", (disk) => disk.drop(tileFile(2))],
  ];
  for (const [what, damage, warned = 1] of damages) {
    const copy = disk.killProcess();
    damage(copy);
    const { ledger, fatals, warnings } = await openShort(copy);
    assert.deepEqual([ledger.size, fatals.length, warnings.length], [65_600, 0, warned], what);
    await ledger.reader.inclusionProof(70);
    await ledger[Symbol.asyncDispose]();
  }
});

Deno.test("openLedger() takes a log for whole that is a little longer than what it reads", async () => {
  for (const size of [256, 257, 300, 511, 512, 513]) {
    const { ledger, warnings, fatals } = await openShort(await createDisk(size));
    assert.deepEqual([ledger.size, warnings, fatals], [size, [], []]);
    await ledger[Symbol.asyncDispose]();
  }
});

Deno.test("Ledger does not fail when an old file cannot be read for once", async () => {
  const disk = await createDisk(1_000);
  const readAt = disk.readAt.bind(disk);
  let isRefused = false;
  disk.readAt = (path, offsetBytes, bytesMax) => {
    if (path !== fileOf(0) || isRefused) return readAt(path, offsetBytes, bytesMax);
    isRefused = true;
    return Promise.reject(new Error("Too many open files (os error 24)"));
  };
  const { ledger, fatals, warnings, told } = await openShort(disk);
  await told;
  assert.deepEqual([fatals.length, isRefused], [0, true]);
  assert.match(warnings.join(), /Cannot read the older records .*Too many open files/);
  await ledger.append(accepted("next"));
  await ledger[Symbol.asyncDispose]();
});

Deno.test("Ledger finds an old record that was changed, names it and fails", async () => {
  const disk = await createDisk(1_000);
  const line = new TextDecoder().decode(disk.get(fileOf(256))).replace(
    `"request":"r300"`,
    `"request":"r999"`,
  );
  disk.put(fileOf(256), new TextEncoder().encode(line));
  const { ledger, fatals, told } = await openShort(disk);
  await told;
  assert.equal(fatals.length, 1);
  assert.ok(fatals[0].cause instanceof LedgerCorruptError);
  assert.deepEqual([fatals[0].cause.file, fatals[0].cause.index], [fileOf(256), 300]);
  await assert.rejects(() => ledger.append(accepted("next")), { code: "INTERNAL" });
  await ledger[Symbol.asyncDispose]();
});

Deno.test("Ledger mends old tiles that do not fit the log, and refuses to prove anything by them before", async () => {
  const disk = await createDisk(1_000);
  flipBit(disk, tileFile(0), 300 * 32);
  const { ledger, warnings, told } = await openShort(disk);
  await using _ = ledger;
  await assert.rejects(() => ledger.reader.inclusionProof(301), { code: "INTERNAL" });
  await told;
  assert.match(warnings.join(), /1 stretches .* were damaged: they are mended/);
  const { hashes } = await ledger.reader.inclusionProof(301);
  const { size, rootHash } = ledger.checkpoint();
  const [{ line }] = (await ledger.reader.entries({ after: 300, limit: 1 })).items;
  checkInclusion({
    index: 301,
    size,
    leafHash: hashLeaf(line),
    rootHash: hex(rootHash),
    hashes: hashes.map(hex),
  });
});

Deno.test("openLedger() refuses a long log from which an old file was taken", async () => {
  const disk = await createDisk(1_000);
  disk.drop(fileOf(256));
  await assert.rejects(() => openShort(disk), (error) => {
    assert.ok(error instanceof LedgerCorruptError);
    assert.deepEqual([error.file, error.index], [fileOf(256), 256]);
    return true;
  });
});

Deno.test("LedgerReader proves that each later tree begins with an earlier one", async () => {
  await using ledger = await open(await createDisk(520));
  const roots: string[] = [];
  for (const size of [1, 2, 3, 255, 256, 257, 511, 520]) {
    const { left } = (await ledger.reader.bundle(size - 1, size)).header;
    assert.ok(left.length <= 10);
    roots.push(String(size));
  }
  for (const from of roots.map(Number)) {
    for (const to of roots.map(Number).filter((size) => size >= from)) {
      const { hashes } = await ledger.reader.consistencyProof(from, to);
      const rootOf = async (size: number) => {
        const copy = await open(await createDisk(size));
        await using _ = copy;
        return hex(copy.checkpoint().rootHash);
      };
      const [fromRootHash, toRootHash] = [await rootOf(from), await rootOf(to)];
      checkConsistency({ from, to, fromRootHash, toRootHash, hashes: hashes.map(hex) });
    }
  }
});
