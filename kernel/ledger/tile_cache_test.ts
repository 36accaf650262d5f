import assert from "node:assert/strict";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { ReferenceTree } from "./testing/reference_tree.ts";
import { TileCache } from "./tile_cache.ts";
import { hashLeaf } from "./tree.ts";

const tree = new ReferenceTree(Array.from({ length: 1_100 }, (_, index) => hashLeaf(`${index}`)));

function createFixture({ tilesMax = 2, bytesMax = Infinity } = {}) {
  const reads: string[] = [];
  const cache = new TileCache({
    read(level, index, width) {
      reads.push(`${level}/${index}.p/${width}`);
      const below = 256 ** level;
      const hashes = Array.from({ length: width }, (_, at) => {
        const from = (index * 256 + at) * below;
        return tree.root(from, from + below);
      });
      return Promise.resolve(Uint8Array.fromHex(hashes.join("")).subarray(0, bytesMax));
    },
  }, tilesMax);
  return { cache, reads };
}

Deno.test("TileCache.subtree() gives the root of every complete subtree, and reads each tile once", async () => {
  const { cache, reads } = createFixture({ tilesMax: 6 });
  for (let level = 0; level <= 10; level++) {
    const width = 2 ** level;
    for (let index = 0; (index + 1) * width <= 1_100; index++) {
      const hash = await cache.subtree({ level, index }, 1_100);
      assert.equal(hash, tree.root(index * width, (index + 1) * width), `${level}/${index}`);
    }
  }
  assert.deepEqual(reads, ["0/0.p/256", "0/1.p/256", "0/2.p/256", "0/3.p/256", "0/4.p/76", "1/0.p/4"]);
});

Deno.test("TileCache.subtree() reads a tile at the right edge again when it must have grown", async () => {
  const { cache, reads } = createFixture();
  assert.equal(await cache.subtree({ level: 2, index: 1 }, 9), tree.root(4, 8));
  assert.equal(await cache.subtree({ level: 3, index: 0 }, 9), tree.root(0, 8));
  assert.equal(await cache.subtree({ level: 3, index: 1 }, 16), tree.root(8, 16));
  // Who began with a smaller size has it still.
  assert.equal(await cache.subtree({ level: 0, index: 8 }, 9), tree.leaves[8]);
  assert.deepEqual(reads, ["0/0.p/9", "0/0.p/16"]);
});

Deno.test("TileCache holds so many tiles, and lets the one go that was not asked for the longest", async () => {
  const { cache, reads } = createFixture({ tilesMax: 2 });
  for (const tile of [0, 1, 0, 2, 0, 1]) await cache.subtree({ level: 7, index: 2 * tile }, 1_024);
  assert.deepEqual(reads.map((read) => read[2]), ["0", "1", "2", "1"]);
  cache.clear();
  await cache.subtree({ level: 7, index: 2 }, 1_024);
  assert.equal(reads.length, 5);
});

Deno.test("TileCache.subtree() rejects where the tiles end before the log", async () => {
  const { cache } = createFixture({ bytesMax: 31 });
  await assert.rejects(() => cache.subtree({ level: 0, index: 0 }, 1), LedgerCorruptError);
});
