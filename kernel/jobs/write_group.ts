/**
 * The write group: changes of jobs that are committed together, in one transaction with one sync of the disk.
 *
 * What arrives in one turn of the event loop is one group, or several where it is much: each change is made whole, and
 * a group ends when its transaction is full. A change resolves when it is on disk. A change that
 * refuses (ProblemError) does so before it wrote anything, and is no obstacle to the others of its group; when
 * the disk refuses, no change of the group has happened, and the kernel ends: nothing says what the file holds.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { Transact } from "../store/database.ts";
import { LeaseLostError } from "./lease.ts";

export interface WriteGroupDeps {
  readonly transact: Transact;
  /** Runs `work` in the next turn of the event loop. */
  defer(work: () => void): void;
  /** Inside the transaction, after the changes: what follows from them. */
  conclude(): void;
  /** The group is on disk. */
  committed(): void;
  fatal(error: Error): void;
  /** Callers' changes that may wait. */
  readonly changesMax: number;
  /** The transaction has done as much as one should: the other changes wait for the next. */
  isFull(): boolean;
}

interface Change {
  work(): unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Changes in one group. */
const groupMax = 1_000;

export class WriteGroup {
  #changes: Change[] = [];
  #isDeferred = false;
  #hasFailed = false;
  #isClosed = false;

  constructor(private readonly deps: WriteGroupDeps) {}

  /**
   * Resolves with what `work` returns when that is on disk. Rejects as `work` throws, and with QUEUE_FULL where too
   * many wait. `isOwed`: it is no caller's wish but the outcome of what was done, and waits however many there are.
   */
  run<T>(work: () => T, { isOwed = false }: { isOwed?: boolean } = {}): Promise<T> {
    if (this.#isClosed) {
      return Promise.reject(stopping());
    }
    const isFull = !isOwed && this.#changes.length >= this.deps.changesMax;
    if (this.#hasFailed || isFull) {
      const state = this.#hasFailed
        ? "the jobs' file cannot be written"
        : "too many changes wait for the disk";
      const code = this.#hasFailed ? "INTERNAL" : "QUEUE_FULL";
      return Promise.reject(new ProblemError(code, `Cannot change jobs: ${state}`, { retryAfterMs: 1_000 }));
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#changes.push({ work, resolve: resolve as (value: unknown) => void, reject });
    this.poke();
    return promise;
  }

  /** Has a group committed soon, be it only for what `conclude` finds. */
  poke(): void {
    if (this.#isDeferred || this.#hasFailed || this.#isClosed) return;
    this.#isDeferred = true;
    this.deps.defer(() => this.#commit());
  }

  /**
   * Commits what waits; nothing after that, for the file is about to be closed: what comes meanwhile is refused with
   * NOT_READY. Never rejects: of a failure `fatal` was told, and those whose changes it took.
   */
  async close(): Promise<void> {
    try {
      await this.run(() => {}, { isOwed: true });
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
    }
    this.#isClosed = true;
    for (const { reject } of this.#changes.splice(0)) reject(stopping());
  }

  #commit(): void {
    this.#isDeferred = false;
    if (this.#hasFailed || this.#isClosed) return;
    const group = this.#changes.slice(0, groupMax);
    const outcomes: (() => void)[] = [];
    try {
      this.deps.transact(() => {
        for (const change of group) {
          if (outcomes.length > 0 && this.deps.isFull()) break;
          outcomes.push(outcomeOf(change));
        }
        this.deps.conclude();
      });
      this.#changes.splice(0, outcomes.length);
      this.deps.committed();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)), group);
      return;
    }
    if (this.#changes.length > 0) this.poke();
    for (const tell of outcomes) tell();
  }

  /** `group`: those that may be made, and have not happened. */
  #fail(cause: Error, group: readonly Change[]): void {
    this.#hasFailed = true;
    this.deps.fatal(cause);
    const refusal = new ProblemError("INTERNAL", "Cannot change jobs: their file cannot be written", {
      cause,
    });
    for (const { reject } of [...group, ...this.#changes.splice(0)]) reject(refusal);
  }
}

function stopping(): ProblemError {
  return new ProblemError("NOT_READY", "Cannot change jobs: Airlock is stopping");
}

/** Makes a change; what comes of it is told after the commit. Throws what must undo the whole group. */
function outcomeOf({ work, resolve, reject }: Change): () => void {
  try {
    const value = work();
    return () => resolve(value);
  } catch (error) {
    if (error instanceof ProblemError || error instanceof LeaseLostError) return () => reject(error);
    throw error;
  }
}
