/**
 * A refusal budget bounds what one caller can make the ledger write by asking for what it is refused.
 *
 * A refusal of a known caller is an entry of its own, with its request, and a caller who asks in a loop would fill
 * the disk with them and push the openings of others out of the store. So of each actor the first `refusalsMax` in
 * a window are written one by one; those after them are counted, and at the window's end one `refusal.counted`
 * entry for that actor says how many they were.
 *
 * A count that could not be written (a full queue) is not lost: it goes into the next window. A kill loses
 * the counts of the window it falls into, and nothing else.
 *
 * Invariant: at most `actorsMax` actors are told apart in a window. Those beyond have no entries of their own, they
 * are counted together, for the actor `kernel`.
 *
 * @module
 */
import type { LedgerEventInput } from "../ledger/event.ts";

export type RefusalCounted = LedgerEventInput<"refusal.counted">;

export interface RefusalBudget {
  /** Spends one refusal of `actor`. True: write its own entry. False: it was counted. */
  take(actor: string): boolean;
  /** Writes what was counted and not yet written; nothing may be taken after it. Throws where the ledger refuses it. */
  close(): Promise<void>;
}

export interface RefusalBudgetDeps {
  readonly ledger: { append(event: RefusalCounted): Promise<unknown> };
  readonly nowMs: () => number;
  readonly windowMs: number;
  /** Of one actor in one window, each with its own entry. */
  readonly refusalsMax: number;
  readonly actorsMax: number;
}

interface Spent {
  written: number;
  counted: number;
  countedSinceMs: number;
}

const otherActors = "kernel";
const targetBytesMax = 256;

/** What the entry of a refusal commits to: the caller chose its length as well, and its bytes are kept. */
export function clipTarget(target: string): Uint8Array {
  const bytes = new Uint8Array(targetBytesMax);
  return bytes.subarray(0, new TextEncoder().encodeInto(target, bytes).written);
}

export function createRefusalBudget(deps: RefusalBudgetDeps): RefusalBudget {
  const { ledger, nowMs, windowMs, refusalsMax, actorsMax } = deps;
  let actors = new Map<string, Spent>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();

  function openWindow(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      // What the ledger refuses has been put into the next window.
      writing = writing.then(write).catch(() => undefined);
    }, windowMs);
  }

  function spentBy(actor: string): Spent {
    let spent = actors.get(actor);
    if (spent === undefined) actors.set(actor, spent = { written: 0, counted: 0, countedSinceMs: 0 });
    return spent;
  }

  function count(actor: string, refusals: number, sinceMs: number): void {
    const spent = spentBy(actor);
    if (spent.counted === 0 || sinceMs < spent.countedSinceMs) spent.countedSinceMs = sinceMs;
    spent.counted += refusals;
    openWindow();
  }

  /** One at a time: the queue of the ledger is there for acts. */
  async function write(): Promise<void> {
    const ended = actors;
    actors = new Map();
    const failures: unknown[] = [];
    for (const [actor, { counted, countedSinceMs }] of ended) {
      if (counted === 0) continue;
      const data = { count: counted, windowMs: Math.max(0, Math.round(nowMs() - countedSinceMs)) };
      try {
        await ledger.append({ type: "refusal.counted", actor, plugin: "", data });
      } catch (error) {
        count(actor, counted, countedSinceMs);
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  return {
    take(actor) {
      openWindow();
      const isTold = actors.has(actor) || actors.size < actorsMax;
      if (isTold && spentBy(actor).written < refusalsMax) {
        spentBy(actor).written += 1;
        return true;
      }
      count(isTold ? actor : otherActors, 1, nowMs());
      return false;
    },
    async close() {
      await writing;
      clearTimeout(timer);
      timer = undefined;
      try {
        await write();
      } finally {
        // What was refused once more would open a window that nobody waits for.
        clearTimeout(timer);
      }
    },
  };
}
