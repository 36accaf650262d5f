/**
 * `airlock ledger show`: entries of a running kernel, as people read them or as they are stored.
 *
 * @module
 */
import { z } from "zod";
import { parseCommandLine, parseCount, UsageError } from "./command_line.ts";
import { EntryClient, type EntryFilter } from "./entry_client.ts";
import { formatEntryLine } from "./entry_line.ts";
import { followEntries } from "./follow_entries.ts";
import { accessFlags, readAccess } from "./kernel_access.ts";
import type { Output } from "./output.ts";

const flags = {
  ...accessFlags,
  after: "value",
  limit: "value",
  type: "values",
  plugin: "value",
  actor: "value",
  since: "value",
  until: "value",
  follow: "switch",
  json: "switch",
} as const;

const pauseMs = 500;
const typePattern = /^[a-z]+\.(?:[a-z]+|\*)$/;
const instant = z.iso.datetime({ offset: true });

type ShowLine = ReturnType<typeof parseCommandLine<typeof flags>>;

export interface ShowOptions {
  readonly output: Output;
  /** Of `AIRLOCK_TOKEN`. */
  readonly token: string | undefined;
}

/** Throws UsageError, UnreadableError. */
export async function showEntries(args: readonly string[], { output, token }: ShowOptions): Promise<number> {
  const line = parseCommandLine("ledger show", args, flags, 0);
  const limit = parseCount("limit", line.value("limit") ?? String(Number.MAX_SAFE_INTEGER), 1);
  const afterText = line.value("after");
  const after = afterText === undefined ? -1 : parseCount("after", afterText, 0);
  const filter = parseFilter(line);
  const client = new EntryClient({ ...await readAccess(line, token), filter, fetch });
  const isEndless = line.has("follow");
  // Whoever interrupts it before its end must not be told that this was all.
  using stop = listenForStop(isEndless ? ["SIGINT", "SIGTERM"] : [], output.closed);
  const entries = followEntries({
    client,
    after,
    isEndless,
    signal: stop.signal,
    report: (message) => output.warn(message),
    pause: () => pause(stop.signal),
  });
  let count = 0;
  for await (const entry of entries) {
    if (line.has("json")) await output.printRaw(entry.line);
    else await output.print(formatEntryLine(entry));
    count += 1;
    if (count === limit || stop.signal.aborted) break;
  }
  return 0;
}

function parseFilter(line: ShowLine): EntryFilter {
  for (const type of line.values("type")) {
    if (!typePattern.test(type)) {
      throw new UsageError(
        `Cannot use "${type}" for --type: it must be a type such as call.accepted, or call.*`,
      );
    }
  }
  for (const flag of ["since", "until"] as const) {
    const text = line.value(flag);
    if (text !== undefined && !instant.safeParse(text).success) {
      throw new UsageError(
        `Cannot use "${text}" for --${flag}: it must be a time such as 2026-11-20T10:00:00Z`,
      );
    }
  }
  const names = ["type", "plugin", "actor", "since", "until"] as const;
  return names.flatMap((name) => line.values(name).map((value) => [name, value] as const));
}

/** Ends with one of `signals`, and when nobody reads what is printed. */
function listenForStop(
  signals: readonly Deno.Signal[],
  closed: AbortSignal,
): { readonly signal: AbortSignal } & Disposable {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  for (const name of signals) Deno.addSignalListener(name, stop);
  return {
    signal: AbortSignal.any([stopping.signal, closed]),
    [Symbol.dispose]() {
      for (const name of signals) Deno.removeSignalListener(name, stop);
    },
  };
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, signal.aborted ? 0 : pauseMs);
    signal.addEventListener("abort", end);
  });
}
