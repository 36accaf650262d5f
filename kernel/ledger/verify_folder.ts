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
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { readCheckpointFile } from "./checkpoint_file.ts";
import { LedgerCorruptError } from "./corrupt_error.ts";
import { findFirstBadEntry } from "./first_bad_entry.ts";
import { type LedgerFiles, withFile } from "./ledger_files.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { type ClaimedCheckpoint, claimedCheckpoint, readPublished } from "./published_checkpoints.ts";
import { type LogScan, scanLog } from "./recovery.ts";
import type { Verifier } from "./signed_note.ts";
import { type LedgerKey, TrustedKeys } from "./trusted_keys.ts";
import { readOnlyFiles } from "./verify_files.ts";
import { VerifyingPass } from "./verifying_pass.ts";

export interface Verified {
  readonly origin: string;
  /** Of the signed checkpoint. */
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
  /** The signed note. */
  readonly checkpoint: string;
  /** Verifier keys of the trusted ones among those that signed it. */
  readonly signedBy: readonly string[];
  /** Each key that the ledger ever named, the oldest first. */
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
  const pass = new VerifyingPass({
    keys: new TrustedKeys(options.keys),
    published: readPublished(files, folder, await publishedBytes(files, folder)),
    expected: anchor === undefined ? [end] : [end, anchor],
  });
  const scan = await scanWhole({ files, folder }, end.checkpoint, pass, options.progress);
  await pass.finish();
  return {
    ...end.checkpoint,
    checkpoint: end.note,
    signedBy: pass.signersOf(end),
    keys: pass.keys.named,
    firstTime: pass.firstTime,
    lastTime: pass.lastTime,
    checkpoints: pass.publishedCount,
    above: { entries: scan.tree.size - end.checkpoint.size, bytes: await bytesAbove(files, scan) },
    anchor: anchor === undefined ? null : { size: anchor.checkpoint.size, signedBy: pass.signersOf(anchor) },
  };
}

/** Each key that the ledger in `folder` names, by its own word. Throws as {@linkcode verifyLedgerFolder}. */
export async function readLedgerKeys(folder: string, files = readOnlyFiles): Promise<readonly LedgerKey[]> {
  const pass = new VerifyingPass({ keys: new TrustedKeys([]), expected: [] });
  await scanWhole({ files, folder }, (await readEnd(files, folder)).checkpoint, pass);
  return pass.keys.named;
}

/** The checkpoint that the folder says is its newest. */
async function readEnd(files: LedgerFiles, folder: string): Promise<ClaimedCheckpoint> {
  const note = await readCheckpointFile(files, folder);
  if (note === undefined) throw new LedgerInvalidError("there is no checkpoint");
  return claimedCheckpoint("the checkpoint", note);
}

async function scanWhole(
  log: { files: LedgerFiles; folder: string },
  end: Checkpoint,
  pass: VerifyingPass,
  progress?: VerifyOptions["progress"],
): Promise<LogScan> {
  try {
    await pass.begin();
    const scan = await scanLog(log.files, join(log.folder, "log"), {
      anchor: end,
      tree: pass.tree,
      scanned: (record: LedgerRecord) => pass.take(record),
      async fileScanned() {
        await pass.approach();
        progress?.(Math.min(pass.tree.size, end.size), end.size);
      },
    });
    if (scan.created !== undefined && scan.created.origin !== end.origin) {
      const state = `entry 0 names the ledger "${scan.created.origin}", the checkpoint is of "${end.origin}"`;
      throw new LedgerInvalidError(state, 0);
    }
    return scan;
  } catch (error) {
    if (!(error instanceof LedgerCorruptError || error instanceof LedgerInvalidError)) throw error;
    throw await located(log, end, pass, error);
  }
}

/** The same error, with the first bad entry where that can be told. */
async function located(
  log: { files: LedgerFiles; folder: string },
  end: Checkpoint,
  pass: VerifyingPass,
  error: LedgerCorruptError | LedgerInvalidError,
): Promise<LedgerInvalidError> {
  const found = await findFirstBadEntry(log, end);
  const { message } = error;
  // No entry is another: what is wrong is said by the error.
  if (found === "none") return new LedgerInvalidError(message, error.index, error);
  const index = found ?? error.index;
  if (index !== undefined) {
    const state = index === error.index ? message : `entry ${index} is not the one that was logged`;
    return new LedgerInvalidError(state, index, error);
  }
  // Chained to its end: nothing after the last one says what that was, or they were rewritten together.
  const { soundSize } = pass;
  return new LedgerInvalidError(
    `${message}: entry ${soundSize} or one after it was changed`,
    soundSize,
    error,
    false,
  );
}

/** As it is now: a kernel may be adding to it. */
async function publishedBytes(files: LedgerFiles, folder: string): Promise<number> {
  try {
    return await sizeOf(files, join(folder, "checkpoints.log"));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new LedgerInvalidError("checkpoints.log is gone", undefined, error);
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
