/**
 * A tlog-proof is the proof of one entry as a text that stands alone, in the public format
 * https://c2sp.org/tlog-proof:
 *
 *     c2sp.org/tlog-proof@v1
 *     index <index>
 *     <base64(hash), a line for each hash of the inclusion proof, from the leaf up>
 *     <empty line>
 *     <checkpoint, a signed note>
 *
 * The format allows a line `extra <base64>` before the index, for what an application adds. Nothing signs it:
 * it must be well-formed, and is dropped. With that exception a proof has one spelling.
 *
 * Reading one checks its form only: `openCheckpoint` and `checkInclusion` say whether it proves anything.
 *
 * Pure.
 *
 * @module
 */
import { ProofError } from "./proof.ts";

export interface TlogProof {
  readonly index: number;
  /** Hex. */
  readonly hashes: readonly string[];
  /** The signed note, to the byte. */
  readonly checkpoint: string;
}

/** As much as Go's reader of signed notes takes. */
const charactersMax = 1_000_000;
/** No entry of a log of less than 2 ** 53 has a longer proof. */
const hashesMax = 53;

const base64 = "[A-Za-z0-9+/]";
const headPattern = new RegExp(
  "^c2sp\\.org/tlog-proof@v1\\n" +
    `(?:extra ((?:${base64}{4})*(?:${base64}{4}|${base64}{3}=|${base64}{2}==))\\n)?` +
    "index (0|[1-9]\\d{0,15})\\n" +
    `((?:${base64}{43}=\\n){0,${hashesMax}})\\n`,
);

export function formatTlogProof({ index, hashes, checkpoint }: TlogProof): string {
  const lines = hashes.map((hash) => `${Uint8Array.fromHex(hash).toBase64()}\n`);
  return `c2sp.org/tlog-proof@v1\nindex ${index}\n${lines.join("")}\n${checkpoint}`;
}

/** Throws {@linkcode ProofError} unless `text` is a tlog-proof. */
export function parseTlogProof(text: string): { index: number; hashes: string[]; checkpoint: string } {
  const match = text.length > charactersMax ? null : headPattern.exec(text);
  if (match === null) {
    throw new ProofError(
      `Cannot read proof: it is not a tlog-proof of up to ${charactersMax} characters and ${hashesMax} hashes`,
    );
  }
  const [head, extra, digits, lines] = match;
  const index = Number(digits);
  if (!Number.isSafeInteger(index)) throw new ProofError(`Cannot read proof: index ${digits} is too large`);
  const encoded = lines.split("\n").slice(0, -1);
  for (const hash of extra === undefined ? encoded : [extra, ...encoded]) {
    if (Uint8Array.fromBase64(hash).toBase64() !== hash) {
      throw new ProofError("Cannot read proof: a line of base64 has spare bits");
    }
  }
  const hashes = encoded.map((hash) => Uint8Array.fromBase64(hash).toHex());
  return { index, hashes, checkpoint: text.slice(head.length) };
}
