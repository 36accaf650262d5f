/**
 * `airlock ledger keys`: the verifier keys that a ledger names, and the entries from which and until which they sign.
 *
 * @module
 */
import { readLedgerKeys } from "../kernel/ledger/verify/verify_folder.ts";
import { parseCommandLine } from "./command_line.ts";
import { findLedgerFolder } from "./ledger_folder.ts";
import type { Output } from "./output.ts";
import { UnreadableError } from "./unreadable_error.ts";
import { formatSpan } from "./verify_report.ts";

const defaultFolder = "./data";

/** Throws UsageError, UnreadableError. */
export async function showKeys(args: readonly string[], output: Output): Promise<number> {
  const line = parseCommandLine("ledger keys", args, { json: "switch" } as const, 1);
  const folder = await findLedgerFolder(line.words[0] ?? defaultFolder);
  const keys = await readKeys(folder);
  if (line.has("json")) {
    await output.printRaw(JSON.stringify({ keys }));
    return 0;
  }
  await output.print(...keys.map(({ key, from, until }) => `${key}  ${formatSpan(from, until)}`));
  await output.warn(
    "These are the ledger's own words: believe a key that you got elsewhere, and verify with that.",
  );
  return 0;
}

async function readKeys(folder: string) {
  try {
    return await readLedgerKeys(folder);
  } catch (cause) {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new UnreadableError(`Cannot read the keys of "${folder}": ${state}`, { cause });
  }
}
