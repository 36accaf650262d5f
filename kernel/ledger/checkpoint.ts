/**
 * A checkpoint says, signed, how many entries a log has and what their root hash is: the public format
 * https://c2sp.org/tlog-checkpoint, a signed note whose text is
 *
 *     <origin>
 *     <tree size>
 *     <base64(root hash)>
 *
 * Whoever holds one can tell later whether the log was cut or rewritten. Pure.
 *
 * @module
 */
import { openNote, type Signer, signNote, textOfNote, type Verifier } from "./signed_note.ts";

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
}

/** The text is not a checkpoint. */
export class CheckpointError extends Error {
  override name = "CheckpointError";
}

const textPattern = /^([^\n]+)\n(0|[1-9]\d*)\n([A-Za-z0-9+/]{43}=)\n$/;

export function formatCheckpoint({ origin, size, rootHash }: Checkpoint): string {
  return `${origin}\n${size}\n${Uint8Array.fromHex(rootHash).toBase64()}\n`;
}

/** Throws {@linkcode CheckpointError}. */
export function parseCheckpoint(text: string): Checkpoint {
  const [, origin, size, root] = textPattern.exec(text) ?? [];
  if (origin === undefined || !Number.isSafeInteger(Number(size))) {
    throw new CheckpointError("Cannot read checkpoint: it is not an origin, a size and a root hash");
  }
  const checkpoint = { origin, size: Number(size), rootHash: Uint8Array.fromBase64(root).toHex() };
  if (formatCheckpoint(checkpoint) !== text) {
    throw new CheckpointError("Cannot read checkpoint: its root hash has spare bits");
  }
  return checkpoint;
}

export function signCheckpoint(checkpoint: Checkpoint, signers: readonly Signer[]): string {
  return signNote(formatCheckpoint(checkpoint), signers);
}

export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Those of the verifiers that signed it: one at least. */
  readonly signedBy: readonly Verifier[];
}

/**
 * The checkpoint in `note`. Throws `SignedNoteError` or {@linkcode CheckpointError} unless it is one, and one of
 * `verifiers` that is named for its origin signed it: a key of one log says nothing of another.
 */
export function openCheckpoint(note: string, verifiers: readonly Verifier[]): OpenedCheckpoint {
  const { origin } = parseCheckpoint(textOfNote(note));
  const { text, signedBy } = openNote(note, verifiers.filter(({ name }) => name === origin));
  return { checkpoint: parseCheckpoint(text), signedBy };
}
