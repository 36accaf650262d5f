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

/**
 * Throws {@linkcode RecordError} unless `bytes`, a line without its newline, is a record. `text`: the same line,
 * if it was decoded already.
 */
export function parseRecord(bytes: Uint8Array, text?: string): { line: string; record: LedgerRecord } {
  if (bytes.length > recordBytesMax) throw new RecordError(`is longer than ${recordBytesMax} bytes`);
  try {
    const line = text ?? decodeLine(bytes);
    const plain = parsePlainRecord(line);
    if (plain !== undefined) return { line, record: plain };
    const record = ledgerRecordSchema.parse(JSON.parse(line));
    if (formatRecord(record) === line) return { line, record };
  } catch (cause) {
    throw new RecordError("is not a record", { cause });
  }
  throw new RecordError("is not in the one form of a record");
}

const plainText = String.raw`[ !#-\[\]-~]`;
/** All but the 29th of February. */
const plainDay = String
  .raw`(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)`;
const plainPattern = new RegExp(
  String
    .raw`^\{"v":1,"seq":(0|[1-9]\d{0,14}),"time":"(\d{4}-${plainDay}T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{3}Z)",` +
    String
      .raw`"type":"([a-z]{1,31}\.[a-z]{1,31})","actor":"(${plainText}{0,128})","plugin":"(${plainText}{0,256})",` +
    String.raw`"data":(\{[ -\[\]-~]*\}),"prev":"([0-9a-f]{64})"\}$`,
);
const plainKeyPattern = /^[A-Za-z]+$/;
const plainDepthMax = 8;

/**
 * Most lines are plain: ASCII without escapes. These are read four times as fast as by the schema, and none is
 * taken that the schema would refuse. Undefined: the schema is to say.
 */
function parsePlainRecord(line: string): LedgerRecord | undefined {
  const [, seq, time, type, actor, plugin, dataText, prev] = plainPattern.exec(line) ?? [];
  if (dataText === undefined || time === undefined) return undefined;
  const data = parsePlainData(dataText);
  if (data === undefined) return undefined;
  return { v: 1, seq: Number(seq), time, type, actor, plugin, data, prev };
}

/** Undefined unless `text` is integers and strings in the one way to write them. */
function parsePlainData(text: string): LedgerRecord["data"] | undefined {
  try {
    const data: unknown = JSON.parse(text);
    return isPlainObject(data, plainDepthMax) && JSON.stringify(data) === text ? data : undefined;
  } catch {
    return undefined; // no JSON
  }
}

function isPlainObject(value: unknown, depth: number): value is LedgerRecord["data"] {
  if (typeof value !== "object" || value === null || depth === 0) return false;
  for (const [key, item] of Object.entries(value)) {
    if (!plainKeyPattern.test(key) || !isPlainValue(item, depth - 1)) return false;
  }
  return true;
}

function isPlainValue(value: unknown, depth: number): boolean {
  if (typeof value === "string") return true;
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (!Array.isArray(value)) return isPlainObject(value, depth);
  return depth > 0 && value.every((item) => isPlainValue(item, depth - 1));
}

/** In JSON text a surrogate is escaped only when it is alone; the rare text that might hold one is read again. */
function hasLoneSurrogate(json: string): boolean {
  return json.includes("\\ud") && /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(json);
}
