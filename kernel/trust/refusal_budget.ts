/**
 * A refusal budget bounds what one actor can make the ledger write by asking for what it is refused: a caller of
 * the API, or a plugin whose code asks Deno.
 *
 * A refusal of a known actor is an entry of its own, with what was asked for, and who asks in a loop would fill
 * the disk with them and push the openings of others out of the store. So of each actor the first `refusalsMax` in
 * a window are written one by one; those after them are counted, and at the window's end one entry for that actor
 * says how many they were.
 *
 * A count that could not be written (a full queue) is not lost: it goes into the next window. A kill loses
 * the counts of the window it falls into, and nothing else.
 *
 * Invariant: at most `actorsMax` actors are told apart in a window. Those beyond have no entries of their own, they
 * are counted together, for the actor `kernel`.
 *
 * @module
 */

export interface RefusalBudget {
  /** Spends one entry of `actor`, for `refusals` of it, one if left out. True: write it. False: they were counted. */
  take(actor: string, refusals?: number): boolean;
  /** Counts refusals that get no entry of their own whatever is left. */
  count(actor: string, refusals: number): void;
  /** Writes what was counted and not yet written; nothing may be taken after it. Throws where the ledger refuses it. */
  close(): Promise<void>;
}

export interface RefusalBudgetDeps {
  /** Writes the entry of what was counted. Rejects where the ledger refuses it. */
  tell(actor: string, counted: { readonly count: number; readonly windowMs: number }): Promise<unknown>;
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

/** The actor of those who are not told apart. */
export const otherActors = "kernel";
const targetBytesMax = 256;

/** What the entry of a refusal commits to: the caller chose its length as well, and its bytes are kept. */
export function clipTarget(target: string): Uint8Array {
  const bytes = new Uint8Array(targetBytesMax);
  return bytes.subarray(0, new TextEncoder().encodeInto(target, bytes).written);
}

export function createRefusalBudget(deps: RefusalBudgetDeps): RefusalBudget {
  const { nowMs, windowMs, refusalsMax, actorsMax } = deps;
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

  const isTold = (actor: string) => actors.has(actor) || actors.size < actorsMax;
  function count(actor: string, refusals: number, sinceMs = nowMs()): void {
    const spent = spentBy(isTold(actor) ? actor : otherActors);
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
        await deps.tell(actor, data);
      } catch (error) {
        count(actor, counted, countedSinceMs);
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  return {
    take(actor, refusals = 1) {
      openWindow();
      if (isTold(actor) && spentBy(actor).written < refusalsMax) {
        spentBy(actor).written += 1;
        return true;
      }
      count(actor, refusals);
      return false;
    },
    count: (actor, refusals) => count(actor, refusals),
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
