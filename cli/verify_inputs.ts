/**
 * What a verifier believes, as it is named on a command line: keys, and an anchor.
 *
 * @module
 */
import { parseVerifierKey, SignedNoteError, type Verifier } from "../kernel/ledger/signed_note.ts";
import { UsageError } from "./command_line.ts";
import { readTextFile } from "./read_text_file.ts";

const fileBytesMax = 65_536;
const keysMax = 64;
/** What begins like a verifier key is one, or a mistake in one, and no name of a file. */
const keyPattern = /^[^\s+]+\+[0-9a-f]{8}\+/;

/** Each of `texts` is a verifier key, or a file of them. Throws UsageError, UnreadableError. */
export async function readKeys(texts: readonly string[]): Promise<Verifier[]> {
  const keys: string[] = [];
  for (const text of texts) {
    if (keyPattern.test(text)) {
      keys.push(text);
      continue;
    }
    const instead = "--key takes a verifier key (name+id+key), or a file of them, one a line";
    const lines = (await readTextFile(text, fileBytesMax, "key file", instead)).split("\n");
    const found = lines.map((line) => line.trim()).filter((line) => line !== "");
    if (found.length === 0) throw new UsageError(`Cannot use key file "${text}": no key is in it`);
    keys.push(...found);
  }
  if (keys.length === 0) {
    throw new UsageError(
      "Cannot verify: no --key; it must come from somebody whom you believe, not from the ledger itself " +
        '("airlock ledger keys DIR" shows what that one says)',
    );
  }
  if (keys.length > keysMax) throw new UsageError(`Cannot use ${keys.length} keys: at most ${keysMax}`);
  return keys.map(parseKey);
}

function parseKey(text: string): Verifier {
  try {
    return parseVerifierKey(text);
  } catch (cause) {
    if (cause instanceof SignedNoteError) throw new UsageError(cause.message, { cause });
    throw cause;
  }
}

/**
 * The signed note that `text` is: the value of an `Airlock-Checkpoint` header, or a file with a note or with such a
 * value. Throws UsageError, UnreadableError.
 */
export async function readAnchor(text: string): Promise<string> {
  const note = decodeNote(text);
  if (note !== undefined) return note;
  const instead =
    "--anchor takes a file with a signed checkpoint, or the value of an Airlock-Checkpoint header";
  const content = await readTextFile(text, fileBytesMax, "anchor", instead);
  const found = isNote(content) ? content : decodeNote(content.trim());
  if (found !== undefined) return found;
  throw new UsageError(`Cannot use anchor "${text}": it is not a signed checkpoint`);
}

function decodeNote(text: string): string | undefined {
  try {
    const note = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.fromBase64(text),
    );
    return isNote(note) ? note : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined; // not base64, not text
    throw error;
  }
}

/** As far as anyone can tell who does not look at its signature. */
function isNote(text: string): boolean {
  return text.includes("\n\n\u2014 ");
}
