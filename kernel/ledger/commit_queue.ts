/**
 * Group commit: while one batch is being written, what arrives waits and becomes the next batch.
 *
 * There is no timer and no fixed batch size: under load a sync is shared by all that arrived during the one
 * before it, and a lone item waits for nothing but the turn of the event loop it came in.
 *
 * States: **open** takes items; **closed** refuses new ones and still writes those that wait; **failed**
 * refuses all. An error of a commit leads to failed, for good: what is on disk is then unknown. Items are
 * committed in the order in which they were pushed.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { ProblemError } from "../../schemas/problem.ts";

type QueueState = "open" | "closed" | "failed";

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export interface CommitQueueOptions<Item, Result> {
  /** Stands in messages. */
  readonly name: string;
  readonly waitingMax: number;
  /** How many items the next batch may hold. */
  batchMax(): number;
  /** Makes a batch durable; one result for each item. */
  commit(batch: readonly Item[]): Promise<readonly Result[]>;
  /** Work that no caller waits for: called after each batch was acknowledged, and ended before the next one. */
  acknowledged?(): Promise<void>;
  /** A commit failed. Called once, before the items are rejected. */
  failed(error: unknown): void;
}

export class CommitQueue<Item, Result> {
  readonly #options: CommitQueueOptions<Item, Result>;
  readonly #waiting: Waiting<Item, Result>[] = [];
  #state: QueueState = "open";
  #failure: unknown;
  /** Set while batches are being written. */
  #writing: Promise<void> | undefined;

  constructor(options: CommitQueueOptions<Item, Result>) {
    this.#options = options;
  }

  get state(): QueueState {
    return this.#state;
  }

  /** Resolves when `item` is durable. Throws or rejects with ProblemError, QUEUE_FULL among others. */
  push(item: Item): Promise<Result> {
    const { name, waitingMax } = this.#options;
    this.checkOpen();
    if (this.#waiting.length >= waitingMax) {
      throw new ProblemError(
        "QUEUE_FULL",
        `Cannot append to ledger "${name}": ${waitingMax} records wait for the disk`,
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  /** Throws ProblemError unless items are taken. */
  checkOpen(): void {
    if (this.#state !== "open") throw this.#refusal();
  }

  /** Refuses new items; resolves when those that wait are durable or rejected. */
  async close(): Promise<void> {
    if (this.#state === "open") this.#state = "closed";
    await this.#writing;
  }

  /** Refuses new items and rejects those that wait. A batch under way still ends one way or the other. */
  fail(error: unknown): void {
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#failure = error;
    this.#options.failed(error);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#refusal());
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Those that the last batch woke, or that came with this one, take their turn first and join the batch.
      await new Promise<void>((resolve) => setImmediate(resolve));
      await this.#writeBatch(this.#waiting.splice(0, this.#options.batchMax()));
    }
    this.#writing = undefined;
  }

  async #writeBatch(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      const results = await this.#options.commit(batch.map(({ item }) => item));
      batch.forEach(({ resolve }, position) => resolve(results[position]));
    } catch (error) {
      this.fail(error);
      for (const { reject } of batch) reject(this.#refusal());
      return;
    }
    try {
      await this.#options.acknowledged?.();
    } catch (error) {
      this.fail(error);
    }
  }

  #refusal(): ProblemError {
    const { name } = this.#options;
    if (this.#state === "failed") {
      const cause = this.#failure;
      return new ProblemError("INTERNAL", `Cannot append to ledger "${name}": it has failed, see the log`, {
        cause,
      });
    }
    return new ProblemError("NOT_READY", `Cannot append to ledger "${name}": it is closed`);
  }
}
