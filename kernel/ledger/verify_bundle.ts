/**
 * The offline verifier of a bundle: a range of entries that somebody handed over. It believes the keys that it is
 * given, and nothing that stands in the bundle.
 *
 * The leaf hashes of the lines, between the subtrees that the header has, must give the root hash of a checkpoint
 * that such a key signed. In memory it holds one line.
 *
 * @module
 */
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import { BundleError, type BundleHeader, bundleHeaderBytesMax, parseBundleHeader } from "./bundle.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { claimedCheckpoint } from "./published_checkpoints.ts";
import { firstPrev, parseRecord, recordBytesMax, RecordError } from "./record.ts";
import { SignedNoteError, type Verifier } from "./signed_note.ts";
import { coverRange, Frontier, hashLeaf } from "./tree.ts";

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
  { keys, anchor: note, progress }: VerifyBundleOptions,
): Promise<VerifiedBundle> {
  const rest = { bytes: 0 };
  const lines = readLines(bytes, rest);
  const first = await lines.next();
  const header = readHeader(first.value);
  const { from, to } = header;
  const signed = openSigned("the checkpoint", header.checkpoint, keys);
  if (signed.origin !== header.origin || signed.size !== header.size) {
    throw new LedgerInvalidError("the header is not of the log or the size of its checkpoint");
  }
  const anchor = note === undefined ? undefined : openSigned("the anchor", note, keys);
  const range = new RangeCheck(header, anchor);
  for (let index = from; index < to; index++) {
    const line = (await lines.next()).value;
    if (line === undefined) throw new LedgerInvalidError(`the bundle ends before entry ${index}`, index);
    range.take(line);
    if (index % progressEntries === 0) progress?.(index - from, to - from);
  }
  range.end(signed.rootHash);
  if ((await lines.next()).value !== undefined || rest.bytes > 0) {
    throw new LedgerInvalidError(`there is more after entry ${to - 1}, the last one of the range`);
  }
  const { firstTime, lastTime } = range;
  range.checkInForce(signed.signedBy);
  return {
    ...signed,
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
    throw new LedgerInvalidError("the first line is not the header of a bundle", undefined, error);
  }
}

function openSigned(name: string, note: string, keys: readonly Verifier[]) {
  const { checkpoint } = claimedCheckpoint(name, note);
  try {
    const { signedBy } = openCheckpoint(note, keys);
    return { ...checkpoint, signedBy: signedBy.map(({ text }) => text) };
  } catch (error) {
    if (!(error instanceof SignedNoteError)) throw error;
    const state = error.isUnsigned ? "is not signed by a key that was given" : "has a bad signature";
    throw new LedgerInvalidError(`${name} ${state}`, undefined, error);
  }
}

function appendSubtrees(tree: Frontier, hashes: readonly string[], from: number, to: number): void {
  for (const [at, { level }] of coverRange(from, to).entries()) {
    tree.appendSubtree(toHex(hashes[at] ?? ""), level);
  }
}

function toHex(base64: string): string {
  return Uint8Array.fromBase64(base64).toHex();
}

interface Link {
  readonly prev: string;
  readonly leafHash: string;
}

/** Each line a record in its place, chained to the one before; all of them together of the signed root hash. */
class RangeCheck {
  firstTime: string | null = null;
  lastTime: string | null = null;
  /** Of the entries before the last one. */
  readonly #tree = new Frontier();
  readonly #header: BundleHeader;
  /** Keys, by the index of the entry that retired them. */
  readonly #retired = new Map<string, number>();
  readonly #leafBefore: string | undefined;
  #index: number;
  #last: Link | undefined;
  /** An entry whose `prev` is not the leaf hash before it: what comes next says which of the two was changed. */
  #suspect: number | undefined;

  constructor(header: BundleHeader, private readonly anchor: Checkpoint | undefined) {
    this.#header = header;
    const { from, to, size, left } = header;
    this.#index = from;
    if (anchor !== undefined && anchor.size !== size && (anchor.size < from || anchor.size > to)) {
      const sizes = `of ${from} to ${to} entries, or of ${size}`;
      throw new LedgerInvalidError(
        `the anchor is of ${anchor.size} entries: this bundle can be held to one ${sizes}`,
      );
    }
    appendSubtrees(this.#tree, left, 0, from);
    this.#checkAnchor();
    // The last subtree before an odd index is a leaf.
    const before = from % 2 === 1 ? left.at(-1) : undefined;
    this.#leafBefore = before === undefined ? undefined : toHex(before);
  }

  /** Throws when all who signed were retired by an entry of the range, and the log has gone on since. */
  checkInForce(signedBy: readonly string[]): void {
    const { size } = this.#header;
    if (signedBy.some((key) => size <= (this.#retired.get(key) ?? Infinity) + 1)) return;
    throw new LedgerInvalidError("the checkpoint is signed by a key that was retired before");
  }

  take(line: Uint8Array): void {
    const link = this.#parse(line);
    const before = this.#last?.leafHash ?? this.#leafBefore;
    const follows = link !== undefined && (before === undefined || link.prev === before);
    if (this.#suspect !== undefined) throw broken(follows ? this.#suspect - 1 : this.#suspect);
    if (link === undefined) {
      throw new LedgerInvalidError(`entry ${this.#index} is not a record in its place`, this.#index);
    }
    if (!follows) this.#suspect = this.#index;
    else if (this.#last !== undefined) this.#append(this.#last.leafHash);
    this.#last = link;
    this.#index += 1;
  }

  /** Throws unless the root hash of all is `rootHash`. */
  end(rootHash: string): void {
    const { right, to, size } = this.#header;
    if (this.#last === undefined) throw new RangeError("Cannot end a range of no entries");
    // The last one has no successor: if it is right, and names the one before it right, the root is right.
    if (this.#suspect !== undefined) this.#tree.append(this.#last.prev);
    this.#append(this.#last.leafHash);
    appendSubtrees(this.#tree, right, to, size);
    const isSigned = this.#tree.rootHash() === rootHash;
    if (this.#suspect !== undefined) throw broken(isSigned ? this.#suspect - 1 : this.#suspect);
    if (isSigned) return this.#checkAnchor();
    const state = "the entries and the hashes around them do not give the signed root hash";
    throw new LedgerInvalidError(`${state}: entry ${to - 1}, those hashes or all of it were changed`);
  }

  #append(leafHash: string): void {
    this.#tree.append(leafHash);
    // Entries that were changed are better named by what comes next.
    if (this.#suspect === undefined) this.#checkAnchor();
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
      if (seq !== this.#index || seq === 0 && !isFirst(record, this.#header)) return undefined;
      if (type === "ledger.retired") this.#retired.set(String(data["key"]), seq);
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

function broken(index: number): LedgerInvalidError {
  return new LedgerInvalidError(`the chain breaks at entry ${index}`, index);
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
