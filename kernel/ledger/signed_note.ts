/**
 * A signed note is a text and the Ed25519 signatures under it, in the public format
 * https://c2sp.org/signed-note. It lets programs that nobody here wrote check our checkpoints.
 *
 *     <text, each line ended by a newline>
 *     <empty line>
 *     — <name> <base64(key id ‖ signature)>
 *
 * The key id is `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4]`; 0x01 stands for Ed25519. A verifier key is
 * `<name>+<hex(key id)>+<base64(0x01 ‖ public key)>`.
 *
 * Pure.
 *
 * @module
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";

const ed25519Algorithm = 0x01;
const keyIdBytes = 4;
const publicKeyBytes = 32;
const signatureBytes = 64;
/** Of a note: more are not looked at, so that no note costs a reader more than this many checks. */
const signaturesMax = 100;
const signaturePrefix = "\u2014 ";

/** A name may not contain what separates the parts of a signature line and of a verifier key. */
const namePattern = /^[^\s+]+$/u;
const verifierKeyPattern = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u;
// deno-lint-ignore no-control-regex -- the format forbids exactly these
const forbiddenPattern = /[\0-\x09\x0b-\x1f]/;

/** The note, or a key of it, is not what it should be. */
export class SignedNoteError extends Error {
  override name = "SignedNoteError";

  /** `isUnsigned`: all that is wrong is that none of the keys asked for has signed it. */
  constructor(message: string, readonly isUnsigned = false) {
    super(message);
  }
}

/** Who may sign, and how that is checked. */
export interface Verifier {
  readonly name: string;
  /** Eight hex digits. */
  readonly keyId: string;
  readonly publicKey: KeyObject;
  /** `name+id+key`: the form in which it is handed out. */
  readonly text: string;
}

export interface Signer {
  readonly verifier: Verifier;
  readonly privateKey: KeyObject;
}

export function createVerifier(name: string, publicKey: KeyObject): Verifier {
  if (!namePattern.test(name)) {
    throw new SignedNoteError(`Cannot use "${name}" as the name of a key: it has a space or a plus sign`);
  }
  const { x } = publicKey.export({ format: "jwk" });
  if (publicKey.asymmetricKeyType !== "ed25519" || x === undefined) {
    throw new SignedNoteError(`Cannot use the key of "${name}": it is not an Ed25519 key`);
  }
  const encoded = new Uint8Array([ed25519Algorithm, ...Uint8Array.fromBase64(x, { alphabet: "base64url" })]);
  const hash = createHash("sha256").update(`${name}\n`).update(encoded).digest("hex");
  const keyId = hash.slice(0, 2 * keyIdBytes);
  return { name, keyId, publicKey, text: `${name}+${keyId}+${encoded.toBase64()}` };
}

export function createSigner(name: string, privateKey: KeyObject): Signer {
  return { verifier: createVerifier(name, createPublicKey(privateKey)), privateKey };
}

/** Throws {@linkcode SignedNoteError} unless `text` is a verifier key whose id is the one of its key. */
export function parseVerifierKey(text: string): Verifier {
  const [, name, , key] = verifierKeyPattern.exec(text) ?? [];
  const encoded = key === undefined ? undefined : parseBase64(key);
  if (name === undefined || encoded?.length !== 1 + publicKeyBytes || encoded[0] !== ed25519Algorithm) {
    throw new SignedNoteError(
      `Cannot read verifier key "${text}": it is not "name+id+key" of an Ed25519 key`,
    );
  }
  const x = encoded.subarray(1).toBase64({ alphabet: "base64url", omitPadding: true });
  const verifier = createVerifier(name, parsePublicKey(x, text));
  if (verifier.text !== text) {
    throw new SignedNoteError(`Cannot read verifier key "${text}": its id is not the one of its key`);
  }
  return verifier;
}

/** `x`: base64url of 32 bytes, which need not be a point of the curve. */
function parsePublicKey(x: string, text: string): KeyObject {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    // What is no point is refused only when it is used.
    verify(null, new Uint8Array(), key, new Uint8Array(signatureBytes));
    return key;
  } catch {
    throw new SignedNoteError(`Cannot read verifier key "${text}": its key is not one of Ed25519`);
  }
}

/** Signs `text`, which ends in a newline; gives the whole note, one signature of each signer under it. */
export function signNote(text: string, signers: readonly Signer[]): string {
  checkText(text);
  const bytes = new TextEncoder().encode(text);
  const lines = signers.map(({ verifier: { keyId, name }, privateKey }) => {
    const signature = sign(null, bytes, privateKey);
    return `${signaturePrefix}${name} ${
      new Uint8Array([...Uint8Array.fromHex(keyId), ...signature]).toBase64()
    }\n`;
  });
  return `${text}\n${lines.join("")}`;
}

export interface OpenedNote {
  readonly text: string;
  /** Those of the verifiers whose signature stands under it: one at least. */
  readonly signedBy: readonly Verifier[];
}

/**
 * The text of `note`, once every signature of `verifiers` under it has been checked, and there is one.
 * Signatures of other keys are passed over, as the format says. Throws {@linkcode SignedNoteError}.
 */
export function openNote(note: string, verifiers: readonly Verifier[]): OpenedNote {
  const text = textOfNote(note);
  const lines = note.slice(text.length + 1, -1).split("\n", signaturesMax + 1);
  if (lines.length > signaturesMax) {
    throw new SignedNoteError(`Cannot open note: it has more than ${signaturesMax} signatures`);
  }
  const bytes = new TextEncoder().encode(text);
  const signedBy = new Set<Verifier>();
  for (const line of lines) {
    const { name, keyId, signature } = parseSignatureLine(line);
    const verifier = verifiers.find((known) => known.name === name && known.keyId === keyId);
    if (verifier === undefined) continue;
    if (signature.length !== signatureBytes || !verify(null, bytes, verifier.publicKey, signature)) {
      throw new SignedNoteError(`Cannot open note: the signature of "${name}" is not one of its text`);
    }
    signedBy.add(verifier);
  }
  if (signedBy.size === 0) {
    const names = verifiers.map(({ name, keyId }) => `"${name}" (${keyId})`);
    throw new SignedNoteError(`Cannot open note: ${names.join(" or ")} did not sign it`, true);
  }
  return { text, signedBy: [...signedBy] };
}

/** The text of `note`, whoever signed it. Throws {@linkcode SignedNoteError}. */
export function textOfNote(note: string): string {
  const border = note.lastIndexOf("\n\n");
  if (border < 0 || !note.endsWith("\n")) {
    throw new SignedNoteError("Cannot open note: it is not a signed note");
  }
  const text = note.slice(0, border + 1);
  checkText(text);
  return text;
}

function parseSignatureLine(line: string): { name: string; keyId: string; signature: Uint8Array } {
  const [name, encoded, ...rest] = line.slice(signaturePrefix.length).split(" ");
  const bytes = encoded === undefined ? undefined : parseBase64(encoded);
  if (
    !line.startsWith(signaturePrefix) || rest.length > 0 || !namePattern.test(name) ||
    bytes === undefined || bytes.length <= keyIdBytes
  ) throw new SignedNoteError(`Cannot open note: "${line}" is not a signature line`);
  return { name, keyId: bytes.subarray(0, keyIdBytes).toHex(), signature: bytes.subarray(keyIdBytes) };
}

function checkText(text: string): void {
  if (!text.endsWith("\n") || forbiddenPattern.test(text) || !text.isWellFormed()) {
    throw new SignedNoteError("Cannot use text as a note: it must be lines of text, each ended by a newline");
  }
}

/** Undefined unless `text` is the one base64 form of its bytes: padded, no spare bits, no white space. */
function parseBase64(text: string): Uint8Array | undefined {
  try {
    const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
    return bytes.toBase64() === text ? bytes : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
