/**
 * `airlock audit`: the commands for those who ask what a plugin touches, and what it needs.
 *
 * Exit codes: 0 as asked, 2 wrong usage, 3 could not read.
 *
 * @module
 */
import { runCommandGroup } from "./command_group.ts";
import { createOutput, type Output } from "./output.ts";

export const auditHelp = `airlock audit: what a plugin's code touched, and the grants that it needs for that

  airlock audit show ID [--outcome granted|refused] [--json] [--url URL] [--token-file FILE]
      Each resource that the plugin asked Deno for, once, with what came of it and how often.

  airlock audit trim ID [--json] [--url URL] [--token-file FILE]
      The smallest of its operator's grants that cover what it really used; changes nothing.
      --json        the proposal alone, as "grants" in airlock.jsonc and the API take it

      --url         http://127.0.0.1:8787           --token-file   ./data/admin.token
      AIRLOCK_TOKEN stands in for --token-file.

Exit codes: 0 done, 2 wrong usage, 3 could not read.
`;

export interface AuditCommandOptions {
  /** Of `AIRLOCK_TOKEN`. */
  readonly token: string | undefined;
  readonly output?: Output;
}

/** Runs the command that `args` name, and gives its exit code. */
export async function runAudit(
  args: readonly string[],
  { token, output = createOutput() }: AuditCommandOptions,
): Promise<number> {
  const options = { output, token };
  const group = {
    name: "audit",
    help: auditHelp,
    commands: {
      show: async (rest: readonly string[]) => (await import("./show_audit.ts")).showAudit(rest, options),
      trim: async (rest: readonly string[]) => (await import("./trim_audit.ts")).trimAudit(rest, options),
    },
  };
  return await runCommandGroup(group, args, output);
}
