/**
 * An event is what a part of the kernel asks the ledger to record, before the record has its place.
 *
 * Inputs, outputs and any text that a plugin or a caller chose do not enter: the event carries their bytes in
 * `commit`, and the record gets `SHA-256(domain ‖ salt ‖ bytes)`. Salt and bytes go to the store, where they
 * can be deleted; without the salt, a commitment says nothing even of a short, guessable value.
 *
 * @module
 */
import { hashInSlices, type SlowLane } from "../../sandbox/slow_lane.ts";
import { createHash } from "node:crypto";
import { z } from "zod";
import {
  type LedgerEventData,
  ledgerEventData,
  type LedgerEventType,
  ledgerRecordSchema,
} from "../../schemas/ledger_event.ts";
import { formatUnplaced } from "./record.ts";

/** Ties a commitment to this use of SHA-256, and to this version of it. */
export const commitmentDomain = "airlock/commitment/v1\n";

const saltBytes = 16;
const saltPoolBytes = 4_096;

type CommitmentField<T extends LedgerEventType> = Extract<keyof LedgerEventData<T>, `${string}Commitment`>;
type CommittedName<F> = F extends `${infer Name}Commitment` ? Name : never;

/** Bytes to commit to, by field name without the suffix: `{ input: bytes }` becomes `data.inputCommitment`. */
type Commit<T extends LedgerEventType> = [CommitmentField<T>] extends [never]
  ? { readonly commit?: undefined }
  : { readonly commit: Readonly<Record<CommittedName<CommitmentField<T>>, Uint8Array | string>> };

interface EventOf<T extends LedgerEventType> {
  readonly type: T;
  /** "kernel", "token:<id>", … */
  readonly actor: string;
  /** "id@version", or "". */
  readonly plugin: string;
  readonly data: Omit<LedgerEventData<T>, CommitmentField<T>>;
}

/** The event of each type. Bytes in `commit` must stay as they are until the append has resolved. */
export type LedgerEventInput<T extends LedgerEventType = LedgerEventType> = T extends unknown
  ? EventOf<T> & Commit<T>
  : never;

/** What opens one commitment. */
export interface CommitmentRow {
  /** Of the record; `field` is the name in its data, suffix included. */
  readonly index: number;
  readonly field: string;
  readonly salt: Uint8Array;
  /** Null when it is larger than `valueBytesMax`. */
  readonly value: Uint8Array | null;
}

/** An event that was checked and serialised, and lacks only its place. */
export interface PreparedEvent {
  /** See `formatUnplaced()`. */
  readonly text: string;
  readonly commitments: readonly Omit<CommitmentRow, "index">[];
}

export interface EventTools {
  nowMs(): number;
  /** 16 bytes that were never handed out before. */
  nextSalt(): Uint8Array;
  readonly valueBytesMax: number;
}

const writerSchema = ledgerRecordSchema.pick({ actor: true, plugin: true });

/** Hex. */
export function hashCommitment(salt: Uint8Array, value: Uint8Array): string {
  return createHash("sha256").update(commitmentDomain).update(salt).update(value).digest("hex");
}

/** Commitments of large values, made before their event is prepared: by the name of the value. */
export type HashedValues = ReadonlyMap<string, { readonly salt: Uint8Array; readonly hash: string }>;
const noneHashed: HashedValues = new Map();
const hashedAtOnceBytesMax = 65_536;

/** Hashes in the slow lane what would hold up others. */
export function hashLarge(
  event: LedgerEventInput,
  nextSalt: () => Uint8Array,
  lane: SlowLane,
): HashedValues | Promise<HashedValues> {
  const large = Object.entries<Uint8Array | string>(event.commit ?? {}).filter(([, value]) =>
    typeof value !== "string" && value.length > hashedAtOnceBytesMax
  ) as [string, Uint8Array][];
  return large.length === 0 ? noneHashed : hashEach(large, nextSalt, lane);
}

async function hashEach(
  values: readonly (readonly [string, Uint8Array])[],
  nextSalt: () => Uint8Array,
  lane: SlowLane,
): Promise<HashedValues> {
  const hashed = new Map<string, { salt: Uint8Array; hash: string }>();
  for (const [name, value] of values) {
    const salt = nextSalt();
    const hash = createHash("sha256").update(commitmentDomain).update(salt);
    hashed.set(name, { salt, hash: (await hashInSlices(lane, hash, value)).digest("hex") });
  }
  return hashed;
}

/**
 * Checks an event against the allow-list of its type and makes its commitments. Throws TypeError when it does
 * not fit, RangeError when its record would be too long.
 */
export function prepareEvent(
  event: LedgerEventInput,
  tools: EventTools,
  hashed: HashedValues = noneHashed,
): PreparedEvent {
  const commitments: Omit<CommitmentRow, "index">[] = [];
  const hashes: Record<string, string> = {};
  for (const [name, bytes] of Object.entries<Uint8Array | string>(event.commit ?? {})) {
    const value = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    const field = `${name}Commitment`;
    const { salt = tools.nextSalt(), hash } = hashed.get(name) ?? {};
    hashes[field] = hash ?? hashCommitment(salt, value);
    commitments.push({ field, salt, value: value.length <= tools.valueBytesMax ? value : null });
  }
  const { type, actor, plugin } = event;
  const writer = writerSchema.safeParse({ actor, plugin });
  const data = ledgerEventData[type].safeParse({ ...event.data, ...hashes });
  if (!writer.success) throw misfit(type, writer.error);
  if (!data.success) throw misfit(type, data.error);
  const time = new Date(tools.nowMs()).toISOString();
  return { text: formatUnplaced({ time, type, actor, plugin, data: data.data }), commitments };
}

function misfit(type: LedgerEventType, error: z.ZodError): TypeError {
  return new TypeError(`Cannot append "${type}" to the ledger: ${z.prettifyError(error)}`);
}

/** Salts out of larger blocks: asking for 16 random bytes at a time costs more than the hash. */
export function createSalts(randomBytes: (count: number) => Uint8Array): () => Uint8Array {
  let pool = new Uint8Array();
  return () => {
    if (pool.length < saltBytes) pool = new Uint8Array(randomBytes(saltPoolBytes));
    const salt = pool.subarray(0, saltBytes);
    pool = pool.subarray(saltBytes);
    return salt;
  };
}
