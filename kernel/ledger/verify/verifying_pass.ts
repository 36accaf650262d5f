/**
 * One pass of a verifier over a log: what it holds the growing tree to, and whom it has come to trust.
 *
 * Checkpoints are checked as the tree reaches their size, so that memory holds only those within one file of the
 * log. No I/O but through `published`.
 *
 * @module
 */
import { z } from "zod";
import type { LedgerRecord } from "../../../schemas/ledger_event.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { fileRecordsMax } from "../log_files.ts";
import { type ClaimedCheckpoint, describeSigners } from "./published_checkpoints.ts";
import { SignedNoteError, type Verifier } from "../signed_note.ts";
import { Frontier } from "../tree.ts";
import type { TrustedKeys } from "./trusted_keys.ts";

export interface VerifyingPassOptions {
  readonly keys: TrustedKeys;
  /** Their sizes ascend. */
  readonly published?: AsyncIterator<ClaimedCheckpoint, undefined>;
  /** Of any size. */
  readonly expected: readonly ClaimedCheckpoint[];
}

export interface Covered {
  readonly size: number;
  readonly lastTime: string | null;
  /** Published ones up to that size. */
  readonly checkpoints: number;
}

/** Checkpoints of an empty log: one is published as it is made. */
const emptyOnesMax = 16;
/** Checkpoints within a file of the log: of one size there are three at most, when keys change. */
const aheadMax = 8 * fileRecordsMax;

export class VerifyingPass {
  readonly tree = new Frontier();
  readonly keys: TrustedKeys;
  /** What the largest checkpoint says that has the root hash of the tree, and that a trusted key signed. */
  covered: Covered = { size: 0, lastTime: null, checkpoints: 0 };
  firstTime: string | null = null;
  #lastTime: string | null = null;
  /** That the tree has reached. */
  #publishedCount = 0;
  readonly #published: AsyncIterator<ClaimedCheckpoint, undefined> | undefined;
  /** Not reached yet. */
  #ahead: ClaimedCheckpoint[];
  /** The smallest of their sizes. */
  #nextSize = 0;
  /** The first published one that lies beyond the next file. */
  #next: ClaimedCheckpoint | undefined;
  #publishedSize = 0;
  /** Whose keys are to be named yet. */
  readonly #unknown: ClaimedCheckpoint[] = [];

  constructor({ keys, published, expected }: VerifyingPassOptions) {
    this.keys = keys;
    this.#published = published;
    this.#ahead = [...expected];
  }

  async begin(): Promise<void> {
    await this.approach();
    this.#checkReached();
  }

  /** To be called before each file of the log: takes the checkpoints in that lie within it. */
  async approach(): Promise<void> {
    const end = this.tree.size + fileRecordsMax;
    for (;;) {
      this.#next ??= (await this.#published?.next())?.value;
      if (this.#next === undefined || this.#next.checkpoint.size > end) break;
      const { name, checkpoint } = this.#next;
      if (checkpoint.size < this.#publishedSize) {
        throw new LedgerInvalidError(`${name} is of a smaller log than the line before`);
      }
      if (this.#ahead.length > aheadMax) {
        throw new LedgerInvalidError(`${name} is one too many of some ${checkpoint.size} entries`);
      }
      this.#publishedSize = checkpoint.size;
      this.#ahead.push(this.#next);
      this.#next = undefined;
    }
    this.#nextSize = this.#smallestAhead();
  }

  /** Takes the record that the tree has just grown by. */
  take(record: LedgerRecord): void {
    const { seq: index, time } = record;
    this.firstTime ??= time;
    this.#lastTime = time;
    try {
      this.keys.take(record);
    } catch (cause) {
      if (!(cause instanceof SignedNoteError || cause instanceof z.ZodError)) throw cause;
      throw new LedgerInvalidError(`entry ${index} names what is no key`, {
        index,
        isOfEntries: true,
        cause,
      });
    }
    if (this.tree.size === this.#nextSize) this.#checkReached();
  }

  /** To be called at the end of the log. Throws when a checkpoint is of a longer one, or nobody's. */
  async finish(): Promise<void> {
    const beyond = this.#ahead[0] ?? this.#next ?? (await this.#published?.next())?.value;
    if (beyond !== undefined) {
      this.#checkKnown(beyond);
      const { name, checkpoint } = beyond;
      const { size } = this.tree;
      const state = `the log was cut: it ends after ${size} entries, ${name} is of ${checkpoint.size}`;
      if (size === this.covered.size) throw new LedgerInvalidError(state, { index: size });
      throw LedgerInvalidError.from(this.covered.size, state);
    }
    for (const claimed of this.#unknown) this.#checkKnown(claimed);
  }

  /** Verifier keys of those trusted ones that signed it. Throws when there is none. */
  trustedSignersOf(claimed: ClaimedCheckpoint): string[] {
    const { trusted } = this.signersOf(claimed);
    if (trusted.length > 0) return trusted.map(({ text }) => text);
    const state = "is signed neither by a key that was given nor by one that such a key led to";
    throw new LedgerInvalidError(`${claimed.name} ${state}: ${describeSigners(claimed)}`);
  }

  /** As far as its signers are known so far. Throws when one of them has a bad signature under it. */
  signersOf({ name, note, checkpoint }: ClaimedCheckpoint): { trusted: Verifier[]; any: Verifier[] } {
    try {
      return this.keys.signersOf(note, checkpoint.size);
    } catch (cause) {
      if (!(cause instanceof SignedNoteError)) throw cause;
      throw new LedgerInvalidError(`${name} has a bad signature`, { cause });
    }
  }

  #checkReached(): void {
    const { size } = this.tree;
    const reached = this.#ahead.filter(({ checkpoint }) => checkpoint.size === size);
    if (reached.length === 0) return;
    const rootHash = this.tree.rootHash();
    let isTrusted = false;
    for (const claimed of reached) {
      const { any, trusted } = this.signersOf(claimed);
      // Before the first entry no key was named yet.
      const isEarly = size === 0 && this.#unknown.length < emptyOnesMax;
      if (any.length === 0 && isEarly) this.#unknown.push(claimed);
      else if (any.length === 0) throw unknown(claimed);
      if (claimed.checkpoint.rootHash !== rootHash) {
        const state = `${claimed.name}, of ${size} entries, has another root hash than these`;
        throw new LedgerInvalidError(state, { isOfEntries: any.length > 0 });
      }
      if (claimed.isPublished) this.#publishedCount += 1;
      if (trusted.length > 0) this.keys.believe(claimed.checkpoint, trusted);
      isTrusted ||= trusted.length > 0;
    }
    if (isTrusted) this.covered = { size, lastTime: this.#lastTime, checkpoints: this.#publishedCount };
    this.#ahead = this.#ahead.filter(({ checkpoint }) => checkpoint.size !== size);
    this.#nextSize = this.#smallestAhead();
  }

  /** Of a key of this ledger, trusted or not: the log may be older than the keys that were given. */
  #checkKnown(claimed: ClaimedCheckpoint): void {
    if (this.signersOf(claimed).any.length === 0) throw unknown(claimed);
  }

  #smallestAhead(): number {
    return this.#ahead.reduce((size, { checkpoint }) => Math.min(size, checkpoint.size), Infinity);
  }
}

function unknown(claimed: ClaimedCheckpoint): LedgerInvalidError {
  return new LedgerInvalidError(
    `${claimed.name} is signed by no key of this ledger: ${describeSigners(claimed)}`,
  );
}
