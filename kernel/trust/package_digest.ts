/**
 * The package digest: one hash that stands for every byte of a package.
 *
 * It is the SHA-256 of the text that `sha256sum` would write for all files, sorted by the bytes of their
 * paths, so that `LC_ALL=C` and stock tools compute it too. Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";

export interface HashedFile {
  /** Relative to the package, with forward slashes. */
  path: string;
  /** Lower-case hex. */
  sha256: string;
}

/** The text of `SHA256SUMS`: a line `hex␠␠path` for each file. */
export function sha256SumsOf(files: readonly HashedFile[]): string {
  return files
    .map(({ path, sha256 }) => ({ key: Buffer.from(path), line: `${sha256}  ${checkListable(path)}\n` }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ line }) => line)
    .join("");
}

/** The package digest, lower-case hex. */
export function packageDigestOf(files: readonly HashedFile[]): string {
  return sha256HexOf(sha256SumsOf(files));
}

export function sha256HexOf(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** `sha256sum` would escape these, and two lists could then mean the same files. */
function checkListable(path: string): string {
  if (/[\n\r\\]/.test(path)) throw new RangeError(`Cannot list "${path}": line breaks and \\ have no form`);
  return path;
}
