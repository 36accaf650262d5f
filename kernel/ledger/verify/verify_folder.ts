/**
 * The offline verifier of a ledger's folder. It believes the keys that it is given, and nothing else that is in the
 * folder; it writes nothing, takes no lock, and may read while a kernel writes.
 *
 * It runs the scan of recovery over the whole log: every line is a record in its place, chained to the one before,
 * and the tree of all has the root hash of the signed checkpoint, of each checkpoint that was ever published, and
 * of the anchor. In memory it holds one file of the log at a time.
 *
 * @module
 */
import { join } from "node:path";
import type { LedgerRecord } from "../../../schemas/ledger_event.ts";
import { readCheckpointFile } from "../checkpoint_file.ts";
import { LedgerCorruptError } from "../ledger_corrupt_error.ts";
import { findFirstBadEntry, type LogFolder } from "./first_bad_entry.ts";
import { type LedgerFiles, withFile } from "../ledger_files.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import {
  type ClaimedCheckpoint,
  claimedCheckpoint,
  describeSigners,
  readPublished,
} from "./published_checkpoints.ts";
import { type LogScan, scanLog } from "../recovery.ts";
import type { Verifier } from "../signed_note.ts";
import { type LedgerKey, TrustedKeys } from "./trusted_keys.ts";
import { readOnlyFiles } from "./read_only_files.ts";
import { VerifyingPass } from "./verifying_pass.ts";

export interface Verified {
  readonly origin: string;
  /** Of the largest signed checkpoint: the folder's, which may lag behind, or the anchor. */
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
  /** The signed note. */
  readonly checkpoint: string;
  /** Verifier keys of the trusted ones among those that signed it. */
  readonly signedBy: readonly string[];
  /** Each key that the ledger names, the oldest first. This and what follows: of what a trusted key signed for. */
  readonly keys: readonly LedgerKey[];
  /** As they stand in the entries: the clock of the machine that wrote them. */
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  /** Published ones that were checked. */
  readonly checkpoints: number;
  /** Above the checkpoint: whole entries that follow, and bytes after them that are none. */
  readonly above: { readonly entries: number; readonly bytes: number };
  readonly anchor: { readonly size: number; readonly signedBy: readonly string[] } | null;
}

export interface VerifyOptions {
  /** Those to believe. */
  readonly keys: readonly Verifier[];
  /** A signed note that someone has kept. */
  readonly anchor?: string;
  progress?(done: number, total: number): void;
  readonly files?: LedgerFiles;
}

/** Verifies `folder`, of a ledger. Throws {@linkcode LedgerInvalidError}, or what the system says of its files. */
export async function verifyLedgerFolder(folder: string, options: VerifyOptions): Promise<Verified> {
  const files = options.files ?? readOnlyFiles;
  const end = await readEnd(files, folder);
  const anchor = options.anchor === undefined ? undefined : claimedCheckpoint("the anchor", options.anchor);
  // As it is now: a kernel may be adding to it.
  const publishedBytes = await checkThere(
    "checkpoints.log",
    () => sizeOf(files, join(folder, "checkpoints.log")),
  );
  const pass = new VerifyingPass({
    keys: new TrustedKeys(options.keys),
    published: readPublished(files, folder, publishedBytes),
    expected: anchor === undefined ? [end] : [end, anchor],
  });
  const scan = await scanWhole({ files, folder }, end, pass, options.progress);
  await pass.finish();
  pass.trustedSignersOf(end);
  const top = anchor !== undefined && anchor.checkpoint.size > end.checkpoint.size ? anchor : end;
  const signedBy = pass.trustedSignersOf(top);
  const { size, lastTime, checkpoints } = pass.covered;
  return {
    ...top.checkpoint,
    checkpoint: top.note,
    signedBy,
    keys: pass.keys.namedBelow(size),
    firstTime: size === 0 ? null : pass.firstTime,
    lastTime,
    checkpoints,
    above: { entries: scan.tree.size - top.checkpoint.size, bytes: await bytesAbove(files, scan) },
    anchor: anchor === undefined
      ? null
      : { size: anchor.checkpoint.size, signedBy: pass.trustedSignersOf(anchor) },
  };
}

/** Each key that the ledger in `folder` names below its checkpoint, by its own word. Throws as {@linkcode verifyLedgerFolder}. */
export async function readLedgerKeys(folder: string, files = readOnlyFiles): Promise<readonly LedgerKey[]> {
  const pass = new VerifyingPass({ keys: new TrustedKeys([]), expected: [] });
  const end = await readEnd(files, folder);
  await scanWhole({ files, folder }, end, pass);
  return pass.keys.namedBelow(end.checkpoint.size);
}

/** The checkpoint that the folder says is its newest. */
async function readEnd(files: LedgerFiles, folder: string): Promise<ClaimedCheckpoint> {
  const note = await readCheckpointFile(files, folder);
  if (note === undefined) throw new LedgerInvalidError("there is no checkpoint");
  return claimedCheckpoint("the checkpoint", note);
}

async function scanWhole(
  log: LogFolder,
  end: ClaimedCheckpoint,
  pass: VerifyingPass,
  progress?: VerifyOptions["progress"],
): Promise<LogScan> {
  const { checkpoint } = end;
  const folder = join(log.folder, "log");
  await checkThere("log/", () => log.files.list(folder));
  try {
    await pass.begin();
    const scan = await scanLog(log.files, folder, {
      anchor: checkpoint,
      tree: pass.tree,
      scanned: (record: LedgerRecord) => pass.take(record),
      async fileScanned() {
        await pass.approach();
        progress?.(Math.min(pass.tree.size, checkpoint.size), checkpoint.size);
      },
    });
    if (scan.created !== undefined && scan.created.origin !== checkpoint.origin) {
      const state =
        `entry 0 names the ledger "${scan.created.origin}", the checkpoint is of "${checkpoint.origin}"`;
      throw new LedgerInvalidError(state);
    }
    return scan;
  } catch (error) {
    const isOfEntries = error instanceof LedgerInvalidError && error.isOfEntries;
    if (!(error instanceof LedgerCorruptError || isOfEntries)) throw error;
    throw await located(log, end, pass, error);
  }
}

/** The same error, with the first bad entry, or the one from which on to look for it. */
async function located(
  log: LogFolder,
  end: ClaimedCheckpoint,
  pass: VerifyingPass,
  cause: LedgerCorruptError | LedgerInvalidError,
): Promise<LedgerInvalidError> {
  const { message, index } = cause;
  const { any, trusted } = pass.signersOf(end);
  // What somebody says of the log who has no key of it is nothing against an entry.
  if (any.length === 0) {
    return new LedgerInvalidError(
      `${message}; ${end.name} is signed by no key known by then: ${describeSigners(end)}`,
      { cause },
    );
  }
  const first = pass.covered.size;
  if (index === first) return new LedgerInvalidError(message, { index, cause });
  const found = trusted.length > 0 ? await findFirstBadEntry(log, end.checkpoint) : undefined;
  // No entry is another: what is wrong is said by the error.
  if (found === "none" || found?.isProven && found.index === index) {
    return new LedgerInvalidError(message, { index, cause });
  }
  if (found?.isProven) {
    const state = `entry ${found.index} is not the one that was logged`;
    return new LedgerInvalidError(state, { index: found.index, cause });
  }
  // Chained to their end, entries were changed together with those that follow.
  const state = found === undefined ? message : `the chain breaks at entry ${found.index}`;
  return LedgerInvalidError.from(first, state, cause);
}

async function checkThere<T>(name: string, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new LedgerInvalidError(`${name} is gone: a whole ledger has checkpoint, checkpoints.log and log/`, {
      cause,
    });
  }
}

async function bytesAbove(files: LedgerFiles, { cut }: LogScan): Promise<number> {
  let bytes = 0;
  for (const { path, offsetBytes } of cut) bytes += await sizeOf(files, path) - offsetBytes;
  return bytes;
}

async function sizeOf(files: LedgerFiles, path: string): Promise<number> {
  return await withFile(files, path, { read: true }, (file) => file.seek(0, Deno.SeekMode.End));
}
