import assert from "node:assert/strict";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { checkConsistency, checkInclusion } from "./proof.ts";
import { createWorld, isProblem, rootOf } from "./testing/reader_world.ts";

Deno.test("LedgerReader.inclusionProof() proves every entry of logs of every size to 40", async () => {
  for (let size = 1; size <= 40; size++) {
    const { reader, tree } = createWorld(size);
    for (let index = 0; index < size; index++) {
      const proof = await reader.inclusionProof(index);
      assert.deepEqual([proof.index, proof.size, proof.checkpoint], [index, size, `note of ${size}`]);
      const hashes = proof.hashes.map((hash) => Uint8Array.fromBase64(hash).toHex());
      checkInclusion({ index, size, leafHash: tree.leaves[index], rootHash: tree.root(0, size), hashes });
    }
  }
});

Deno.test("LedgerReader.inclusionProof() has none for what is no durable entry", async () => {
  const { reader } = createWorld(3);
  for (const index of [3, 2 ** 53, -1, 0.5, NaN]) {
    await assert.rejects(() => reader.inclusionProof(index), isProblem("ENTRY_NOT_FOUND"));
  }
});

Deno.test("LedgerReader.consistencyProof() proves each pair of sizes to 24, and the newest size by default", async () => {
  const { reader, tree } = createWorld(24);
  for (let to = 1; to <= 24; to++) {
    for (let from = 1; from <= to; from++) {
      const proof = await reader.consistencyProof(from, to);
      const hashes = proof.hashes.map((hash) => Uint8Array.fromBase64(hash).toHex());
      checkConsistency({ from, to, fromRootHash: tree.root(0, from), toRootHash: tree.root(0, to), hashes });
    }
  }
  assert.equal((await reader.consistencyProof(5)).to, 24);
});

Deno.test("LedgerReader.consistencyProof() refuses sizes that the log has not had", async () => {
  const { reader } = createWorld(9);
  const ranges = [[0, 9], [0, undefined], [-1, 3], [4, 3], [1, 10], [10, undefined], [1, 2 ** 53], [
    1.5,
    3,
  ]] as const;
  for (const [from, to] of ranges) {
    await assert.rejects(() => reader.consistencyProof(from, to), isProblem("INPUT_INVALID"));
  }
});

// Tiles are derived and nobody signed them: what one of them says must never leave as a proof.
Deno.test("LedgerReader never hands out a proof from a damaged tile, and says how to mend it", async () => {
  const size = 21;
  const flip = (hash: string) => `${hash.startsWith("0") ? "1" : "0"}${hash.slice(1)}`;
  const places = [0, 1, 2, 3, 4].flatMap((level) =>
    Array.from({ length: Math.floor(size / 2 ** level) }, (_, index) => ({ level, index }))
  );
  let refused = 0;
  for (const { level, index } of places) {
    const { reader, tree } = createWorld(size, {
      damage: (hash, place) => place.level === level && place.index === index ? flip(hash) : hash,
    });
    const attempts = [
      ...Array.from({ length: size }, (_, at) => async () => {
        const { hashes } = await reader.inclusionProof(at);
        assert.deepEqual(hashes.map((hash) => Uint8Array.fromBase64(hash).toHex()), tree.path(at, 0, size));
      }),
      ...[1, 6, 13, 20].map((from) => async () => {
        const { hashes } = await reader.consistencyProof(from, from + 1);
        assert.deepEqual(
          hashes.map((hash) => Uint8Array.fromBase64(hash).toHex()),
          tree.proof(from, from + 1),
        );
      }),
      async () => {
        const { header } = await reader.bundle(5, 9);
        assert.equal(rootOf(header, tree.leaves.slice(5, 9)), tree.root(0, size));
      },
    ];
    for (const attempt of attempts) {
      try {
        await attempt();
      } catch (error) {
        isProblem("INTERNAL", /tiles are damaged.*remove the folder ledger\/tiles/)(error);
        refused += 1;
      }
    }
  }
  assert.ok(refused > places.length, `${refused} refusals`);
});

// The ledger tells its callers first, and writes the tiles of their entries after that.
Deno.test("LedgerReader proves an entry that became durable in this very turn", async () => {
  let written = false;
  const { reader } = createWorld(5, {
    damage: (hash) => {
      if (!written) {
        throw new LedgerCorruptError("Cannot read tiles: they are shorter than the log", "tiles/0");
      }
      return hash;
    },
  });
  const proof = Promise.all([
    reader.inclusionProof(4),
    reader.tile({ kind: "hashes", level: 0, index: 0, width: 5 }),
  ]);
  for (let tick = 0; tick < 50; tick++) await undefined;
  written = true;
  assert.equal((await proof)[0].index, 4);
});

Deno.test("LedgerReader takes tiles that are too short for damaged ones", async () => {
  const { reader } = createWorld(5, {
    damage: () => {
      throw new LedgerCorruptError("Cannot read tiles: they are shorter than the log", "/ledger/tiles/0");
    },
  });
  await assert.rejects(() => reader.inclusionProof(1), isProblem("INTERNAL", /tiles are damaged/));
});
