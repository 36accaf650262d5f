/**
 * The identity of a ledger: its origin, the key it signs with, and the persisted checkpoint, signed by it.
 *
 * @module
 */
import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import { ProblemError } from "../../schemas/problem.ts";
import { type Checkpoint, openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { publishCheckpoint, readCheckpointFile } from "./checkpoint_file.ts";
import { LedgerCorruptError } from "./corrupt_error.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { logFileNames } from "./log_files.ts";
import { createSigner, type Signer } from "./signed_note.ts";
import { createSigningKey, readSigningKey } from "./signing_key.ts";
import { emptyRootHash } from "./tree.ts";

export interface Identity {
  readonly signer: Signer;
  readonly checkpoint: Checkpoint;
}

/**
 * Key and persisted checkpoint. A new ledger gets both, in this order and before its first record: a crash
 * leaves a key without a checkpoint, which is used, or a checkpoint of size 0, which settles the origin. So a
 * log without a checkpoint, or a checkpoint without its key, is never what a crash left.
 */
export async function readIdentity(
  files: LedgerFiles,
  { folder, origin: configured }: { readonly folder: string; readonly origin?: string },
  randomBytes: (count: number) => Uint8Array,
): Promise<Identity> {
  const keyPath = join(folder, "signing.key");
  const checkpointPath = join(folder, "checkpoint");
  const key = await readSigningKey(files, keyPath);
  const note = await readCheckpointFile(files, folder);
  if (note === undefined) {
    if (logFileNames(await files.list(join(folder, "log"))).length > 0) {
      throw new LedgerCorruptError(
        `Cannot open ledger "${folder}": it has a log and no checkpoint`,
        checkpointPath,
      );
    }
    const origin = configured ?? `airlock-${randomBytes(4).toHex()}`;
    const signer = createSigner(origin, key ?? await createSigningKey(files, keyPath, randomBytes));
    const checkpoint = { origin, size: 0, rootHash: emptyRootHash };
    await publishCheckpoint(files, folder, signCheckpoint(checkpoint, signer));
    return { signer, checkpoint };
  }
  if (key === undefined) {
    throw new LedgerCorruptError(`Cannot open ledger "${folder}": its signing key is gone`, keyPath);
  }
  const { signer, checkpoint } = openOwnCheckpoint(note, key, checkpointPath);
  if (configured !== undefined && configured !== checkpoint.origin) {
    const state = `its origin is "${checkpoint.origin}" for good, the configuration has "${configured}"`;
    throw new ProblemError("CONFIG_INVALID", `Cannot open ledger "${folder}": ${state}`);
  }
  return { signer, checkpoint };
}

/** The checkpoint in `note`, if `key` signed it under the origin that it names. */
function openOwnCheckpoint(note: string, key: KeyObject, path: string): Identity {
  try {
    const [origin = ""] = note.split("\n", 1);
    const signer = createSigner(origin, key);
    return { signer, checkpoint: openCheckpoint(note, signer.verifier) };
  } catch (cause) {
    throw new LedgerCorruptError(
      `Cannot open ledger: its key did not sign "${path}"`,
      path,
      undefined,
      cause,
    );
  }
}
