/**
 * `airlock audit show`: a plugin's audit, as a table or as JSON.
 *
 * @module
 */
import { type AuditItem, type AuditOutcome, auditOutcomes } from "../schemas/audit.ts";
import { AuditClient, parsePluginId, unauditedState } from "./audit_client.ts";
import { parseCommandLine, UsageError } from "./command_line.ts";
import { accessFlags, readAccess } from "./kernel_access.ts";
import type { Output } from "./output.ts";
import { formatTable } from "./text_table.ts";

const flags = { ...accessFlags, outcome: "value", json: "switch" } as const;

export interface AuditOptions {
  readonly output: Output;
  /** Of `AIRLOCK_TOKEN`. */
  readonly token: string | undefined;
}

/** Throws UsageError, UnreadableError. */
export async function showAudit(args: readonly string[], { output, token }: AuditOptions): Promise<number> {
  const line = parseCommandLine("audit show", args, flags, 1);
  const id = parsePluginId("audit show", line.words);
  const outcome = parseOutcome(line.value("outcome"));
  const client = new AuditClient({ ...await readAccess(line, token), fetch }, id, output.closed);
  const { items, untold, isAudited } = await client.audit(outcome);
  if (line.has("json")) {
    await output.printRaw(JSON.stringify({ items, untold, isAudited }));
    return 0;
  }
  if (!isAudited) await output.print(`Not known what plugin "${id}" asks for: ${unauditedState}`);
  if (items.length === 0) {
    if (isAudited) await output.print(`Plugin "${id}" has asked Deno for nothing${ofOutcome(outcome)}`);
  } else await output.print(...formatTable([heading, ...items.map(rowOf)]));
  if (untold > 0) await output.print(`and ${untold} refused checks of resources that are not told apart`);
  return 0;
}

const heading = ["OUTCOME", "PERMISSION", "CHECKS", "FIRST", "LAST", "RESOURCE"];

function rowOf({ outcome, permission, count, firstAt, lastAt, resource }: AuditItem): string[] {
  return [outcome, permission, String(count), firstAt, lastAt, resource ?? "(all there are)"];
}

function ofOutcome(outcome: AuditOutcome | undefined): string {
  return outcome === undefined ? "" : ` that was ${outcome}`;
}

function parseOutcome(text: string | undefined): AuditOutcome | undefined {
  const outcome = auditOutcomes.find((name) => name === text);
  if (text === undefined || outcome !== undefined) return outcome;
  throw new UsageError(`Cannot use "${text}" for --outcome: it must be ${auditOutcomes.join(" or ")}`);
}
