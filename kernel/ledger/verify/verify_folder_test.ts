import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { signCheckpoint } from "../checkpoint.ts";
import { openLedger } from "../ledger.ts";
import { createSigner, parseVerifierKey } from "../signed_note.ts";
import { accepted, createDeps, folder, open, options } from "../testing/ledger_support.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";
import { hashLeaf } from "../tree.ts";
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
import { verifyLedgerFolder } from "./verify_folder.ts";

const newline = 0x0a;

Deno.test("verifyLedgerFolder() says what it verified", async () => {
  const { disk, keys, anchors } = await createLog(300);
  const verified = await verify(disk, keys, anchors[100]);
  assert.deepEqual(
    [verified.size, verified.signedBy, verified.checkpoints, verified.anchor, verified.above],
    [300, keys, 3, { size: 101, signedBy: keys }, { entries: 0, bytes: 0 }],
  );
  assert.deepEqual(verified.keys, [{ key: keys[0], from: 0, until: null }]);
  assert.deepEqual([verified.firstTime, verified.lastTime], [
    "2026-11-20T10:00:00.000Z",
    "2026-11-20T10:00:00.000Z",
  ]);
});

for (
  const [what, damageTiles] of [
    ["with its tiles", () => {}],
    ["without tiles", (disk: MemoryDisk) => disk.drop(`${folder}/tiles/0`)],
    ["with tiles of another log", (disk: MemoryDisk) => {
      const bytes = disk.get(`${folder}/tiles/0`);
      bytes[700] ^= 1;
      disk.put(`${folder}/tiles/0`, bytes);
    }],
  ] as const
) {
  // Each bit with the tiles; without them the first of each byte, and all of a few lines.
  Deno.test(`verifyLedgerFolder() finds each flipped bit of a log of 40 records ${what}, and names its entry`, async () => {
    const { disk, keys } = await createLog(40);
    damageTiles(disk);
    const bytes = disk.get(logFile());
    const isThorough = what === "with its tiles";
    let entry = 0;
    for (let at = 0; at < bytes.length; at++) {
      const bits = isThorough || [0, 1, 38, 39].includes(entry) ? 8 : 1;
      for (let bit = 0; bit < bits; bit++) {
        const flipped = bytes.slice();
        flipped[at] ^= 1 << bit;
        disk.put(logFile(), flipped);
        const { index, message, isExact } = await refusal(disk, keys);
        const where = `bit ${bit} of byte ${at}, in entry ${entry}: ${message}`;
        const [, broken] = /^the chain breaks at entry (\d+): entry 1 or one after it/.exec(message) ?? [];
        // Without a proven leaf hash nothing says what the last entry was, nor two that became one line.
        const isUnproven = entry === 39 || bytes[at] === newline || flipped[at] === newline;
        if (isExact) assert.equal(index, entry, where);
        else {assert.ok(
            !isThorough && isUnproven && index === 1 && [undefined, `${entry}`].includes(broken),
            where,
          );}
      }
      if (bytes[at] === newline) entry += 1;
    }
    assert.equal(entry, 40);
  });
}

Deno.test("verifyLedgerFolder() finds a log of 40 records cut at any byte, and names the entry", async () => {
  const { disk, keys } = await createLog(40);
  const bytes = disk.get(logFile());
  for (let length = 0; length < bytes.length; length++) {
    disk.put(logFile(), bytes.slice(0, length));
    const whole = bytes.subarray(0, length).filter((byte) => byte === newline).length;
    const { index, message } = await refusal(disk, keys);
    assert.equal(index, whole, `cut to ${length} bytes: ${message}`);
  }
});

Deno.test("verifyLedgerFolder() refuses each flipped bit of the checkpoint and of checkpoints.log, and accuses no entry", async () => {
  const { disk, keys } = await createLog(3);
  for (const dropTiles of [() => {}, () => disk.drop(`${folder}/tiles/0`)]) {
    dropTiles();
    for (const path of [checkpointFile, publishedFile]) {
      const bytes = disk.get(path);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3] ^= 1 << (bit & 7);
        // A line that has lost its end at the end of the file is what a crash leaves.
        if (path === publishedFile && flipped.at(-1) !== newline) continue;
        disk.put(path, flipped);
        const { index, message } = await refusal(disk, keys);
        assert.notEqual(message, "verified", `bit ${bit} of ${path}`);
        assert.equal(index, undefined, `bit ${bit} of ${path}: ${message}`);
      }
      disk.put(path, bytes);
    }
  }
});

Deno.test("verifyLedgerFolder() tells a log that the key's holder rewrote from the one that an anchor is of", async () => {
  const { disk, keys, anchors } = await createLog(20);
  const forged = new MemoryDisk();
  forged.put(`${folder}/signing.key`, disk.get(`${folder}/signing.key`));
  {
    const { deps } = createDeps(forged);
    await using ledger = await openLedger({ ...options, origin: keys[0].split("+")[0] }, deps);
    for (let index = 1; index < 20; index++) await ledger.append(accepted(`forged${index}`));
  }
  assert.equal((await refusal(forged, keys)).message, "verified");
  assert.match(
    (await refusal(forged, keys, anchors[7])).message,
    /^the anchor, of 8 entries, has another root hash/,
  );
});

Deno.test("verifyLedgerFolder() tells a log whose end was cut, checkpoints and all, by an anchor alone", async () => {
  const long = await createLog(12);
  const disk = new MemoryDisk();
  const lines = textOf(long.disk, logFile()).split("\n");
  put(disk, logFile(), `${lines.slice(0, 5).join("\n")}\n`);
  put(disk, checkpointFile, long.anchors[4]);
  put(disk, publishedFile, `${new TextEncoder().encode(long.anchors[4]).toBase64()}\n`);
  assert.equal((await refusal(disk, long.keys)).message, "verified");
  assert.deepEqual(await refusal(disk, long.keys, long.anchors[11]), {
    index: 5,
    message: "the log was cut: it ends after 5 entries, the anchor is of 12",
    isExact: true,
  });
  // Whoever forgets checkpoints.log is told as well.
  disk.put(publishedFile, long.disk.get(publishedFile));
  assert.match(
    (await refusal(disk, long.keys)).message,
    /the log was cut: .* line 3 of checkpoints\.log is of 12/,
  );
});

Deno.test("verifyLedgerFolder() tells that a checkpoint in the middle was of other entries", async () => {
  const { disk, keys, anchors } = await createLog(20);
  const [origin] = keys[0].split("+");
  const signer = createSigner(origin, createPrivateKey(textOf(disk, `${folder}/signing.key`)));
  const other = signCheckpoint({ origin, size: 10, rootHash: "00".repeat(32) }, [signer]);
  const [first, , last] = textOf(disk, publishedFile).split("\n");
  const encode = (note: string) => new TextEncoder().encode(note).toBase64();
  put(disk, publishedFile, `${[first, encode(anchors[9]), last].join("\n")}\n`);
  assert.equal((await refusal(disk, keys)).message, "verified");
  put(disk, publishedFile, `${[first, encode(other), last].join("\n")}\n`);
  assert.match(
    (await refusal(disk, keys)).message,
    /line 2 of checkpoints\.log, of 10 entries, has another root/,
  );
  put(disk, publishedFile, `${[first, last, encode(anchors[9])].join("\n")}\n`);
  assert.match((await refusal(disk, keys)).message, /line 3 of checkpoints\.log is of a smaller log/);
});

Deno.test("verifyLedgerFolder() says from where on a tail may have been rewritten, when tiles cannot tell", async () => {
  const { disk, keys, anchors } = await createLog(40);
  const other = await createLog(40, 9);
  disk.put(logFile(), other.disk.get(logFile()));
  assert.deepEqual((await refusal(disk, keys)).index, 0);
  // The same beginning, another end.
  const forged = new MemoryDisk();
  const copy = await createLog(40);
  put(forged, logFile(), textOf(copy.disk, logFile()).split("\n").slice(0, 20).join("\n") + "\n");
  put(forged, checkpointFile, anchors[19]);
  put(forged, publishedFile, textOf(copy.disk, publishedFile).split("\n").slice(0, 2).join("\n") + "\n");
  forged.put(`${folder}/signing.key`, copy.disk.get(`${folder}/signing.key`));
  {
    await using ledger = await open(forged);
    for (let index = 20; index < 40; index++) await ledger.append(accepted(`forged${index}`));
  }
  const original = copy.disk;
  original.put(logFile(), forged.get(logFile()));
  assert.deepEqual((await refusal(original, keys)).index, 20);
  original.drop(`${folder}/tiles/0`);
  const { index, isExact, message } = await refusal(original, keys);
  assert.deepEqual([index, isExact], [1, false], message);
});

Deno.test("verifyLedgerFolder() names no entry for certain when several were chained anew, and no tiles are there", async () => {
  const { disk, keys } = await createLog(40);
  const lines = textOf(disk, logFile()).trimEnd().split("\n");
  lines[3] = lines[3].replace("p3@1.0.0", "p3@1.0.1");
  for (let index = 4; index <= 6; index++) {
    lines[index] = lines[index].replace(/"prev":"[0-9a-f]{64}"/, `"prev":"${hashLeaf(lines[index - 1])}"`);
  }
  put(disk, logFile(), `${lines.join("\n")}\n`);
  assert.deepEqual([(await refusal(disk, keys)).index, (await refusal(disk, keys)).isExact], [3, true]);
  disk.drop(`${folder}/tiles/0`);
  assert.deepEqual(await refusal(disk, keys), {
    index: 1,
    isExact: false,
    message: "the chain breaks at entry 6: entry 1 or one after it was changed",
  });
});

Deno.test("verifyLedgerFolder() finds the first bad entry where tiles cannot be read", async () => {
  const { disk, keys } = await createLog(40);
  put(disk, logFile(), textOf(disk, logFile()).replace("p4@1.0.0", "p4@1.0.1"));
  const whole = disk.killProcess();
  const files = Object.assign(disk, {
    readAt: (path: string, offsetBytes: number, bytesMax: number) =>
      path.includes("tiles")
        ? Promise.reject(new Deno.errors.IsADirectory("tiles/0"))
        : whole.readAt(path, offsetBytes, bytesMax),
  });
  const verified = verifyLedgerFolder(folder, { keys: keys.map(parseVerifierKey), files });
  await assert.rejects(() => verified, { name: "LedgerInvalidError", index: 4, isExact: true });
});

Deno.test("verifyLedgerFolder() takes what a crash leaves, and a kernel that is writing", async () => {
  const { disk, keys, anchors } = await createLog(12);
  put(disk, checkpointFile, anchors[7]);
  put(disk, logFile(), `${textOf(disk, logFile())}{"v":1,"seq":12,`);
  put(disk, publishedFile, `${textOf(disk, publishedFile)}YWly`);
  for (
    const [anchor, size, entries] of [[undefined, 8, 4], [anchors[3], 8, 4], [anchors[11], 12, 0]] as const
  ) {
    const verified = await verify(disk, keys, anchor);
    assert.deepEqual([verified.size, verified.above], [size, { entries, bytes: 16 }]);
  }
});

Deno.test("verifyLedgerFolder() refuses a missing file, a gap, a record too many and a line that never ends", async () => {
  const damages: [
    what: string,
    damage: (disk: MemoryDisk) => void,
    index: number | undefined,
    message: RegExp,
  ][] = [
    ["no checkpoint", (disk) => disk.drop(checkpointFile), undefined, /^there is no checkpoint$/],
    [
      "no checkpoints.log",
      (disk) => disk.drop(publishedFile),
      undefined,
      /^checkpoints\.log is gone: a whole ledger has/,
    ],
    ["no first file", (disk) => disk.drop(logFile()), 0, /./],
    ["no second file", (disk) => disk.drop(logFile(256)), 256, /./],
    [
      "a record too many",
      (disk) => {
        const [line] = textOf(disk, logFile()).split("\n");
        put(disk, logFile(), `${textOf(disk, logFile())}${line}\n`);
      },
      256,
      /./,
    ],
    ["no end of a line", (disk) => put(disk, logFile(), "x".repeat(70_000)), 0, /./],
    [
      "a checkpoint of a longer log",
      (disk) => {
        put(disk, checkpointFile, textOf(disk, checkpointFile).replace("\n300\n", "\n9007199254740991\n"));
      },
      undefined,
      /^the checkpoint has a bad signature$/,
    ],
  ];
  for (const [what, damage, index, message] of damages) {
    const { disk, keys } = await createLog(300);
    damage(disk);
    const found = await refusal(disk, keys);
    assert.match(found.message, message, what);
    assert.equal(found.index, index, `${what}: ${found.message}`);
  }
});

Deno.test({
  name: "verifyLedgerFolder() does not wait for a FIFO in the place of a file",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const path = await Deno.makeTempDir();
    await new Deno.Command("mkfifo", { args: [`${path}/checkpoint`] }).output();
    await assert.rejects(() => verifyLedgerFolder(path, { keys: [] }), /is not a file/);
    await Deno.remove(path, { recursive: true });
  },
});
