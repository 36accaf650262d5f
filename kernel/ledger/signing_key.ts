/**
 * The signing key of a ledger: an Ed25519 private key in PEM (PKCS #8), readable by its owner only.
 *
 * It is made once, before the first record, and never replaced in silence: a ledger whose key is gone does
 * not start.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { LedgerCorruptError } from "./corrupt_error.ts";
import { type LedgerFiles, readFile, replaceFile } from "./ledger_files.ts";

const seedBytes = 32;
const keyFileBytesMax = 4_096;

/** All of a PKCS #8 Ed25519 key (RFC 8410) but the seed, which comes last. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

/** The key in `path`, or undefined when there is no such file. */
export async function readSigningKey(files: LedgerFiles, path: string): Promise<KeyObject | undefined> {
  const pem = await readFile(files, path, keyFileBytesMax);
  if (pem === undefined) return undefined;
  try {
    const key = createPrivateKey({ key: Buffer.from(pem), format: "pem" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (cause) {
    throw new LedgerCorruptError(`Cannot read signing key "${path}": it is not PEM`, path, undefined, cause);
  }
  throw new LedgerCorruptError(`Cannot read signing key "${path}": it is not an Ed25519 key`, path);
}

/** Makes a key and keeps it in `path`; durable when it resolves. A crash leaves no key or this one. */
export async function createSigningKey(
  files: LedgerFiles,
  path: string,
  randomBytes: (count: number) => Uint8Array,
): Promise<KeyObject> {
  const der = Buffer.concat([pkcs8Prefix, randomBytes(seedBytes)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const pem = key.export({ format: "pem", type: "pkcs8" });
  await replaceFile(files, path, Buffer.from(pem));
  return key;
}
