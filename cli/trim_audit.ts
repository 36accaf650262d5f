/**
 * `airlock audit trim`: the smallest grants that cover what a plugin really used, as a proposal.
 *
 * @module
 */
import { AuditClient, parsePluginId, type PluginAudit, unauditedState } from "./audit_client.ts";
import { parseCommandLine } from "./command_line.ts";
import { accessFlags, readAccess } from "./kernel_access.ts";
import type { AuditOptions } from "./show_audit.ts";
import { formatTable } from "./text_table.ts";
import { UnreadableError } from "./unreadable_error.ts";
import { type GrantChange, trimGrants, type TrimmedGrants } from "./trim_grants.ts";

const flags = { ...accessFlags, json: "switch" } as const;

/** Throws UsageError, UnreadableError. */
export async function trimAudit(args: readonly string[], { output, token }: AuditOptions): Promise<number> {
  const line = parseCommandLine("audit trim", args, flags, 1);
  const id = parsePluginId("audit trim", line.words);
  const client = new AuditClient({ ...await readAccess(line, token), fetch }, id, output.closed);
  const { operator, granted } = await client.grants();
  const audit = await client.audit();
  // A proposal that rests on nothing would drop everything.
  if (!audit.isAudited) {
    throw new UnreadableError(`Cannot propose grants of plugin "${id}": ${unauditedState}`);
  }
  const trimmed = trimGrants(operator, audit.items, granted);
  if (line.has("json")) {
    for (const warning of warningsOf(audit)) await output.warn(`Plugin "${id}": ${warning}`);
    await output.printRaw(JSON.stringify(trimmed.grants));
    return 0;
  }
  await output.print(...describe(id, audit, trimmed));
  return 0;
}

/** Why the proposal may lack something. */
export function warningsOf({ items }: PluginAudit): string[] {
  return items.some(({ outcome }) => outcome === "granted")
    ? []
    : ["It has used nothing so far, so this rests on nothing: have the plugin do its work first."];
}

/** Lines for people. */
export function describe(id: string, audit: PluginAudit, { grants, changes }: TrimmedGrants): string[] {
  if (changes.length === 0) {
    return [`Plugin "${id}" has no grants of its operator's: there is nothing to trim.`];
  }
  const used = audit.items.filter(({ outcome }) => outcome === "granted");
  const checks = used.reduce((sum, { count }) => sum + count, 0);
  const since = used.reduce((first, { firstAt }) => first < firstAt ? first : firstAt, "9999");
  const isSame = changes.every(({ scope, to }) => to.length === 1 && to[0] === scope);
  return [
    `Plugin "${id}": ${used.length} resources used in ${checks} checks${
      used.length > 0 ? ` since ${since}` : ""
    }`,
    ...warningsOf(audit),
    "",
    ...formatTable(changes.map(rowOf)),
    "",
    ...(isSame ? ["Nothing to trim: every grant is used, or its use is not told."] : [
      "A path must be there, and be no link, to be granted: where it is not, name its folder.",
      `For "grants": { "${id}": … } in airlock.jsonc, or PUT /v1/plugins/${id}/grants:`,
      JSON.stringify(grants),
    ]),
  ];
}

function rowOf({ permission, scope, to, note }: GrantChange): string[] {
  const isKept = to.length === 1 && to[0] === scope;
  const change = isKept ? "keep" : to.length === 0 ? "drop" : "narrow";
  return [change, permission, scope, isKept || to.length === 0 ? note : `to ${to.join(", ")}`];
}
