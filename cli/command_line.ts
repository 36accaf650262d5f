/**
 * A command line is what stands after a command's name: its flags, and the words beside them.
 *
 * It is strict: a flag that the command has not is an error that names the ones it has, because a filter or a key
 * that was passed over in silence would answer another question than the one that was asked.
 *
 * Pure.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { nearestName } from "../schemas/nearest_name.ts";

/** The command cannot be run as it was given. Exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Of each flag without its dashes: a switch, a value, or a value that may be given again. */
export type Flags = Readonly<Record<string, "switch" | "value" | "values">>;

export interface CommandLine<F extends Flags> {
  readonly words: readonly string[];
  has(flag: keyof F): boolean;
  value(flag: keyof F): string | undefined;
  values(flag: keyof F): readonly string[];
}

/** Throws {@linkcode UsageError}. `command` stands in its message. */
export function parseCommandLine<F extends Flags>(
  command: string,
  args: readonly string[],
  flags: F,
  wordsMax: number,
): CommandLine<F> {
  const fail = (state: string) => new UsageError(`Cannot run "${command}": ${state}`);
  const options = Object.fromEntries(
    Object.entries(flags).map((
      [name, kind],
    ) => [name, { type: kind === "switch" ? "boolean" as const : "string" as const }]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const found = new Map<string, string[]>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const kind = Object.hasOwn(flags, name) && rawName.startsWith("--") ? flags[name] : undefined;
    if (kind === undefined) throw fail(explainUnknown(rawName, Object.keys(flags)));
    if (kind === "switch" && value !== undefined) throw fail(`${rawName} takes no value`);
    if (kind !== "switch" && (value === undefined || value === "" || !inlineValue && /^-./.test(value))) {
      throw fail(`${rawName} needs a value`);
    }
    const before = found.get(name) ?? [];
    if (kind !== "values" && before.length > 0) throw fail(`${rawName} is given twice`);
    found.set(name, [...before, value ?? ""]);
  }
  if (words.length > wordsMax) throw fail(`"${words[wordsMax]}" is one word too many`);
  const values = (flag: keyof F) => found.get(String(flag)) ?? [];
  return { words, has: (flag) => values(flag).length > 0, value: (flag) => values(flag)[0], values };
}

function explainUnknown(rawName: string, names: readonly string[]): string {
  const nearest = nearestName(rawName.replace(/^-+/, ""), names);
  const guess = nearest === undefined ? "" : `, did you mean --${nearest}?`;
  const all = names.map((name) => `--${name}`).join(", ");
  return `there is no flag ${rawName}${guess} (its flags: ${all})`;
}

/** Throws {@linkcode UsageError} unless `text` is a whole number of `least` or more. */
export function parseCount(flag: string, text: string, least: number): number {
  const count = Number(text);
  if (/^(?:0|[1-9]\d{0,15})$/.test(text) && Number.isSafeInteger(count) && count >= least) return count;
  throw new UsageError(`Cannot use "${text}" for --${flag}: it must be a whole number, ${least} or more`);
}
