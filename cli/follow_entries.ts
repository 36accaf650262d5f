/**
 * Following entries: all that a kernel's ledger has, and then what comes, each once and in order.
 *
 * The place in the log is the reader's own, so a kernel that dies and comes back changes nothing but the time it
 * takes: the same page is asked for again. A log that has become shorter is an error. Only the first answer must come at once, because a kernel that was
 * never there is a mistake in the address.
 *
 * @module
 */
import type { LedgerEntry } from "../schemas/api.ts";
import type { EntryClient } from "./entry_client.ts";
import { KernelAwayError } from "./kernel_client.ts";
import { UnreadableError } from "./unreadable_error.ts";

export interface FollowOptions {
  readonly client: Pick<EntryClient, "size" | "page">;
  /** Index of the last entry that is not wanted; -1 for none. */
  readonly after: number;
  /** Go on at the end of the log. */
  readonly isEndless: boolean;
  readonly signal: AbortSignal;
  /** The kernel went away, or is back. */
  report(message: string): Promise<void>;
  /** Resolves after a moment, or at once when `signal` is aborted. */
  pause(): Promise<void>;
}

const pageLimit = 250;

export async function* followEntries(options: FollowOptions): AsyncGenerator<LedgerEntry> {
  const { client, isEndless, signal } = options;
  let { after } = options;
  const ask = createAsker(options);
  let sizeSeen = 0;
  for (;;) {
    const size = await ask(() => client.size(signal));
    if (size === undefined) return;
    if (size < sizeSeen) {
      const state = `it has ${size} entries, and had ${sizeSeen} before; verify its folder against an anchor`;
      throw new UnreadableError(`Cannot follow the ledger: ${state}`);
    }
    sizeSeen = size;
    // To a fixed end: a log may grow faster than its reader prints.
    while (after + 1 < size) {
      const page = await ask(() => client.page(after, pageLimit, signal));
      if (page === undefined) return;
      yield* page.items;
      // A filter leaves entries out, and those up to the end that was known before were all looked at.
      after = page.next ?? Math.max(size - 1, page.items.at(-1)?.index ?? -1);
    }
    if (!isEndless) return;
    await options.pause();
    if (signal.aborted) return;
  }
}

/** Asks, and asks again while the kernel is away; undefined once `signal` is aborted. */
function createAsker({ isEndless, signal, report, pause }: FollowOptions) {
  let state: "unknown" | "there" | "away" = "unknown";
  return async <T>(question: () => Promise<T>): Promise<T | undefined> => {
    while (!signal.aborted) {
      try {
        const answer = await question();
        if (state === "away") await report("The kernel is back");
        state = "there";
        return answer;
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!isEndless || state === "unknown" || !(error instanceof KernelAwayError)) throw error;
        if (state !== "away") await report(`${error.message} (trying again)`);
        state = "away";
      }
      await pause();
    }
    return undefined;
  };
}
