/**
 * The published checkpoints of a ledger: `checkpoints.log`, read from its beginning, one base64 of a signed note a
 * line, their sizes ascending. For a verifier: nothing in the file is believed.
 *
 * What a crash leaves at its end, a line without a newline, is no checkpoint. Memory holds one stretch of the file.
 *
 * @module
 */
import { join } from "node:path";
import { type Checkpoint, CheckpointError, parseCheckpoint } from "../checkpoint.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import type { LedgerFiles } from "../ledger_files.ts";
import { SignedNoteError, textOfNote } from "../signed_note.ts";

const stretchBytes = 65_536;
const lineBytesMax = 16_384;
const newline = 0x0a;
/** In a message. */
const describedMax = 4;

/** A checkpoint, before anybody knows who signed it. */
export interface ClaimedCheckpoint {
  /** Stands in messages. */
  readonly name: string;
  readonly note: string;
  /** What the note says. */
  readonly checkpoint: Checkpoint;
  readonly isPublished?: boolean;
}

/** Throws LedgerInvalidError when `note` is none. */
export function claimedCheckpoint(name: string, note: string): ClaimedCheckpoint {
  try {
    return { name, note, checkpoint: parseCheckpoint(textOfNote(note)) };
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof SignedNoteError)) throw error;
    throw new LedgerInvalidError(`${name} is not a signed checkpoint`, { cause: error });
  }
}

/** Whose checkpoint it is, and whose signatures stand under it, by their own word: for a message. */
export function describeSigners({ note, checkpoint: { origin } }: ClaimedCheckpoint): string {
  const signers = Array.from(
    note.matchAll(/^\u2014 (\S+) ([A-Za-z0-9+/]{6})[A-Za-z0-9+/]{2}/gmu),
    ([, name, start]) =>
      `${name}+${Uint8Array.fromBase64(`${start}==`, { lastChunkHandling: "loose" }).toHex()}`,
  );
  return `it is of "${origin}", signed by ${signers.slice(0, describedMax).join(", ")}`;
}

/** Of the first `bytesMax` bytes of the file. Throws LedgerInvalidError on a line that is no checkpoint. */
export async function* readPublished(
  files: LedgerFiles,
  folder: string,
  bytesMax: number,
): AsyncGenerator<ClaimedCheckpoint, undefined> {
  const path = join(folder, "checkpoints.log");
  let rest = new Uint8Array();
  let line = 0;
  for (let at = 0; at < bytesMax;) {
    const read = await files.readAt(path, at, Math.min(stretchBytes, bytesMax - at));
    if (read.length === 0) return;
    at += read.length;
    let bytes = new Uint8Array([...rest, ...read]);
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline)) {
      line += 1;
      yield parsePublished(bytes.subarray(0, end), line);
      bytes = bytes.subarray(end + 1);
    }
    if (bytes.length > lineBytesMax) {
      throw new LedgerInvalidError(`line ${line + 1} of checkpoints.log is too long`);
    }
    rest = bytes;
  }
}

function parsePublished(bytes: Uint8Array, line: number): ClaimedCheckpoint {
  const name = `line ${line} of checkpoints.log`;
  try {
    const base64 = decode(bytes);
    const note = Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" });
    if (note.toBase64() === base64) return { ...claimedCheckpoint(name, decode(note)), isPublished: true };
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof TypeError)) throw cause;
    throw new LedgerInvalidError(`${name} is not base64 of a text`, { cause });
  }
  throw new LedgerInvalidError(`${name} is not in the one form of base64`);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}
