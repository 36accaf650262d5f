/**
 * A command group is commands under one word, such as `airlock ledger`, with one help and one set of exit codes.
 *
 * @module
 */
import { UsageError } from "./command_line.ts";
import type { Output } from "./output.ts";
import { UnreadableError } from "./unreadable_error.ts";

export interface CommandGroup {
  /** The word. */
  readonly name: string;
  readonly help: string;
  /** By name; each is loaded for itself. Gives the exit code; throws UsageError, UnreadableError. */
  readonly commands: Readonly<Record<string, (args: readonly string[]) => Promise<number>>>;
}

/** Runs the command that `args` name, and gives its exit code: 2 for wrong usage, 3 where it could not read. */
export async function runCommandGroup(
  { name, help, commands }: CommandGroup,
  [command, ...args]: readonly string[],
  output: Output,
): Promise<number> {
  const isAsking = [command, ...args].some((word) => word === "--help" || word === "-h");
  if (command === undefined || command === "help" || isAsking) {
    await output.print(...help.trimEnd().split("\n"));
    return 0;
  }
  try {
    const run = Object.hasOwn(commands, command) ? commands[command] : undefined;
    if (run !== undefined) return await run(args);
    const names = Object.keys(commands).join(", ").replace(/, ([^,]*)$/, " and $1");
    throw new UsageError(`Cannot run "${name} ${command}": the commands are ${names}`);
  } catch (error) {
    if (error instanceof UsageError) {
      await output.warn(error.message, `airlock ${name} --help says how.`);
      return 2;
    }
    if (!(error instanceof UnreadableError)) throw error;
    await output.warn(error.message);
    return 3;
  }
}
