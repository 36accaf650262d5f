/**
 * The identity of a ledger: its origin, the keys it signs with, and the persisted checkpoint, signed by one.
 *
 * @module
 */
import { join } from "node:path";
import { ProblemError } from "../../schemas/problem.ts";
import { type Checkpoint, openCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { publishCheckpoint, readCheckpointFile } from "./checkpoint_file.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { logFileNames } from "./log_files.ts";
import { createSigner, type Signer } from "./signed_note.ts";
import { createSigningKey, readNextKey, readSigningKeys } from "./signing_key.ts";
import { emptyRootHash } from "./tree.ts";

export interface Identity {
  readonly origin: string;
  /** The older first. */
  readonly signers: readonly Signer[];
  /** The key that is to sign once a record names it: a rotation was cut short. */
  readonly nextSigner: Signer | undefined;
  readonly checkpoint: Checkpoint;
}

/**
 * Keys and persisted checkpoint. A new ledger gets both, in this order and before its first record: a crash
 * leaves a key without a checkpoint, which is used, or a checkpoint of size 0, which settles the origin. So a
 * log without a checkpoint, or a checkpoint without its key, is never what a crash left.
 */
export async function readIdentity(
  files: LedgerFiles,
  { folder, origin: configured }: { readonly folder: string; readonly origin?: string },
  randomBytes: (count: number) => Uint8Array,
): Promise<Identity> {
  const checkpointPath = join(folder, "checkpoint");
  const keys = await readSigningKeys({ files, folder });
  const note = await readCheckpointFile(files, folder);
  if (note === undefined) {
    if (logFileNames(await files.list(join(folder, "log"))).length > 0) {
      throw new LedgerCorruptError(
        `Cannot open ledger "${folder}": it has a log and no checkpoint`,
        checkpointPath,
      );
    }
    const origin = configured ?? `airlock-${randomBytes(4).toHex()}`;
    if (keys.length === 0) keys.push(await createSigningKey({ files, folder }, randomBytes));
    const signers = keys.map((key) => createSigner(origin, key));
    const checkpoint = { origin, size: 0, rootHash: emptyRootHash };
    await publishCheckpoint(files, folder, signCheckpoint(checkpoint, signers));
    return { origin, signers, nextSigner: undefined, checkpoint };
  }
  if (keys.length === 0) {
    const path = join(folder, "signing.key");
    throw new LedgerCorruptError(`Cannot open ledger "${folder}": its signing key is gone`, path);
  }
  const [origin = ""] = note.split("\n", 1);
  const identity = openOwnCheckpoint(
    note,
    checkpointPath,
    () => keys.map((key) => createSigner(origin, key)),
  );
  if (configured !== undefined && configured !== origin) {
    const state = `its origin is "${origin}" for good, the configuration has "${configured}"`;
    throw new ProblemError("CONFIG_INVALID", `Cannot open ledger "${folder}": ${state}`);
  }
  const nextSigner = await readNextKey({ files, folder }, identity.signers);
  return { origin, nextSigner, ...identity };
}

/** The checkpoint in `note`, if one of the ledger's keys signed it under the origin that it names. */
function openOwnCheckpoint(note: string, path: string, createSigners: () => Signer[]) {
  try {
    const signers = createSigners();
    const { checkpoint } = openCheckpoint(note, signers.map(({ verifier }) => verifier));
    return { signers, checkpoint };
  } catch (cause) {
    throw new LedgerCorruptError(
      `Cannot open ledger: its key did not sign "${path}"`,
      path,
      undefined,
      cause,
    );
  }
}
