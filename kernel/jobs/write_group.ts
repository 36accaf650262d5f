/**
 * The write group: changes of jobs that are committed together, in one transaction with one sync of the disk.
 *
 * What arrives in one turn of the event loop is one group. A change resolves when it is on disk. A change that
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
  /** Changes that may wait for one commit. */
  readonly changesMax: number;
}

interface Change {
  work(): unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export class WriteGroup {
  #changes: Change[] = [];
  #isDeferred = false;
  #hasFailed = false;
  #isClosed = false;

  constructor(private readonly deps: WriteGroupDeps) {}

  /** Resolves with what `work` returns when that is on disk. Rejects as `work` throws. */
  run<T>(work: () => T): Promise<T> {
    if (this.#isClosed) {
      return Promise.reject(new ProblemError("NOT_READY", "Cannot change jobs: Airlock is stopping"));
    }
    if (this.#hasFailed || this.#changes.length >= this.deps.changesMax) {
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

  /** Commits what waits; nothing after that, for the file is about to be closed. */
  async close(): Promise<void> {
    await this.run(() => {});
    this.#isClosed = true;
  }

  #commit(): void {
    this.#isDeferred = false;
    if (this.#hasFailed || this.#isClosed) return;
    const changes = this.#changes;
    this.#changes = [];
    let outcomes: (() => void)[];
    try {
      outcomes = this.deps.transact(() => {
        const made = changes.map(outcomeOf);
        this.deps.conclude();
        return made;
      });
      this.deps.committed();
    } catch (error) {
      this.#hasFailed = true;
      const cause = error instanceof Error ? error : new Error(String(error));
      this.deps.fatal(cause);
      const refusal = new ProblemError("INTERNAL", "Cannot change jobs: their file cannot be written", {
        cause,
      });
      for (const { reject } of [...changes, ...this.#changes.splice(0)]) reject(refusal);
      return;
    }
    for (const tell of outcomes) tell();
  }
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
