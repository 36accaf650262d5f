/**
 * The life reader finds in the ledger how the last life of the kernel ended, and which calls it left without an outcome.
 *
 * It is given the records that are read when the ledger opens: all of them, or the last ones. A crash between the
 * entries that tell of it (`kernel.recovered`) leaves the rest to the next start. Pure of I/O.
 *
 * @module
 */
import type { LedgerRecord } from "../schemas/ledger_event.ts";

/** A life of the kernel that left something to tell. */
export interface EndedLife {
  /** Index of its `kernel.started`; -1 when that is not among the records. */
  readonly started: number;
  /** Indexes of the calls that were accepted and have no outcome, ascending. */
  readonly calls: readonly number[];
  /** The records reach back to `started`. */
  readonly isComplete: boolean;
}

/** More calls than this are not kept: the life is then told of as one that was not read whole. */
const callsMax = 100_000;

type Taken = Pick<LedgerRecord, "seq" | "type" | "data">;

export class LifeReader {
  #started = -1;
  #isOpen: boolean | undefined;
  #isComplete = false;
  readonly #calls = new Set<number>();

  constructor(private readonly limit = callsMax) {}

  /** Takes the next record. */
  take({ seq, type, data }: Taken): void {
    if (this.#isOpen === undefined) {
      // Records that begin in the middle of a log begin in the middle of a life.
      this.#isOpen = seq > 0;
      this.#isComplete = seq === 0;
    }
    switch (type) {
      case "kernel.started":
        return this.#begin(seq);
      case "kernel.stopped":
        this.#isOpen = false;
        return;
      case "kernel.recovered":
        return this.#told(data["calls"]);
      case "call.accepted":
        if (this.#calls.size < this.limit) this.#calls.add(seq);
        else this.#isComplete = false;
        return;
      case "call.completed":
      case "call.failed":
        if (typeof data["accepted"] === "number") this.#calls.delete(data["accepted"]);
    }
  }

  /** What there is to tell of the last life; undefined when it ended as it should, or when there was none. */
  ended(): EndedLife | undefined {
    if (this.#isOpen !== true && this.#calls.size === 0) return undefined;
    return { started: this.#started, calls: [...this.#calls], isComplete: this.#isComplete };
  }

  #begin(seq: number): void {
    this.#started = seq;
    this.#isOpen = true;
    this.#isComplete = true;
    this.#calls.clear();
  }

  #told(calls: unknown): void {
    for (const call of Array.isArray(calls) ? calls : []) this.#calls.delete(call);
    if (this.#calls.size === 0) this.#isOpen = false;
  }
}
