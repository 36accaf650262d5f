import assert from "node:assert/strict";
import { LedgerCorruptError } from "../ledger_corrupt_error.ts";
import { findFirstBadEntry, namingFirstBad } from "./first_bad_entry.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";

const folder = "/ledger";

Deno.test("findFirstBadEntry() lets others work while it reads many tiles", async () => {
  const size = 3 * 64 * 256;
  const disk = new MemoryDisk();
  disk.put(`${folder}/tiles/0`, new Uint8Array(size * 32));
  let isOver = false;
  const turns: boolean[] = [];
  const turn = () => {
    turns.push(isOver);
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const found = await findFirstBadEntry({ files: disk, folder }, { size, rootHash: "00".repeat(32) });
  isOver = true;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(found, { index: 0, isProven: false });
  assert.ok(turns.filter((over) => !over).length >= 2, `${turns.length} turns`);
});

Deno.test("namingFirstBad() throws the first error when looking for the entry fails", async () => {
  const first = new LedgerCorruptError("first", "/ledger/log");
  const refuse = () => Promise.reject(new Deno.errors.PermissionDenied("second"));
  const files = Object.assign(new MemoryDisk(), { open: refuse, readAt: refuse });
  const work = () => Promise.reject(first);
  const signed = { size: 3, rootHash: "00".repeat(32) };
  await assert.rejects(() => namingFirstBad({ files, folder }, signed, work), first);
});
