import assert from "node:assert/strict";
import type { LedgerEntry } from "../../schemas/api.ts";
import { bundleHeaderSchema } from "./bundle.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { createLedgerReader, type EntriesQuery, type LedgerReader } from "./ledger_reader.ts";
import { logFileName } from "./log_files.ts";
import { MemoryDisk } from "./testing/memory_disk.ts";
import { createWorld, isProblem, lineAt, rootOf, startMs } from "./testing/reader_world.ts";
import { hashLeaf } from "./tree.ts";

async function readPages(reader: LedgerReader, query: EntriesQuery) {
  const items: LedgerEntry[] = [];
  let [pages, after] = [0, query.after];
  for (;;) {
    const page = await reader.entries({ ...query, after });
    items.push(...page.items);
    pages += 1;
    if (page.next === null) return { items, pages };
    after = page.next;
  }
}

Deno.test("LedgerReader.entries() pages through the durable entries, across files", async () => {
  const { reader, lines } = createWorld(600);
  const { items, pages } = await readPages(reader, { limit: 250 });
  assert.equal(pages, 3);
  assert.deepEqual(
    items,
    lines.slice(0, 600).map((line, index) => ({ index, leafHash: hashLeaf(line), line })),
  );
  assert.deepEqual(await reader.entries({ after: 597, limit: 1 }), {
    items: [{ index: 598, leafHash: hashLeaf(lines[598]), line: lines[598] }],
    next: 598,
  });
});

Deno.test("LedgerReader.entries() has nothing at and beyond the end, whatever lies on the disk", async () => {
  const { reader, reads } = createWorld(300);
  for (const after of [299, 300, 302, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    assert.deepEqual(await reader.entries({ after, limit: 1_000 }), { items: [], next: null });
  }
  assert.deepEqual(reads, []);
});

Deno.test("LedgerReader.entries() refuses an index or a limit that is none", async () => {
  const { reader } = createWorld(3);
  const queries = [{ limit: 0 }, { limit: 1_001 }, { limit: 1.5 }, { after: -2, limit: 1 }, {
    after: 2 ** 53,
    limit: 1,
  }];
  for (const query of queries) await assert.rejects(() => reader.entries(query), RangeError);
});

const filters: [name: string, filter: Partial<EntriesQuery>, matches: (index: number) => boolean][] = [
  ["a type", { types: ["token.created"] }, (i) => i % 3 === 2],
  ["two types", { types: ["token.created", "call.accepted"] }, (i) => i % 3 !== 1],
  ["types that begin so", { types: ["call.*"] }, (i) => i % 3 !== 2],
  ["no type", { types: [] }, () => false],
  ["a type of the data", { types: ["kernel.started"] }, () => false],
  ["a prefix that ends within a word", { types: ["cal.*", "call.acc"] }, () => false],
  ["a plugin of any version", { plugin: "hello" }, (i) => i % 4 < 2],
  ["a plugin of one version", { plugin: "hello@1.3.0" }, (i) => i % 4 === 1],
  ["a pattern for a plugin", { plugin: ".*" }, () => false],
  ["an actor", { actor: "kernel" }, (i) => i % 2 === 0],
  ["an actor that is escaped in the line", { actor: `token:"c\\i".*` }, (i) => i % 2 === 1],
  ["a time, inclusive", { sinceMs: startMs + 500_000 }, (i) => i >= 500],
  ["a time, exclusive", { untilMs: startMs + 500_000 }, (i) => i < 500],
  [
    "all of it",
    { types: ["call.*"], plugin: "hello", actor: "kernel", sinceMs: startMs + 1, untilMs: startMs + 90_000 },
    (i) => i % 3 !== 2 && i % 4 < 2 && i % 2 === 0 && i > 0 && i < 90,
  ],
];

for (const [name, filter, matches] of filters) {
  Deno.test(`LedgerReader.entries() filters by ${name}`, async () => {
    const { reader, lines } = createWorld(600, { filterRecordsMax: 70 });
    const expected = lines.slice(0, 600).map((_, index) => index).filter(matches);
    for (const limit of [7, 1_000]) {
      const { items } = await readPages(reader, { ...filter, limit });
      assert.deepEqual(items.map(({ index }) => index), expected);
      assert.ok(
        items.every(({ line, index, leafHash }) => line === lines[index] && leafHash === hashLeaf(line)),
      );
    }
  });
}

Deno.test("LedgerReader.entries() looks at so many records for a filter, and says where to go on", async () => {
  const { reader, reads } = createWorld(1_000, { filterRecordsMax: 300 });
  const page = await reader.entries({ types: ["none.such"], limit: 10 });
  assert.deepEqual(page, { items: [], next: 299 });
  assert.equal(reads.length, 2);
  assert.equal((await readPages(reader, { types: ["none.such"], limit: 10 })).pages, 4);
});

/** The same log, with a line changed on the disk of a running kernel. */
function createChangedWorld(index: number, change: (line: string) => string, options = {}) {
  const world = createWorld(600, options);
  const path = `/ledger/log/${logFileName(index - index % 256)}`;
  const lines = new TextDecoder().decode(world.disk.get(path)).split("\n");
  lines[index % 256] = change(lines[index % 256]);
  world.disk.put(path, new TextEncoder().encode(lines.join("\n")));
  return world;
}

const changes: [name: string, change: (line: string) => string][] = [
  ["another actor", (line) => line.replace('"actor":"kernel"', '"actor":"nobody"')],
  ["what is no record", () => "gone"],
  ["nothing", () => ""],
  ["bytes that are no text", (line) => line.replace("{", "\u0000")],
];

for (const [name, change] of changes) {
  Deno.test(`LedgerReader serves no entry that was changed on the disk, here to ${name}`, async () => {
    const { reader, lines } = createChangedWorld(300, change);
    const isNamed = isProblem(
      "INTERNAL",
      /^Cannot read entry 300: .*not the entry that was logged.*ledger verify/,
    );
    await assert.rejects(() => reader.entries({ after: 200, limit: 1_000 }), isNamed);
    await assert.rejects(() => reader.entries({ after: 299, limit: 1 }), isNamed);
    // Neither does a filter pass over it in silence.
    await assert.rejects(() => reader.entries({ types: ["none.such"], limit: 1 }), isNamed);
    await assert.rejects(() => reader.tile({ kind: "entries", index: 1, width: 256 }), isNamed);
    const { lines: bundle } = await reader.bundle(0);
    await assert.rejects(() => Array.fromAsync(bundle), isNamed);
    assert.equal((await reader.entries({ after: 298, limit: 1 })).items[0].line, lines[299]);
    assert.equal((await reader.entries({ after: 300, limit: 1 })).items[0].line, lines[301]);
    assert.ok(await reader.tile({ kind: "entries", index: 1, width: 44 }));
  });
}

Deno.test("LedgerReader.entries() accuses the tiles where it is they that were changed", async () => {
  let isDamaged = false;
  const { reader, lines } = createWorld(600, {
    damage: (hash, { level, index }) => isDamaged && level === 0 && index === 300 ? "0".repeat(64) : hash,
  });
  // What a proof was made of before does not stand in for what is on the disk now.
  await reader.inclusionProof(300);
  isDamaged = true;
  await assert.rejects(
    () => reader.entries({ after: 299, limit: 1 }),
    isProblem("INTERNAL", /tiles are damaged.*remove the folder ledger\/tiles/),
  );
  isDamaged = false;
  assert.equal((await reader.entries({ after: 299, limit: 1 })).items[0].line, lines[300]);
  assert.equal((await reader.inclusionProof(300)).index, 300);
});

Deno.test("LedgerReader.entries() names the entry that the log lacks", async () => {
  const { reader, disk } = createWorld(600);
  disk.put(`/ledger/log/${logFileName(256)}`, new TextEncoder().encode(`${lineAt(256)}\n${lineAt(257)}`));
  await assert.rejects(() => reader.entries({ after: 100, limit: 1_000 }), (error) => {
    return error instanceof LedgerCorruptError && error.index === 257;
  });
});

Deno.test("LedgerReader.entries() ends a page of long lines early", async () => {
  const disk = new MemoryDisk();
  const long = "x".repeat(65_000);
  disk.put(`/ledger/log/${logFileName(0)}`, new TextEncoder().encode(`${long}\n`.repeat(256)));
  const reader = createLedgerReader({
    files: disk,
    folder: "/ledger",
    tiles: {
      read: (_level, _index, width) => Promise.resolve(Uint8Array.fromHex(hashLeaf(long).repeat(width))),
    },
    checkpoint: () => ({ origin: "airlock.test", size: 256, rootHash: "", note: "" }),
    keys: () => [],
    filterRecordsMax: 1,
  });
  const page = await reader.entries({ limit: 1_000 });
  assert.equal(page.items.length, Math.ceil(1_048_576 / 65_000));
  assert.equal(page.next, page.items.length - 1);
  assert.equal((await readPages(reader, { limit: 1_000 })).items.length, 256);
});

Deno.test("LedgerReader.bundle() carries the stored lines to the byte, and leads to the signed root", async () => {
  const { reader, lines, tree } = createWorld(600);
  const ranges = [[0, undefined], [0, 1], [5, 9], [255, 257], [256, 512], [599, 600], [3, 600]] as const;
  for (const [from, to] of ranges) {
    const bundle = await reader.bundle(from, to);
    const text = new TextDecoder().decode(
      await new Response(ReadableStream.from(bundle.lines)).bytes(),
    );
    const end = to ?? 600;
    const [first, ...rest] = text.split("\n").slice(0, -1);
    assert.deepEqual(bundleHeaderSchema.parse(JSON.parse(first)), bundle.header);
    assert.deepEqual([bundle.header.from, bundle.header.to, bundle.header.size], [from, end, 600]);
    assert.equal(rest.join("\n"), lines.slice(from, end).join("\n"));
    assert.ok(text.endsWith("\n"));
    assert.equal(rootOf(bundle.header, rest.map((line) => hashLeaf(line))), tree.root(0, 600));
  }
});

Deno.test("LedgerReader.bundle() refuses a range that is empty or not of the log", async () => {
  const { reader } = createWorld(9);
  const ranges = [[0, 0], [9, undefined], [4, 3], [0, 10], [2 ** 53, undefined], [-1, 3], [0.5, 3]] as const;
  for (const [from, to] of ranges) {
    await assert.rejects(() => reader.bundle(from, to), isProblem("INPUT_INVALID"));
  }
});

Deno.test("LedgerReader.bundle() reads a file when its lines are asked for, and none after", async () => {
  const { reader, reads } = createWorld(2_000);
  const { lines } = await reader.bundle(0);
  assert.deepEqual(reads, []);
  for await (const chunk of lines) {
    assert.ok(chunk.length <= 65_536);
    if (reads.length === 2) break;
  }
  assert.equal(reads.length, 2);
});

Deno.test("LedgerReader.bundle() breaks off at an entry that the log lacks", async () => {
  const { reader, disk } = createWorld(600);
  disk.drop(`/ledger/log/${logFileName(256)}`);
  const { lines } = await reader.bundle(0);
  await assert.rejects(() => Array.fromAsync(lines), LedgerCorruptError);
});

Deno.test("LedgerReader.tile() serves the tiles of this and of every smaller size, and no other", async () => {
  const { reader, tree } = createWorld(600);
  const hashes = async (level: number, index: number, width: number) =>
    (await reader.tile({ kind: "hashes", level, index, width }))?.toHex();
  assert.equal(await hashes(0, 1, 256), tree.leaves.slice(256, 512).join(""));
  assert.equal(await hashes(0, 1, 3), tree.leaves.slice(256, 259).join(""));
  assert.equal(await hashes(0, 2, 88), tree.leaves.slice(512, 600).join(""));
  assert.equal(await hashes(1, 0, 2), tree.root(0, 256) + tree.root(256, 512));
  for (
    const [level, index, width] of [[0, 2, 89], [0, 2, 256], [0, 3, 1], [1, 0, 3], [2, 0, 1], [63, 0, 1]]
  ) {
    assert.equal(await hashes(level, index, width), undefined, `${level}/${index}.p/${width}`);
  }
});

Deno.test("LedgerReader.tile() serves entries, each behind its length", async () => {
  const { reader, lines } = createWorld(600);
  const entriesOf = async (index: number, width: number) => {
    const bytes = await reader.tile({ kind: "entries", index, width });
    if (bytes === undefined) return undefined;
    const view = new DataView(bytes.buffer);
    const entries: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 2 + view.getUint16(at);
      entries.push(new TextDecoder().decode(bytes.subarray(at + 2, end)));
      at = end;
    }
    return entries;
  };
  assert.deepEqual(await entriesOf(1, 256), lines.slice(256, 512));
  assert.deepEqual(await entriesOf(2, 88), lines.slice(512, 600));
  assert.deepEqual(await entriesOf(0, 1), lines.slice(0, 1));
  assert.equal(await entriesOf(2, 89), undefined);
  assert.equal(await entriesOf(3, 1), undefined);
});
