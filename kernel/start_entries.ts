/**
 * The entries of the kernel's start and of its end.
 *
 * What a crash leaves: the entries of a start are written before what they tell of is forgotten, so the next
 * start tells of it again, or of what was left out.
 *
 * @module
 */
import { recoveredCallsMax } from "../schemas/ledger_event.ts";
import type { Config } from "../schemas/config.ts";
import { changedSettings } from "./config_changes.ts";
import type { Ledger, LedgerEventInput } from "./ledger/ledger.ts";
import type { EndedLife } from "./life_reader.ts";
import type { ConfigTable } from "./store/config_table.ts";
import { within } from "./within.ts";

export interface StartFacts {
  /** Of Airlock. */
  readonly version: string;
  readonly deno: string;
  readonly tier: "process" | "sealed";
  /** What the last life left to tell. */
  readonly before: EndedLife | undefined;
}

interface StartDeps {
  readonly ledger: Pick<Ledger, "append">;
  readonly table: ConfigTable;
}

const failedTimeoutMs = 1_000;
const fromKernel = { actor: "kernel", plugin: "" } as const;

/** Durable when it resolves. */
export async function recordStart(
  { ledger, table }: StartDeps,
  config: Config,
  { before, ...data }: StartFacts,
): Promise<void> {
  const text = JSON.stringify(config);
  const last = table.get();
  const keys = last === undefined ? [] : changedSettings(last, config);
  const events: LedgerEventInput[] = [
    ...(before === undefined ? [] : recoveredEvents(before)),
    { type: "kernel.started", ...fromKernel, data, commit: { config: text } },
  ];
  if (keys.length > 0) {
    events.push({ type: "config.changed", ...fromKernel, data: { keys }, commit: { config: text } });
  }
  await Promise.all(events.map((event) => ledger.append(event)));
  table.set(config);
}

function recoveredEvents({ started, calls, isComplete }: EndedLife): LedgerEventInput[] {
  const complete = isComplete ? "yes" : "no";
  const events: LedgerEventInput[] = [];
  for (let from = 0; from === 0 || from < calls.length; from += recoveredCallsMax) {
    const data = { started, calls: calls.slice(from, from + recoveredCallsMax), complete } as const;
    events.push({ type: "kernel.recovered", ...fromKernel, data });
  }
  return events;
}

export async function recordStop(
  ledger: Pick<Ledger, "append">,
  reason: "drained" | "failed",
): Promise<void> {
  await ledger.append({ type: "kernel.stopped", ...fromKernel, data: { reason } });
}

/**
 * The kernel gives up. Never rejects, and takes a second at most: where this cannot be written, the next start
 * tells.
 */
export async function recordFailure(ledger: Pick<Ledger, "append">): Promise<void> {
  try {
    await within(failedTimeoutMs, recordStop(ledger, "failed"));
  } catch {
    // The ledger is what failed, or it is closed.
  }
}
