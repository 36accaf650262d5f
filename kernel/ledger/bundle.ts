/**
 * A bundle is a range of a ledger's entries with all that is needed to check them: one line of JSON, the header,
 * and then the stored lines to the byte.
 *
 * The header has a signed checkpoint, and the roots of the complete subtrees before and after the range. Together
 * with the leaf hashes of the lines they give the root hash of that checkpoint, or the lines are not what was
 * logged. Its keys are information: a verifier believes those that it was given by somebody else.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import { coverRange } from "./tree.ts";

/** Bytes of a header line, newline included. */
export const bundleHeaderBytesMax = 65_536;

/** A log of a safe integer of entries has no more complete subtrees. */
const subtreesMax = 64;

/** base64 of 32 bytes, without spare bits. */
const hash = z.string().regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/);

export const bundleHeaderSchema = z.strictObject({
  format: z.literal("airlock-ledger-bundle@v1"),
  origin: z.string().max(256),
  /** Index of the first entry. */
  from: z.int().nonnegative(),
  /** Index after the last entry. */
  to: z.int().positive(),
  /** Of the checkpoint. */
  size: z.int().positive(),
  keys: z.array(z.string().max(512)).max(8),
  left: z.array(hash).max(subtreesMax),
  right: z.array(hash).max(subtreesMax),
  /** A signed note. */
  checkpoint: z.string().max(16_384),
});
export type BundleHeader = z.infer<typeof bundleHeaderSchema>;

/** One line, with its newline. */
export function formatBundleHeader(header: BundleHeader): string {
  return `${JSON.stringify(bundleHeaderSchema.parse(header))}\n`;
}

/** The line is not the header of a bundle. */
export class BundleError extends Error {
  override name = "BundleError";
}

/**
 * The header in `line`, without or with its newline. What does not come out the same when it is written again, for
 * example with a key twice, is none. Throws {@linkcode BundleError}.
 */
export function parseBundleHeader(line: string): BundleHeader {
  const text = line.endsWith("\n") ? line : `${line}\n`;
  let header: BundleHeader;
  try {
    header = bundleHeaderSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new BundleError("Cannot read bundle: its first line is not the header of one", { cause });
  }
  if (formatBundleHeader(header) !== text) {
    throw new BundleError("Cannot read bundle: its header is not in the one form of a header");
  }
  const { from, to, size } = header;
  if (from >= to || to > size) {
    throw new BundleError(`Cannot read bundle: it has entries ${from} to before ${to}, of ${size}`);
  }
  if (
    header.left.length !== coverRange(0, from).length || header.right.length !== coverRange(to, size).length
  ) {
    throw new BundleError(`Cannot read bundle: its hashes are not those around ${from} to ${to} of ${size}`);
  }
  return header;
}
