/**
 * The ledger as a stranger checks it: from the entries that the API shows, with hashing of its own.
 *
 * @module
 */
import { equal } from "node:assert/strict";
import { createHash } from "node:crypto";
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
      equal(leafHash, sha256(0, new TextEncoder().encode(line)).toString("hex"));
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

/** Root hash of RFC 6962, section 2.1, in base64. */
export function rootOf(leaves: readonly string[]): string {
  const tree = (from: number, to: number): Uint8Array => {
    if (to - from === 1) return Uint8Array.fromHex(leaves[from] ?? "");
    let half = 1;
    while (half * 2 < to - from) half *= 2;
    return sha256(1, tree(from, from + half), tree(from + half, to));
  };
  if (leaves.length === 0) return createHash("sha256").digest("base64");
  return new Uint8Array(tree(0, leaves.length)).toBase64();
}

function sha256(prefix: number, ...parts: Uint8Array[]) {
  const hash = createHash("sha256").update(Uint8Array.of(prefix));
  for (const part of parts) hash.update(part);
  return hash.digest();
}
