/**
 * A log in memory and a reader of it, for the tests of the reader: its tiles are computed from the lines, and can
 * be damaged.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ProblemError } from "../../../schemas/problem.ts";
import { createLedgerReader, type LedgerReader } from "../ledger_reader.ts";
import { logFileName } from "../log_files.ts";
import type { BundleHeader } from "../bundle.ts";
import { formatRecord } from "../record.ts";
import { coverRange, Frontier, hashLeaf, type SubtreePlace } from "../tree.ts";
import { MemoryDisk } from "./memory_disk.ts";
import { ReferenceTree } from "./reference_tree.ts";

export const startMs = Date.UTC(2026, 10, 20, 10);
const types = ["call.accepted", "call.completed", "token.created"];
const plugins = ["hello@1.2.0", "hello@1.3.0", "hello-world@1.2.0", ""];

/** One record a second. */
export function lineAt(index: number): string {
  return formatRecord({
    v: 1,
    seq: index,
    time: new Date(startMs + index * 1_000).toISOString(),
    type: types[index % types.length],
    actor: index % 2 === 0 ? "kernel" : `token:"c\\i".*`,
    plugin: plugins[index % plugins.length],
    data: { type: "kernel.started", actor: "kernel", plugin: "hello@1.2.0" },
    prev: hashLeaf("before"),
  });
}

interface World {
  readonly reader: LedgerReader;
  readonly lines: string[];
  readonly tree: ReferenceTree;
  readonly disk: MemoryDisk;
  /** What was read so far. */
  readonly reads: string[];
}

/** A log of `size` durable entries, and some more that are not. */
export function createWorld(
  size: number,
  { filterRecordsMax = 10_000, damage = (hash: string, _place: SubtreePlace) => hash } = {},
): World {
  const lines = Array.from({ length: size + 3 }, (_, index) => lineAt(index));
  const tree = new ReferenceTree(lines.map((line) => hashLeaf(line)));
  const disk = new MemoryDisk();
  for (let first = 0; first < lines.length; first += 256) {
    const text = lines.slice(first, first + 256).map((line) => `${line}\n`).join("");
    // The last line is torn: nobody acknowledged it.
    const bytes = new TextEncoder().encode(first + 256 < lines.length ? text : text.slice(0, -10));
    disk.put(`/ledger/log/${logFileName(first)}`, bytes);
  }
  const reads: string[] = [];
  const rootHash = Uint8Array.fromHex(tree.root(0, size)).toBase64();
  const reader = createLedgerReader({
    files: Object.assign(Object.create(disk), {
      open: (path: string, options: Deno.OpenOptions) => {
        reads.push(path);
        return disk.open(path, options);
      },
    }),
    folder: "/ledger",
    tiles: {
      read: (level, index, width) => {
        const below = 256 ** level;
        const hashes = Array.from({ length: width }, (_, at) => {
          const from = (index * 256 + at) * below;
          return damage(tree.root(from, from + below), { level: 8 * level, index: index * 256 + at });
        });
        return Promise.resolve(Uint8Array.fromHex(hashes.join("")));
      },
    },
    checkpoint: () => ({ origin: "airlock.test", size, rootHash, note: `note of ${size}` }),
    keys: () => ["airlock.test+00000000+AQ=="],
    filterRecordsMax,
  });
  return { reader, lines, tree, disk, reads };
}

/** For `assert.rejects`. */
export function isProblem(code: string, text = /^Cannot /) {
  return (error: unknown) => {
    assert.ok(error instanceof ProblemError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

/** Root hash by the rule of the bundle. */
export function rootOf({ from, to, size, left, right }: BundleHeader, leaves: readonly string[]): string {
  const frontier = new Frontier();
  const append = (places: SubtreePlace[], hashes: string[]) => {
    assert.equal(places.length, hashes.length);
    places.forEach(({ level }, at) => frontier.appendSubtree(hashes[at], level));
  };
  const toHex = (hash: string) => Uint8Array.fromBase64(hash).toHex();
  append(coverRange(0, from), left.map(toHex));
  for (const leaf of leaves) frontier.append(leaf);
  append(coverRange(to, size), right.map(toHex));
  return frontier.rootHash();
}
