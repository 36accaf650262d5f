/**
 * `airlock ledger`: the commands for those who read a ledger, and for those who check one.
 *
 * Exit codes: 0 as asked (and verified), 1 not verified, 2 wrong usage, 3 could not read.
 *
 * @module
 */
import { runCommandGroup } from "./command_group.ts";
import { createOutput, type Output } from "./output.ts";

export const ledgerHelp = `airlock ledger: what happened, and whether the log of it is whole

  airlock ledger verify DIR|BUNDLE --key VKEY [--key VKEY]... [--anchor CHECKPOINT] [--json]
      Checks a ledger offline: chain, tree, signed checkpoints.
      DIR         a data folder, or ledger/ in it; a running kernel is not disturbed
      BUNDLE      a file from GET /v1/ledger/export, or - for stdin
      VKEY        name+id+key, or a file of such, one a line; from somebody whom you believe
      CHECKPOINT  a signed note that you kept: a file, or the value of an Airlock-Checkpoint header

  airlock ledger keys [DIR] [--json]
      The keys that a ledger names, with the entries from which and until which they sign. DIR: ./data

  airlock ledger show [--follow] [--type T]... [--plugin P] [--actor A] [--since T] [--until T]
                      [--after N] [--limit N] [--json] [--url URL] [--token-file FILE]
      Entries of a running kernel; --json prints the stored lines.
      --type      call.accepted, or call.* for all that begin so; repeated, any of them
      --plugin    id, or id@version
      --actor     kernel, config, or token:<id>
      --since, --until   from then on, and before then: 2026-11-20T10:00:00Z
      --after     entries above that index        --limit   at most so many
      --follow    goes on, over restarts of the kernel, until Ctrl-C
      --url       http://127.0.0.1:8787           --token-file   ./data/admin.token
      AIRLOCK_TOKEN stands in for --token-file.

Exit codes: 0 verified (or done), 1 not verified, 2 wrong usage, 3 could not read.
What a log can show and what it cannot: docs/ledger.md
`;

export interface LedgerCommandOptions {
  /** Of `AIRLOCK_TOKEN`. */
  readonly token: string | undefined;
  readonly output?: Output;
}

/** Runs the command that `args` name, and gives its exit code. */
export async function runLedger(
  args: readonly string[],
  { token, output = createOutput() }: LedgerCommandOptions,
): Promise<number> {
  const group = {
    name: "ledger",
    help: ledgerHelp,
    // Each is loaded for itself: the one that reads over HTTP needs no verifier.
    commands: {
      verify: async (rest: readonly string[]) =>
        (await import("./verify_ledger.ts")).verifyLedger(rest, output),
      keys: async (rest: readonly string[]) => (await import("./show_keys.ts")).showKeys(rest, output),
      show: async (rest: readonly string[]) =>
        (await import("./show_entries.ts")).showEntries(rest, { output, token }),
    },
  };
  return await runCommandGroup(group, args, output);
}
