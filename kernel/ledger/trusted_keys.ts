/**
 * The keys that a verifier trusts as it goes through a log: those it was given, and those that the log names under
 * a signature of one that is trusted already. No I/O.
 *
 * An entry that names a key says nothing until a checkpoint covers it that a trusted key signed, and whose root is
 * the one of the entries. Of a log that goes on after the entry that retires a key, that key's signature counts no
 * more.
 *
 * @module
 */
import { ledgerEventData, type LedgerRecord } from "../../schemas/ledger_event.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { parseVerifierKey, SignedNoteError, type Verifier } from "./signed_note.ts";

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

export class TrustedKeys {
  readonly #trusted: Map<string, Verifier>;
  readonly #named = new Map<string, NamedKey>();

  constructor(keys: readonly Verifier[]) {
    this.#trusted = new Map(keys.map((verifier) => [verifier.text, verifier]));
  }

  /** Each key that the log has named so far, the oldest first. */
  get named(): LedgerKey[] {
    return Array.from(this.#named, ([key, { from, until }]) => ({ key, from, until }));
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
   * was not retired at that size. Throws when one of them has a bad signature under it.
   */
  signersOf(note: string, size: number): { trusted: Verifier[]; any: Verifier[] } {
    const known = new Map(Array.from(this.#named, ([key, { verifier }]) => [key, verifier]));
    for (const [key, verifier] of this.#trusted) known.set(key, verifier);
    const inForce = [...known.values()].filter(({ text }) =>
      size <= (this.#named.get(text)?.until ?? Infinity)
    );
    try {
      const { signedBy } = openCheckpoint(note, inForce);
      return { trusted: signedBy.filter(({ text }) => this.#trusted.has(text)), any: [...signedBy] };
    } catch (error) {
      if (error instanceof SignedNoteError && error.isUnsigned) return { trusted: [], any: [] };
      throw error;
    }
  }

  /** Trusts what the entries below `size` have named: a trusted key signed a checkpoint of them, and its root is right. */
  believe({ origin, size }: Checkpoint): void {
    for (const [key, { verifier, from }] of this.#named) {
      if (from < size && verifier.name === origin) this.#trusted.set(key, verifier);
    }
  }

  #name(key: string, from: number): void {
    const verifier = parseVerifierKey(key);
    if (this.#named.size >= keysMax) throw new SignedNoteError(`Cannot follow more than ${keysMax} keys`);
    if (!this.#named.has(key)) this.#named.set(key, { verifier, from, until: null });
  }
}
