/**
 * The folder of a ledger, from either of the two folders that people name: the data folder, or `ledger` in it.
 *
 * @module
 */
import { join } from "node:path";
import { UnreadableError } from "./unreadable_error.ts";

/** One of them is enough: which of the others must be there is for the verifier to say. */
const parts = ["log", "checkpoint", "checkpoints.log"] as const;

/** Throws {@linkcode UnreadableError}. */
export async function findLedgerFolder(path: string): Promise<string> {
  const found: string[] = [];
  for (const folder of [join(path, "ledger"), path]) {
    const areThere = await Promise.all(parts.map((part) => exists(join(folder, part))));
    if (areThere.includes(true)) found.push(folder);
  }
  const [folder, other] = found;
  if (other !== undefined) {
    const state = `there is one in "${folder}" too: move one of them away`;
    throw new UnreadableError(`Cannot read ledger "${path}": ${state}`);
  }
  if (folder !== undefined) return folder;
  const state = "it has no ledger; give the data folder of an Airlock (serve --data), or ledger/ in it";
  throw new UnreadableError(`Cannot read ledger "${path}": ${state}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) return false;
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new UnreadableError(`Cannot read "${path}": ${state}`, { cause });
  }
}
