import assert from "node:assert/strict";
import fc from "fast-check";
import { formatEntryTile, formatTilePath, isTileOf, parseTilePath, type TilePlace } from "./tile_path.ts";

const plain = { noNullPrototype: true };
const numbers = {
  index: fc.oneof(fc.maxSafeNat(), fc.nat({ max: 2_000_000 }), fc.nat({ max: 2_000 })),
  width: fc.integer({ min: 1, max: 256 }),
};
const place: fc.Arbitrary<TilePlace> = fc.oneof(
  fc.record({ kind: fc.constant("hashes" as const), level: fc.nat({ max: 63 }), ...numbers }, plain),
  fc.record({ kind: fc.constant("entries" as const), ...numbers }, plain),
);

const examples: readonly [path: string, place: TilePlace][] = [
  ["tile/0/000", { kind: "hashes", level: 0, index: 0, width: 256 }],
  ["tile/0/x001/x234/067", { kind: "hashes", level: 0, index: 1_234_067, width: 256 }],
  ["tile/63/999.p/1", { kind: "hashes", level: 63, index: 999, width: 1 }],
  ["tile/1/x001/000.p/255", { kind: "hashes", level: 1, index: 1_000, width: 255 }],
  ["tile/entries/007", { kind: "entries", index: 7, width: 256 }],
  ["tile/entries/x273/000.p/112", { kind: "entries", index: 273_000, width: 112 }],
  ["tile/0/x009/x007/x199/x254/x740/991", {
    kind: "hashes",
    level: 0,
    index: Number.MAX_SAFE_INTEGER,
    width: 256,
  }],
];

Deno.test("parseTilePath() and formatTilePath() agree with c2sp.org/tlog-tiles", () => {
  for (const [path, place] of examples) {
    assert.deepEqual(parseTilePath(path), place);
    assert.equal(formatTilePath(place), path);
  }
});

Deno.test("parseTilePath() gives what formatTilePath() was given", () => {
  fc.assert(
    fc.property(place, (place) => assert.deepEqual(parseTilePath(formatTilePath(place)), place)),
    { numRuns: 2_000 },
  );
});

Deno.test("parseTilePath() knows one spelling of each tile", () => {
  // Deletions, doublings and replacements of what a path is made of: each is another tile, or none.
  const piece = fc.constantFrom(
    "",
    "0",
    "00",
    "000",
    "1",
    "x",
    "x000/",
    "/",
    "//",
    ".",
    ".p/",
    "0",
    "256",
    "-",
    "+",
    " ",
    "%30",
    "\n",
    "\0",
    "٧",
  );
  fc.assert(
    fc.property(place, fc.nat(), fc.nat({ max: 3 }), piece, (place, from, count, put) => {
      const path = formatTilePath(place);
      const at = from % (path.length + 1);
      const changed = path.slice(0, at) + put + path.slice(at + count);
      const parsed = parseTilePath(changed);
      if (parsed === undefined) return;
      assert.equal(formatTilePath(parsed), changed);
      if (changed !== path) assert.notDeepEqual(parsed, place);
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("parseTilePath() refuses what is not quite a path", () => {
  const wrong = [
    "",
    "tile",
    "tile/0",
    "tile/0/",
    "/tile/0/000",
    "tile/0/000/",
    "tile//000",
    "tile/0//000",
    "Tile/0/000",
    "tile/00/000",
    "tile/01/000",
    "tile/64/000",
    "tile/99/000",
    "tile/100/000",
    "tile/-1/000",
    "tile/+1/000",
    "tile/x/000",
    "tile/data/000",
    "tile/entries/entries/000",
    "tile/0/0",
    "tile/0/00",
    "tile/0/0000",
    "tile/0/x000",
    "tile/0/x000/000",
    "tile/0/x000/001",
    "tile/0/001/000",
    "tile/0/x001/x000",
    "tile/0/X001/000",
    "tile/0/x1/000",
    "tile/0/x0001/000",
    "tile/0/x009/x007/x199/x254/x740/992",
    "tile/0/x001/x000/x000/x000/x000/x000/000",
    `tile/0/${"x999/".repeat(100_000)}999`,
    "tile/0/000.p",
    "tile/0/000.p/",
    "tile/0/000.p/0",
    "tile/0/000.p/00",
    "tile/0/000.p/01",
    "tile/0/000.p/256",
    "tile/0/000.p/257",
    "tile/0/000.p/1000",
    "tile/0/000.p/-1",
    "tile/0/000.p/1/",
    "tile/0/000.p/1.p/1",
    "tile/0/000/p/1",
    "tile/0/000xp/1",
    "tile/0/000\n",
    "tile/0/000.p/1\n",
    " tile/0/000",
    "tile/0/../0/000",
    "tile/0/%30%30%30",
    "tile/0/٠٠٠",
    "checkpoint",
  ];
  assert.deepEqual(wrong.filter((path) => parseTilePath(path) !== undefined), []);
});

Deno.test("isTileOf() names the tiles that c2sp.org/tlog-tiles gives a tree of 70,000", () => {
  const hashes = (level: number, index: number, width: number) =>
    isTileOf({ kind: "hashes", level, index, width }, 70_000);
  assert.ok(hashes(0, 272, 256));
  assert.ok(hashes(0, 273, 112));
  assert.ok(hashes(1, 0, 256));
  assert.ok(hashes(1, 1, 17));
  assert.ok(hashes(2, 0, 1));
  for (
    const [level, index, width] of [[0, 273, 113], [0, 273, 256], [0, 274, 1], [1, 1, 18], [2, 0, 2], [
      3,
      0,
      1,
    ]]
  ) {
    assert.ok(!hashes(level, index, width), `${level}/${index}.p/${width}`);
  }
  // Smaller sizes had these, and larger logs keep them.
  assert.ok(hashes(0, 273, 1));
  assert.ok(hashes(0, 5, 200));
});

Deno.test("isTileOf() is true of exactly the tiles of this size and all smaller ones", () => {
  // Sizes by the definition: level l of size s has floor(s / 256 ** l) hashes, the last tile the rest of them.
  const known = new Set<string>();
  for (let size = 0; size <= 1_100; size++) {
    for (const level of [0, 1, 2]) {
      const count = Math.floor(size / 256 ** level);
      for (let index = 0; 256 * index < count; index++) {
        known.add(`${level}/${index}/${Math.min(256, count - 256 * index)}`);
      }
    }
    if (size % 51 > 1 && size % 256 > 1) continue;
    for (const level of [0, 1, 2]) {
      for (let index = 0; index < 6; index++) {
        for (let width = 1; width <= 256; width++) {
          const has = known.has(`${level}/${index}/${width}`);
          assert.equal(
            isTileOf({ kind: "hashes", level, index, width }, size),
            has,
            `${level}/${index}/${width} of ${size}`,
          );
          if (level === 0) assert.equal(isTileOf({ kind: "entries", index, width }, size), has);
        }
      }
    }
  }
});

Deno.test("isTileOf() agrees with whole numbers of any size, up to the last level and index", () => {
  fc.assert(
    fc.property(place, fc.maxSafeNat(), (place, size) => {
      const level = place.kind === "entries" ? 0 : place.level;
      const hashes = BigInt(size) / 256n ** BigInt(level);
      const has = BigInt(place.index) * 256n + BigInt(place.width) <= hashes;
      assert.equal(isTileOf(place, size), has);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("formatEntryTile() puts each entry behind its length in 16 bits", () => {
  assert.deepEqual(formatEntryTile([]), new Uint8Array());
  const long = new Uint8Array(0xffff).fill(7);
  const tile = formatEntryTile([new Uint8Array(), Uint8Array.of(1, 2), long]);
  assert.deepEqual(tile.subarray(0, 8), Uint8Array.of(0, 0, 0, 2, 1, 2, 0xff, 0xff));
  assert.deepEqual(tile.subarray(8), long);
});

Deno.test("formatEntryTile() refuses an entry whose length has more than 16 bits", () => {
  assert.throws(() => formatEntryTile([new Uint8Array(0x10000)]), RangeError);
});
