/**
 * The signing keys of a ledger: Ed25519 private keys in PEM (PKCS #8), readable by their owner only.
 *
 * `signing.key` holds one; or two, the older first, while the ledger passes from one to the next and both sign.
 * The first is made before the first record. None is ever replaced in silence: a ledger whose key is gone does
 * not start.
 *
 * A key to come is in `signing.key.next` until the record that names it is durable, with a signature of the key
 * before it: whoever can write the folder cannot choose it. A crash before that leaves the file, and the next
 * start goes on from there.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import { type LedgerFiles, readFile, replaceFile, syncFolder } from "./ledger_files.ts";
import { createSigner, openNote, SignedNoteError, type Signer, signNote } from "./signed_note.ts";

const seedBytes = 32;
const keyFileBytesMax = 4_096;
const keysMax = 2;

/** All of a PKCS #8 Ed25519 key (RFC 8410) but the seed, which comes last. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
const pemPattern = /-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+-----END PRIVATE KEY-----\n/g;

export interface KeyFiles {
  readonly files: LedgerFiles;
  /** Of the ledger. */
  readonly folder: string;
}

/** The keys that sign, the older first; none when there is no file yet. */
export async function readSigningKeys({ files, folder }: KeyFiles): Promise<KeyObject[]> {
  const path = join(folder, "signing.key");
  const keys = await readKeys(files, path);
  if (keys.length <= keysMax) return keys;
  throw new LedgerCorruptError(`Cannot read signing key "${path}": it holds ${keys.length} keys`, path);
}

/** Makes the first key; durable when it resolves. A crash leaves no key or this one. */
export async function createSigningKey(
  { files, folder }: KeyFiles,
  randomBytes: (count: number) => Uint8Array,
): Promise<KeyObject> {
  const key = generateKey(randomBytes);
  await replaceFile(files, join(folder, "signing.key"), Buffer.from(formatPem(key)));
  return key;
}

/** The key that is to sign once a record names it, if there is one. One of `signers` must have signed for it. */
export async function readNextKey(
  { files, folder }: KeyFiles,
  signers: readonly Signer[],
): Promise<Signer | undefined> {
  const path = nextPath(folder);
  const bytes = await readFile(files, path, keyFileBytesMax);
  if (bytes === undefined) return undefined;
  const text = new TextDecoder().decode(bytes);
  const [pem = ""] = text.match(pemPattern) ?? [];
  const note = text.slice(pem.length);
  const [{ verifier: { name } }] = signers;
  try {
    if (!text.startsWith(pem)) throw new SignedNoteError("Cannot open note: it does not follow a key");
    const next = createSigner(name, parsePem(pem, path));
    const opened = openNote(note, signers.map(({ verifier }) => verifier));
    if (opened.text === `${next.verifier.text}\n`) return next;
  } catch (error) {
    if (!(error instanceof SignedNoteError)) throw error;
  }
  throw new LedgerCorruptError(`Cannot read next key "${path}": the key before it did not sign it`, path);
}

/** Makes the key that is to sign after `signer`; durable when it resolves. */
export async function createNextKey(
  { files, folder }: KeyFiles,
  signer: Signer,
  randomBytes: (count: number) => Uint8Array,
): Promise<Signer> {
  const key = generateKey(randomBytes);
  const next = createSigner(signer.verifier.name, key);
  const note = signNote(`${next.verifier.text}\n`, [signer]);
  await replaceFile(files, nextPath(folder), Buffer.from(formatPem(key) + note));
  return next;
}

/** Has `keys`, the older first, sign from now on, and forgets the key to come; durable when it resolves. */
export async function replaceSigningKeys(
  { files, folder }: KeyFiles,
  keys: readonly KeyObject[],
): Promise<void> {
  await replaceFile(files, join(folder, "signing.key"), Buffer.from(keys.map(formatPem).join("")));
  await removeNextKey({ files, folder });
}

/** Forgets the key to come, if there is one; durable when it resolves. */
export async function removeNextKey({ files, folder }: KeyFiles): Promise<void> {
  try {
    await files.remove(nextPath(folder));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await syncFolder(files, folder);
}

function nextPath(folder: string): string {
  return join(folder, "signing.key.next");
}

function generateKey(randomBytes: (count: number) => Uint8Array): KeyObject {
  const der = Buffer.concat([pkcs8Prefix, randomBytes(seedBytes)]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

async function readKeys(files: LedgerFiles, path: string): Promise<KeyObject[]> {
  const bytes = await readFile(files, path, keyFileBytesMax);
  if (bytes === undefined) return [];
  const text = new TextDecoder().decode(bytes);
  const blocks = text.match(pemPattern) ?? [];
  if (blocks.length === 0 || blocks.join("") !== text) {
    throw new LedgerCorruptError(`Cannot read signing key "${path}": it is not PEM`, path);
  }
  return blocks.map((pem) => parsePem(pem, path));
}

function parsePem(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey({ key: pem, format: "pem" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (cause) {
    throw new LedgerCorruptError(`Cannot read signing key "${path}": it is not PEM`, path, undefined, cause);
  }
  throw new LedgerCorruptError(`Cannot read signing key "${path}": it is not an Ed25519 key`, path);
}

function formatPem(key: KeyObject): string {
  return String(key.export({ format: "pem", type: "pkcs8" }));
}
