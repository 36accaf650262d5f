/**
 * A refusal count turns any number of refused credentials into one ledger entry a window.
 *
 * Whoever guesses tokens must not be able to fill the ledger. The first refusal opens a window; at its end one
 * `token.refused` entry says how many there were. An entry that could not be written (a full queue) is not lost:
 * its count goes into the next window. A kill loses the count of the window it falls into, and nothing else.
 *
 * @module
 */
import type { LedgerEventInput } from "../ledger/event.ts";

export interface RefusalCount {
  add(): void;
  /** Writes what was counted and not yet written. Throws where the ledger refuses it. */
  close(): Promise<void>;
}

export interface RefusalCountDeps {
  readonly ledger: { append(event: LedgerEventInput<"token.refused">): Promise<unknown> };
  readonly nowMs: () => number;
  readonly windowMs: number;
}

export function createRefusalCount({ ledger, nowMs, windowMs }: RefusalCountDeps): RefusalCount {
  let count = 0;
  let openedAtMs = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();

  function openWindow(): void {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      writing = write().catch(openWindow);
    }, windowMs);
  }

  async function write(): Promise<void> {
    if (count === 0) return;
    const [taken, takenSinceMs] = [count, openedAtMs];
    count = 0;
    const elapsedMs = Math.max(0, Math.round(nowMs() - takenSinceMs));
    try {
      await ledger.append({
        type: "token.refused",
        actor: "kernel",
        plugin: "",
        data: { count: taken, windowMs: elapsedMs },
      });
    } catch (error) {
      count += taken;
      openedAtMs = takenSinceMs;
      throw error;
    }
  }

  return {
    add() {
      if (count === 0) openedAtMs = nowMs();
      count++;
      openWindow();
    },
    async close() {
      await writing;
      clearTimeout(timer);
      timer = undefined;
      await write();
    },
  };
}
