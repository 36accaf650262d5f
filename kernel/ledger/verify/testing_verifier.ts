/**
 * What the tests of the offline verifier share: a ledger on a disk in memory, and what is said of it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { openLedger } from "../ledger.ts";
import { parseVerifierKey } from "../signed_note.ts";
import { verifyLedgerFolder } from "./verify_folder.ts";
import { createDeps, folder, options } from "../testing/ledger_support.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";

export const logFile = (first = 0) => `${folder}/log/${String(first).padStart(20, "0")}.ndjson`;
export const checkpointFile = `${folder}/checkpoint`;
export const publishedFile = `${folder}/checkpoints.log`;
/** A closed ledger of `size` entries, its key, and the checkpoint of each append. Another `seed`, other keys. */
export async function createLog(size: number, seed = 0) {
  const disk = new MemoryDisk();
  const { deps } = createDeps(disk);
  deps.randomBytes(seed);
  await using ledger = await openLedger(options, deps);
  const anchors = [ledger.checkpoint().note];
  for (let index = 1; index < size; index++) {
    await ledger.append({ type: "plugin.enabled", actor: "token:ci", plugin: `p${index}@1.0.0`, data: {} });
    anchors.push(ledger.checkpoint().note);
  }
  return { disk, keys: [...ledger.verifierKeys], anchors };
}

export function verify(disk: MemoryDisk, keys: readonly string[], anchor?: string) {
  const given = { keys: keys.map(parseVerifierKey), files: disk };
  return verifyLedgerFolder(folder, anchor === undefined ? given : { ...given, anchor });
}

/** What a verifier says of `disk`: the index that it names, and why. */
export async function refusal(disk: MemoryDisk, keys: readonly string[], anchor?: string) {
  try {
    await verify(disk, keys, anchor);
  } catch (error) {
    assert.ok(error instanceof LedgerInvalidError, String(error));
    return { index: error.index, message: error.message, isExact: error.isExact };
  }
  return { index: undefined, message: "verified", isExact: true };
}

export function textOf(disk: MemoryDisk, path: string): string {
  return new TextDecoder().decode(disk.get(path));
}

export function put(disk: MemoryDisk, path: string, text: string): void {
  disk.put(path, new TextEncoder().encode(text));
}
