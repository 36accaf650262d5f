/**
 * What the tests of the ledger share: a ledger with a fixed clock, events, and a second opinion on its root.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { LedgerEntry } from "../../../schemas/api.ts";
import { openCheckpoint } from "../checkpoint.ts";
import {
  type CommitmentRow,
  type Ledger,
  type LedgerDeps,
  type LedgerEventInput,
  openLedger,
} from "../ledger.ts";
import { parseVerifierKey } from "../signed_note.ts";

export const folder = "/data/ledger";

/** Dependencies that remember what they were told. The random bytes count up, so that runs repeat. */
export function createDeps(files?: LedgerDeps["files"]) {
  const rows: CommitmentRow[] = [];
  const fatals: Error[] = [];
  let seed = 0;
  const deps: LedgerDeps = {
    nowMs: () => Date.UTC(2026, 10, 20, 10),
    randomBytes: (count) => Uint8Array.from({ length: count }, () => seed++ % 251),
    commitments: { save: (batch) => rows.push(...batch), deleteFrom() {} },
    fatal: (error) => fatals.push(error),
    files,
  };
  return { deps, rows, fatals };
}

export const options = {
  folder,
  batchRecordsMax: 256,
  queueRecordsMax: 1_024,
  valueBytesMax: 64,
  openRecordsMax: 16_384,
  auditRecordsPerSecond: 10_000,
  filterRecordsMax: 10_000,
  lockTimeoutMs: 0,
  // Longer than any test: the file `checkpoint` then lags as far behind as it can.
  checkpointIntervalMs: 3_600_000,
};

export function open(files: LedgerDeps["files"], changes: Partial<typeof options> = {}): Promise<Ledger> {
  return openLedger({ ...options, ...changes }, createDeps(files).deps);
}

export function accepted(request: string): LedgerEventInput {
  const data = { action: "greet", request };
  return {
    type: "call.accepted",
    actor: "token:ci",
    plugin: "hello@1.2.0",
    data,
    commit: { input: request },
  };
}

/** All entries, page by page. */
export async function readAll(ledger: Ledger): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  while (entries.length < ledger.size) {
    const { items } = await ledger.reader.entries({ after: entries.length - 1, limit: 1_000 });
    entries.push(...items);
  }
  return entries;
}

/** The request id of an accepted call, else its type. */
export function labelOf({ line }: LedgerEntry): string {
  const { type, data } = JSON.parse(line);
  return data.request ?? type;
}

/** RFC 6962 section 2.1 to the letter: recursive, and on bytes. */
export function naiveRoot(entries: readonly Uint8Array[]): Uint8Array {
  const hash = (...parts: Uint8Array[]) =>
    parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest();
  if (entries.length === 0) return hash();
  if (entries.length === 1) return hash(new Uint8Array([0]), entries[0]);
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  return hash(new Uint8Array([1]), naiveRoot(entries.slice(0, k)), naiveRoot(entries.slice(k)));
}

/** Throws unless chain, leaf hashes, root and signature of the whole ledger agree. */
export async function verifyAll(ledger: Ledger): Promise<LedgerEntry[]> {
  const entries = await readAll(ledger);
  let prev = createHash("sha256").update(ledger.origin).digest("hex");
  for (const { index, line, leafHash } of entries) {
    const record = JSON.parse(line);
    if (record.seq !== index || record.prev !== prev) throw new Error(`entry ${index} is not chained`);
    prev = createHash("sha256").update("\0").update(line).digest("hex");
    if (prev !== leafHash) throw new Error(`entry ${index} has another leaf hash`);
  }
  const verifiers = ledger.verifierKeys.map(parseVerifierKey);
  const { size, rootHash } = openCheckpoint(ledger.checkpoint().note, verifiers).checkpoint;
  const root = naiveRoot(entries.map(({ line }) => new TextEncoder().encode(line))).toHex();
  if (size !== entries.length || rootHash !== root) {
    throw new Error(`the checkpoint is not of the ${size} entries`);
  }
  return entries;
}
