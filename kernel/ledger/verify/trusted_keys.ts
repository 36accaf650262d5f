/**
 * The keys that a verifier trusts as it goes through a log: those it was given, and those that the log names under
 * a signature of one that is trusted already. No I/O.
 *
 * An entry that names a key says nothing until a checkpoint covers it that a trusted key signed, and whose root is
 * the one of the entries. The last checkpoint that a key's signature counts under is the one that ends with the
 * entry that retires it: the kernel may sign with it for some time after, beside the next key.
 *
 * @module
 */
import { ledgerEventData, type LedgerRecord } from "../../../schemas/ledger_event.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { parseVerifierKey, SignedNoteError, type Verifier } from "../signed_note.ts";

export interface LedgerKey {
  readonly key: string;
  /** Index of the entry that named it. */
  readonly from: number;
  /** Index of the entry that retired it. */
  readonly until: number | null;
}

/** A log that names more keys than this is not one that Airlock wrote. */
const keysMax = 1_000;

interface NamedKey {
  readonly verifier: Verifier;
  readonly from: number;
  until: number | null;
}

/** Whether the signature of a key counts under a checkpoint of `size` entries, one of which may have retired it. */
export function isInForce(retiredAt: number | null | undefined, size: number): boolean {
  return size <= (retiredAt ?? Infinity) + 1;
}

export class TrustedKeys {
  readonly #trusted: Map<string, Verifier>;
  readonly #named = new Map<string, NamedKey>();

  constructor(keys: readonly Verifier[]) {
    this.#trusted = new Map(keys.map((verifier) => [verifier.text, verifier]));
  }

  /** Each key that the entries below `size` name, the oldest first. */
  namedBelow(size: number): LedgerKey[] {
    return Array.from(this.#named, ([key, { from, until }]) => ({
      ...{ key, from },
      until: until !== null && until < size ? until : null,
    })).filter(({ from }) => from < size);
  }

  /** Takes note of what an entry says of keys. Throws SignedNoteError on a key that is none. */
  take({ type, seq, data }: LedgerRecord): void {
    if (type === "ledger.created") {
      for (const key of ledgerEventData[type].parse(data).keys) this.#name(key, seq);
    } else if (type === "ledger.rotated") {
      this.#name(ledgerEventData[type].parse(data).key, seq);
    } else if (type === "ledger.retired") {
      const named = this.#named.get(ledgerEventData[type].parse(data).key);
      if (named !== undefined) named.until ??= seq;
    }
  }

  /**
   * Who signed the checkpoint in `note`: of the trusted keys, and of all that the log has named; each as long as it
   * was in force. Throws when one of them has a bad signature under it.
   */
  signersOf(note: string, size: number): { trusted: Verifier[]; any: Verifier[] } {
    const known = new Map(Array.from(this.#named, ([key, { verifier }]) => [key, verifier]));
    for (const [key, verifier] of this.#trusted) known.set(key, verifier);
    const inForce = [...known.values()].filter(({ text }) => isInForce(this.#named.get(text)?.until, size));
    try {
      const { signedBy } = openCheckpoint(note, inForce);
      return { trusted: signedBy.filter(({ text }) => this.#trusted.has(text)), any: [...signedBy] };
    } catch (error) {
      if (error instanceof SignedNoteError && error.isUnsigned) return { trusted: [], any: [] };
      throw error;
    }
  }

  /**
   * Trusts the keys that the entries of `checkpoint` named after one of its `signers`, which are trusted: a key says
   * which one comes after it, and none that was before it, since that one may have been retired and stolen.
   */
  believe({ size }: Checkpoint, signers: readonly Verifier[]): void {
    const since = Math.min(...signers.map(({ text }) => this.#named.get(text)?.from ?? Infinity));
    for (const [key, { verifier, from }] of this.#named) {
      if (from > since && from < size) this.#trusted.set(key, verifier);
    }
  }

  #name(key: string, from: number): void {
    if (this.#named.has(key)) return;
    const verifier = parseVerifierKey(key);
    if (this.#named.size >= keysMax) {
      const state = `entry ${from} names one key too many: more than ${keysMax}`;
      throw new LedgerInvalidError(state, { index: from, isOfEntries: true });
    }
    this.#named.set(key, { verifier, from, until: null });
  }
}
