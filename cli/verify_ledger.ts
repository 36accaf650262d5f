/**
 * `airlock ledger verify`: runs the offline verifier over a folder or a bundle, and says what it found.
 *
 * @module
 */
import { LedgerInvalidError } from "../kernel/ledger/verify/ledger_invalid_error.ts";
import { verifyBundle } from "../kernel/ledger/verify/verify_bundle.ts";
import { verifyLedgerFolder } from "../kernel/ledger/verify/verify_folder.ts";
import { parseCommandLine, UsageError } from "./command_line.ts";
import { findLedgerFolder } from "./ledger_folder.ts";
import type { Output } from "./output.ts";
import { ProgressMeter } from "./progress_meter.ts";
import { UnreadableError } from "./unreadable_error.ts";
import { readAnchor, readKeys } from "./verify_inputs.ts";
import { type Finding, formatFinding, formatFindingJson } from "./verify_report.ts";

const flags = { key: "values", anchor: "value", json: "switch" } as const;

/** 0: verified. 1: not. Throws UsageError, UnreadableError. */
export async function verifyLedger(args: readonly string[], output: Output): Promise<number> {
  const line = parseCommandLine("ledger verify", args, flags, 1);
  const [path] = line.words;
  if (path === undefined) {
    throw new UsageError(
      "Cannot verify: no ledger is named; give a data folder, or a bundle (a file, or - for stdin)",
    );
  }
  const keys = await readKeys(line.values("key"));
  const anchor = line.value("anchor");
  const meter = new ProgressMeter(output, () => performance.now());
  const options = {
    keys,
    ...(anchor === undefined ? {} : { anchor: await readAnchor(anchor) }),
    progress: (done: number, total: number) => meter.update(done, total),
  };
  const finding = await find(path, options).finally(() => meter.clear());
  if (line.has("json")) await output.printRaw(formatFindingJson(finding));
  else await output.print(...formatFinding(finding));
  return finding.isVerified ? 0 : 1;
}

type Options = Parameters<typeof verifyBundle>[1] & Parameters<typeof verifyLedgerFolder>[1];

async function find(path: string, options: Options): Promise<Finding> {
  try {
    if (path !== "-" && await isFolder(path)) {
      const result = await verifyLedgerFolder(await findLedgerFolder(path), options);
      return { isVerified: true, kind: "ledger", result };
    }
    const stream = path === "-" ? Deno.stdin.readable : (await Deno.open(path)).readable;
    return { isVerified: true, kind: "bundle", result: await verifyBundle(stream, options) };
  } catch (error) {
    if (error instanceof LedgerInvalidError) {
      const { message: reason, index, isExact } = error;
      return { isVerified: false, reason, ...(isExact ? { firstBadEntry: index } : { changedFrom: index }) };
    }
    if (error instanceof UnreadableError) throw error;
    const state = error instanceof Error ? error.message : String(error);
    throw new UnreadableError(`Cannot read "${path}": ${state}`, { cause: error });
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    const state = "it is not there; give a data folder, its ledger/, or a bundle";
    throw new UnreadableError(`Cannot read ledger "${path}": ${state}`, { cause });
  }
}
