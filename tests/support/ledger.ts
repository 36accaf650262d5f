/**
 * The ledger as a stranger checks it: from the entries that the API shows, with hashing of its own.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import type { Airlock } from "./airlock.ts";

export interface LedgerCopy {
  readonly key: string;
  readonly origin: string;
  readonly size: number;
  readonly rootHash: string;
  /** Leaf hashes of all entries. */
  readonly leaves: readonly string[];
}

/** Copies the ledger; its checkpoint must be that of its entries. */
export async function copyLedger(airlock: Airlock): Promise<LedgerCopy> {
  const { body: checkpoint } = await airlock.request<{ origin: string; size: number; rootHash: string }>(
    "GET",
    "/v1/ledger/checkpoint?format=json",
  );
  const { body: key } = await airlock.request<string>("GET", "/v1/ledger/key");
  const leaves: string[] = [];
  for (let path: string | null = "/v1/ledger/entries?limit=1000"; path !== null;) {
    const { body }: { body: { items: { line: string; leafHash: string }[]; next: string | null } } =
      await airlock.request("GET", path);
    for (const { line, leafHash } of body.items) {
      equal(leafHash, leafHashOf(line));
      leaves.push(leafHash);
    }
    path = body.next === null ? null : `/v1/ledger/entries?limit=1000&after=${body.next}`;
  }
  const copy = { key, ...checkpoint, leaves };
  equal(rootOf(copy.leaves.slice(0, copy.size)), copy.rootHash);
  return copy;
}

/** `older` must be the beginning of `newer`: same key, same origin, same entries, same root. */
export function checkContinued(older: LedgerCopy, newer: LedgerCopy): void {
  equal(newer.key, older.key);
  equal(newer.origin, older.origin);
  equal(rootOf(newer.leaves.slice(0, older.size)), older.rootHash);
  equal(newer.leaves.slice(0, older.leaves.length).join("\n"), older.leaves.join("\n"));
}

export interface SignedCheckpoint {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly rootHash: string;
}

/** What is in a signed note that the holder of `verifierKey` signed last, or alone. */
export function openSigned(note: string, verifierKey: string): SignedCheckpoint {
  const border = note.indexOf("\n\n") + 1;
  const signed = Uint8Array.fromBase64(note.slice(note.lastIndexOf(" ") + 1, -1)).subarray(4);
  const x = Uint8Array.fromBase64(verifierKey.replace(/^[^+]+\+[^+]+\+/, "")).subarray(1)
    .toBase64({ alphabet: "base64url", omitPadding: true });
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  ok(verify(null, new TextEncoder().encode(note.slice(0, border)), key, signed), `not signed: ${note}`);
  const [origin = "", size = "", rootHash = ""] = note.slice(0, border).split("\n");
  return { origin, size: Number(size), rootHash };
}

/** The log of `newer` must begin with that of `older`: RFC 9162, section 2.1.4.2. `hashes` are in base64. */
export function checkConsistent(
  older: SignedCheckpoint,
  newer: SignedCheckpoint,
  hashes: readonly string[],
): void {
  equal(newer.origin, older.origin);
  ok(0 < older.size && older.size <= newer.size, `${older.size} in ${newer.size}`);
  if (older.size === newer.size) {
    equal(hashes.length, 0);
    equal(newer.rootHash, older.rootHash);
    return;
  }
  const isPower = Number.isInteger(Math.log2(older.size));
  const [first, ...rest] = [...(isPower ? [older.rootHash] : []), ...hashes].map((hash) =>
    Uint8Array.fromBase64(hash)
  );
  ok(first !== undefined);
  let [fn, sn] = [older.size - 1, newer.size - 1];
  const up = () => [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  while (fn % 2 === 1) up();
  let [fr, sr] = [first, first];
  for (const hash of rest) {
    ok(sn !== 0, "a proof that is too long");
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [sha256(1, hash, fr), sha256(1, hash, sr)];
      while (fn % 2 === 0 && fn !== 0) up();
    } else {
      sr = sha256(1, sr, hash);
    }
    up();
  }
  equal(sn, 0, "a proof that is too short");
  equal(fr.toBase64(), older.rootHash);
  equal(sr.toBase64(), newer.rootHash);
}

/** The leaf hash of a line, in hex. */
export function leafHashOf(line: string): string {
  return sha256(0, new TextEncoder().encode(line)).toHex();
}

/** A log that only grows, and the root hash of each size that it had. */
export class GrowingTree {
  readonly #roots = [rootOf([])];
  /** Roots of complete subtrees, from the left: each half as high as its neighbour, or less. */
  readonly #edge: { readonly height: number; readonly hash: Uint8Array<ArrayBuffer> }[] = [];

  get size(): number {
    return this.#roots.length - 1;
  }

  append(leafHash: string): void {
    let node = { height: 0, hash: Uint8Array.fromHex(leafHash) };
    for (let left = this.#edge.at(-1); left?.height === node.height; left = this.#edge.at(-1)) {
      node = { height: node.height + 1, hash: sha256(1, left.hash, node.hash) };
      this.#edge.pop();
    }
    this.#edge.push(node);
    const root = this.#edge.map(({ hash }) => hash).reduceRight((right, left) => sha256(1, left, right));
    this.#roots.push(root.toBase64());
  }

  /** Base64; undefined for a size that it has not reached. */
  rootAt(size: number): string | undefined {
    return this.#roots[size];
  }
}

/** Root hash of RFC 6962, section 2.1, in base64. */
export function rootOf(leaves: readonly string[]): string {
  const tree = (from: number, to: number): Uint8Array<ArrayBuffer> => {
    if (to - from === 1) return Uint8Array.fromHex(leaves[from] ?? "");
    let half = 1;
    while (half * 2 < to - from) half *= 2;
    return sha256(1, tree(from, from + half), tree(from + half, to));
  };
  if (leaves.length === 0) return createHash("sha256").digest("base64");
  return tree(0, leaves.length).toBase64();
}

function sha256(prefix: number, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const hash = createHash("sha256").update(Uint8Array.of(prefix));
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}
