/**
 * The offline verifier of a bundle: a range of entries that somebody handed over. It believes the keys that it is
 * given, and nothing that stands in the bundle.
 *
 * The leaf hashes of the lines, between the subtrees that the header has, must give the root hash of a checkpoint
 * that such a key signed. In memory it holds one line.
 *
 * @module
 */
import type { LedgerRecord } from "../../../schemas/ledger_event.ts";
import { BundleError, type BundleHeader, bundleHeaderBytesMax, parseBundleHeader } from "../bundle.ts";
import { ChainCheck, type Link } from "./chain_check.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { claimedCheckpoint, describeSigners } from "./published_checkpoints.ts";
import { firstPrev, parseRecord, recordBytesMax, RecordError } from "../record.ts";
import { SignedNoteError, type Verifier } from "../signed_note.ts";
import { isInForce } from "./trusted_keys.ts";
import { coverRange, Frontier, hashLeaf } from "../tree.ts";

export interface VerifiedBundle {
  readonly origin: string;
  /** Index of the first entry, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Of the checkpoint. */
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
  readonly signedBy: readonly string[];
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  readonly anchor: { readonly size: number } | null;
}

export interface VerifyBundleOptions {
  readonly keys: readonly Verifier[];
  /** A signed note that someone has kept, of a size from `from` to `to`, or of the bundle's checkpoint. */
  readonly anchor?: string;
  progress?(done: number, total: number): void;
}

const newline = 0x0a;
const progressEntries = 4_096;

/** Reads `bytes` to their end. Throws {@linkcode LedgerInvalidError}. */
export async function verifyBundle(
  bytes: ReadableStream<Uint8Array>,
  options: VerifyBundleOptions,
): Promise<VerifiedBundle> {
  const rest = { bytes: 0 };
  const lines = readLines(bytes, rest);
  try {
    return await verifyLines(lines, rest, options);
  } finally {
    // What was refused before its end is let go of.
    await lines.return(undefined);
  }
}

async function verifyLines(
  lines: AsyncIterator<Uint8Array, undefined>,
  rest: { readonly bytes: number },
  { keys, anchor: note, progress }: VerifyBundleOptions,
): Promise<VerifiedBundle> {
  const first = await lines.next();
  const header = readHeader(first.value);
  const { from, to } = header;
  const signed = openSigned("the checkpoint", header.checkpoint, keys);
  if (signed.origin !== header.origin || signed.size !== header.size) {
    throw new LedgerInvalidError("the header is not of the log or the size of its checkpoint");
  }
  const anchor = note === undefined ? undefined : openSigned("the anchor", note, keys);
  const range = new RangeCheck(header, anchor, keys);
  for (let index = from; index < to; index++) {
    const line = (await lines.next()).value;
    if (line === undefined) throw range.cut();
    range.take(line);
    if (index % progressEntries === 0) progress?.(index - from, to - from);
  }
  range.end(signed.rootHash);
  if ((await lines.next()).value !== undefined || rest.bytes > 0) {
    throw new LedgerInvalidError(`there is more after entry ${to - 1}, the last one of the range`);
  }
  const { firstTime, lastTime } = range;
  if (anchor !== undefined) range.inForce("the anchor", anchor);
  return {
    ...signed,
    signedBy: range.inForce("the checkpoint", signed),
    from,
    to,
    firstTime,
    lastTime,
    anchor: anchor === undefined ? null : { size: anchor.size },
  };
}

function readHeader(line: Uint8Array | undefined): BundleHeader {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
    return parseBundleHeader(text);
  } catch (error) {
    if (!(error instanceof BundleError || error instanceof TypeError)) throw error;
    throw new LedgerInvalidError("the first line is not the header of a bundle", { cause: error });
  }
}

function openSigned(name: string, note: string, keys: readonly Verifier[]) {
  const claimed = claimedCheckpoint(name, note);
  try {
    const { signedBy } = openCheckpoint(note, keys);
    return { ...claimed.checkpoint, signedBy: signedBy.map(({ text }) => text) };
  } catch (error) {
    if (!(error instanceof SignedNoteError)) throw error;
    const state = error.isUnsigned
      ? `is not signed by a key that was given: ${describeSigners(claimed)}`
      : "has a bad signature";
    throw new LedgerInvalidError(`${name} ${state}`, { cause: error });
  }
}

function appendSubtrees(tree: Frontier, hashes: readonly string[], from: number, to: number): void {
  for (const [at, { level }] of coverRange(from, to).entries()) {
    tree.appendSubtree(Uint8Array.fromBase64(hashes[at] ?? "").toHex(), level);
  }
}

/** Each line a record in its place, chained to the one before; all of them together of the signed root hash. */
class RangeCheck {
  firstTime: string | null = null;
  lastTime: string | null = null;
  readonly #tree = new Frontier();
  readonly #chain: ChainCheck;
  /** Those of the given keys that an entry retired, and its index. */
  readonly #retired = new Map<string, number>();
  readonly #given: ReadonlySet<string>;
  #index: number;

  constructor(
    private readonly header: BundleHeader,
    private readonly anchor: Checkpoint | undefined,
    keys: readonly Verifier[],
  ) {
    const { from, to, size, left } = header;
    this.#index = from;
    this.#given = new Set(keys.map(({ text }) => text));
    this.#chain = new ChainCheck(from, (leafHash) => {
      this.#tree.append(leafHash);
      // Entries that were changed are better named by what comes next.
      if (this.#chain.brokenAt === undefined) this.#checkAnchor();
    });
    if (anchor !== undefined && anchor.size !== size && (anchor.size < from || anchor.size > to)) {
      const sizes = `of ${from} to ${to} entries, or of ${size}`;
      throw new LedgerInvalidError(
        `the anchor is of ${anchor.size} entries: this bundle can be held to one ${sizes}`,
      );
    }
    appendSubtrees(this.#tree, left, 0, from);
    this.#checkAnchor();
  }

  /** Who signed it, without those whom an entry of the range had retired by then. Throws when that is nobody. */
  inForce(name: string, { size, signedBy }: { size: number; signedBy: readonly string[] }): string[] {
    const keys = signedBy.filter((key) => isInForce(this.#retired.get(key), size));
    if (keys.length > 0) return keys;
    throw new LedgerInvalidError(`${name} is signed by a key that was retired before`);
  }

  take(line: Uint8Array): void {
    this.#chain.take(this.#parse(line));
    this.#index += 1;
    const { isLost, brokenAt } = this.#chain;
    if (isLost && brokenAt !== undefined) throw this.#broken(brokenAt, false);
  }

  /** The error of a bundle that ends before its range does. */
  cut(): LedgerInvalidError {
    const { brokenAt } = this.#chain;
    if (brokenAt !== undefined) return this.#broken(brokenAt, false);
    return new LedgerInvalidError(`the bundle ends before entry ${this.#index}`);
  }

  /** Throws unless the root hash of all is `rootHash`. */
  end(rootHash: string): void {
    const { right, to, size } = this.header;
    const isSigned = this.#chain.end(() => {
      appendSubtrees(this.#tree, right, to, size);
      return this.#tree.rootHash() === rootHash;
    });
    const { brokenAt } = this.#chain;
    if (brokenAt !== undefined) throw this.#broken(brokenAt, isSigned);
    if (isSigned) return this.#checkAnchor();
    const state = "the entries and the hashes around them do not give the signed root hash";
    throw new LedgerInvalidError(`${state}: entry ${to - 1}, those hashes or all of it were changed`);
  }

  #broken(index: number, isProven: boolean): LedgerInvalidError {
    const state = `the chain breaks at entry ${index}`;
    return isProven
      ? new LedgerInvalidError(state, { index })
      : LedgerInvalidError.from(this.header.from, state);
  }

  #checkAnchor(): void {
    const { size, rootHash } = this.anchor ?? {};
    if (this.#tree.size !== size || this.#tree.rootHash() === rootHash) return;
    throw new LedgerInvalidError(`the anchor, of ${size} entries, has another root hash than these`);
  }

  #parse(line: Uint8Array): Link | undefined {
    try {
      const { record } = parseRecord(line);
      const { seq, prev, time, type, data } = record;
      if (seq !== this.#index || seq === 0 && !isFirst(record, this.header)) return undefined;
      const key = type === "ledger.retired" ? String(data["key"]) : "";
      if (this.#given.has(key) && !this.#retired.has(key)) this.#retired.set(key, seq);
      this.firstTime ??= time;
      this.lastTime = time;
      return { prev, leafHash: hashLeaf(line) };
    } catch (error) {
      if (error instanceof RecordError) return undefined;
      throw error;
    }
  }
}

/** Whether entry 0 names the log, and begins its chain. */
function isFirst({ type, data, prev }: LedgerRecord, { origin }: BundleHeader): boolean {
  return type === "ledger.created" && data["origin"] === origin && prev === firstPrev(origin);
}

/** Lines without their newlines; `left` is told of what follows the last one. Throws on one that no bundle has. */
async function* readLines(
  bytes: ReadableStream<Uint8Array>,
  left: { bytes: number },
): AsyncGenerator<Uint8Array, undefined> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  let bytesMax = bundleHeaderBytesMax;
  for await (let chunk of bytes) {
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline)) {
      checkLength(restBytes + end, bytesMax);
      yield join([...rest, chunk.subarray(0, end)]);
      [rest, restBytes, bytesMax] = [[], 0, recordBytesMax];
      chunk = chunk.subarray(end + 1);
    }
    if (chunk.length === 0) continue;
    rest.push(chunk);
    restBytes += chunk.length;
    checkLength(restBytes, bytesMax);
  }
  left.bytes = restBytes;
  return undefined;
}

function checkLength(bytes: number, bytesMax: number): void {
  if (bytes > bytesMax) throw new LedgerInvalidError(`a line is longer than ${bytesMax} bytes`);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const [first, ...others] = parts;
  if (first !== undefined && others.length === 0) return first;
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
