/**
 * A shared transaction: writes that are asked for in one turn of the event loop are committed together, with one
 * sync of the disk. What a start of the kernel writes for each of a thousand plugins takes as many syncs otherwise,
 * and nothing else happens while one lasts.
 *
 * It is for writes that cannot be refused: where one fails none of its transaction has happened, and all are told.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Transact } from "./database.ts";

export interface SharedTransaction {
  /** Resolves when what `write` wrote is on disk. `write` runs in a later turn, in the order of the calls. */
  together(write: () => void): Promise<void>;
}

interface Waiting {
  readonly write: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export function createSharedTransaction(transact: Transact): SharedTransaction {
  let waiting: Waiting[] = [];

  function commit(): void {
    const group = waiting;
    waiting = [];
    try {
      transact(() => {
        for (const { write } of group) write();
      });
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    for (const { resolve } of group) resolve();
  }

  return {
    together: (write) =>
      new Promise((resolve, reject) => {
        if (waiting.push({ write, resolve, reject }) === 1) setImmediate(commit);
      }),
  };
}
