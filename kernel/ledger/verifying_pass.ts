/**
 * One pass of a verifier over a log: what it holds the growing tree to, and whom it has come to trust.
 *
 * Checkpoints are checked as the tree reaches their size, so that memory holds only those within one file of the
 * log. No I/O but through `published`.
 *
 * @module
 */
import { z } from "zod";
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import { LedgerInvalidError } from "./ledger_invalid_error.ts";
import { fileRecordsMax } from "./log_files.ts";
import type { ClaimedCheckpoint } from "./published_checkpoints.ts";
import { SignedNoteError } from "./signed_note.ts";
import { Frontier } from "./tree.ts";
import type { TrustedKeys } from "./trusted_keys.ts";

export interface VerifyingPassOptions {
  readonly keys: TrustedKeys;
  /** Their sizes ascend. */
  readonly published?: AsyncIterator<ClaimedCheckpoint, undefined>;
  /** Of any size. */
  readonly expected: readonly ClaimedCheckpoint[];
}

/** Checkpoints of an empty log: one is published as it is made. */
const emptyOnesMax = 16;
/** Checkpoints within a file of the log: of one size there are three at most, when keys change. */
const aheadMax = 8 * fileRecordsMax;

export class VerifyingPass {
  readonly tree = new Frontier();
  readonly keys: TrustedKeys;
  firstTime: string | null = null;
  lastTime: string | null = null;
  publishedCount = 0;
  /** The largest size at which a checkpoint had the root hash of the tree. */
  soundSize = 0;
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
      this.publishedCount += 1;
      this.#ahead.push(this.#next);
      this.#next = undefined;
    }
    this.#nextSize = this.#smallestAhead();
  }

  /** Takes the record that the tree has just grown by. */
  take(record: LedgerRecord): void {
    this.firstTime ??= record.time;
    this.lastTime = record.time;
    try {
      this.keys.take(record);
    } catch (error) {
      if (!(error instanceof SignedNoteError || error instanceof z.ZodError)) throw error;
      throw new LedgerInvalidError(`entry ${record.seq} names what is no key`, record.seq, error);
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
      throw new LedgerInvalidError(state, size);
    }
    for (const claimed of this.#unknown) this.#checkKnown(claimed);
  }

  /** Verifier keys of those trusted ones that signed it. Throws when there is none. */
  signersOf(claimed: ClaimedCheckpoint): string[] {
    const { trusted } = this.#signersOf(claimed);
    if (trusted.length > 0) return trusted.map(({ text }) => text);
    const state = "is signed neither by a key that was given nor by one that such a key led to";
    throw new LedgerInvalidError(`${claimed.name} ${state}`);
  }

  #checkReached(): void {
    const { size } = this.tree;
    const reached = this.#ahead.filter(({ checkpoint }) => checkpoint.size === size);
    if (reached.length === 0) return;
    const rootHash = this.tree.rootHash();
    for (const claimed of reached) {
      // Before the first entry no key was named yet.
      const isEarly = size === 0 && this.#unknown.length < emptyOnesMax;
      if (isEarly) this.#unknown.push(claimed);
      else this.#checkKnown(claimed);
      if (claimed.checkpoint.rootHash !== rootHash) {
        throw new LedgerInvalidError(`${claimed.name}, of ${size} entries, has another root hash than these`);
      }
      if (this.#signersOf(claimed).trusted.length > 0) this.keys.believe(claimed.checkpoint);
    }
    this.soundSize = size;
    this.#ahead = this.#ahead.filter(({ checkpoint }) => checkpoint.size !== size);
    this.#nextSize = this.#smallestAhead();
  }

  /** Of a key of this ledger, trusted or not: the log may be older than the keys that were given. */
  #checkKnown(claimed: ClaimedCheckpoint): void {
    if (this.#signersOf(claimed).any.length > 0) return;
    throw new LedgerInvalidError(`${claimed.name} is signed by no key of this ledger`);
  }

  #signersOf({ name, note, checkpoint }: ClaimedCheckpoint) {
    try {
      return this.keys.signersOf(note, checkpoint.size);
    } catch (error) {
      if (!(error instanceof SignedNoteError)) throw error;
      throw new LedgerInvalidError(`${name} has a bad signature`, undefined, error);
    }
  }

  #smallestAhead(): number {
    return this.#ahead.reduce((size, { checkpoint }) => Math.min(size, checkpoint.size), Infinity);
  }
}
