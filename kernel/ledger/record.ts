/**
 * A record is one event of the ledger as it is stored: a line of JSON with a fixed order of keys.
 *
 *     {"v":1,"seq":41,"time":"…","type":"…","actor":"…","plugin":"…","data":{…},"prev":"<hex>"}
 *
 * The exact bytes of the line are the entry that the tree hashes, so there must be one way only to write a
 * record. Reading is as strict as that: what does not come out the same when it is written again is not a
 * record. This alone refuses duplicate keys, other orders, white space, floats and spare escapes.
 *
 * `seq` and `prev` are known only when a record gets its place in a batch; all the rest is serialised and
 * checked before, where the caller can still be told.
 *
 * Pure.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type LedgerRecord, ledgerRecordSchema } from "../../schemas/ledger_event.ts";
import { sha256Hex } from "./tree.ts";

/** Longest line, without its newline. A tile of 256 entries carries their lengths in 16 bits. */
export const recordBytesMax = 65_535;

/** A record that lacks its place. */
export type UnplacedRecord = Omit<LedgerRecord, "v" | "seq" | "prev">;

/** The bytes are not a record. */
export class RecordError extends Error {
  override name = "RecordError";
}

const placeBytesMax = placeRecord("", Number.MAX_SAFE_INTEGER, "0".repeat(64)).length;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `prev` of the first record. */
export function firstPrev(origin: string): string {
  return sha256Hex(origin);
}

/**
 * The text of a record between its `seq` and its `prev`. Throws RangeError when the line would be too long,
 * TypeError on a lone surrogate: neither could be read back.
 */
export function formatUnplaced({ time, type, actor, plugin, data }: UnplacedRecord): string {
  const body = JSON.stringify({ time, type, actor, plugin, data }).slice(1, -1);
  const bytes = Buffer.byteLength(body) + placeBytesMax;
  if (bytes > recordBytesMax) {
    throw new RangeError(`Cannot write record "${type}": it has ${bytes} bytes, at most ${recordBytesMax}`);
  }
  if (hasLoneSurrogate(body)) {
    throw new TypeError(`Cannot write record "${type}": a string in it has a lone surrogate`);
  }
  return body;
}

/** The line of a record, from the text of {@linkcode formatUnplaced}. */
export function placeRecord(unplaced: string, seq: number, prev: string): string {
  return `{"v":1,"seq":${seq},${unplaced},"prev":"${prev}"}`;
}

export function formatRecord(record: LedgerRecord): string {
  return placeRecord(formatUnplaced(record), record.seq, record.prev);
}

/** The text of a stored line. Throws TypeError when it is not UTF-8. */
export function decodeLine(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Throws {@linkcode RecordError} unless `bytes`, a line without its newline, is a record. */
export function parseRecord(bytes: Uint8Array): { line: string; record: LedgerRecord } {
  if (bytes.length > recordBytesMax) throw new RecordError(`is longer than ${recordBytesMax} bytes`);
  try {
    const line = decodeLine(bytes);
    const record = checkRecord(JSON.parse(line));
    if (formatRecord(record) === line) return { line, record };
  } catch (cause) {
    throw new RecordError("is not a record", { cause });
  }
  throw new RecordError("is not in the one form of a record");
}

const flatRecordSchema = ledgerRecordSchema.omit({ data: true }).strip();

/**
 * The record, up to keys that no record has: those do not come out again. Most of the schema's time goes into
 * looking for them and into `data`, which is flat in most records.
 */
function checkRecord(value: unknown): LedgerRecord {
  const data = value instanceof Object && "data" in value ? value.data : undefined;
  if (!isFlat(data)) return ledgerRecordSchema.parse(value);
  const { v, seq, time, type, actor, plugin, prev } = flatRecordSchema.parse(value);
  return { v, seq, time, type, actor, plugin, data, prev };
}

/** Whether the schema takes `data`, which comes out of JSON, at a glance. */
function isFlat(data: unknown): data is Record<string, string | number> {
  if (!(data instanceof Object) || Array.isArray(data) || Object.hasOwn(data, "__proto__")) return false;
  return Object.values(data).every((value) => typeof value === "string" || Number.isSafeInteger(value));
}

/** In JSON text a surrogate is escaped only when it is alone; the rare text that might hold one is read again. */
function hasLoneSurrogate(json: string): boolean {
  return json.includes("\\ud") && /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(json);
}
