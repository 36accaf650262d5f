/**
 * Many plugins for a bench: a plugins folder as an operator of a large installation has it, made by numbers.
 *
 * Each is another package, of a size that real ones have: a manifest with two actions, their schemas and the words
 * for people, a module of some KB, and in each third one a second file.
 *
 * @module
 */

/** Plugins whose calls are to find them asleep, again and again. */
export const sleeperIdleMs = 100;

const secondFileEvery = 3;
/** Of a module; the rest is what the plugin does. */
const paddingLines = 40;

export interface ManyPlugins {
  /** For `--plugins`. */
  readonly folder: string;
  readonly count: number;
  /** Ids of those that go to sleep soon; the last ones. */
  readonly sleepers: readonly string[];
  /** Ids of the others: they stay awake for longer than a bench takes. */
  readonly others: readonly string[];
}

/** Writes `count` plugins, of which the last `sleepersCount` go to sleep soon. */
export async function writeManyPlugins(
  folder: string,
  count: number,
  sleepersCount: number,
): Promise<ManyPlugins> {
  const numbers = Array.from({ length: count }, (_, number) => number);
  const ids = numbers.map((number) => `tool-${String(number).padStart(4, "0")}`);
  for (const [number, id] of ids.entries()) {
    const isSleeper = number >= count - sleepersCount;
    const hasSecondFile = number % secondFileEvery === 0;
    const plugin = `${folder}/${id}`;
    await Deno.mkdir(plugin, { recursive: true });
    await Deno.writeTextFile(`${plugin}/plugin.jsonc`, manifestText(id, isSleeper));
    await Deno.writeTextFile(`${plugin}/mod.ts`, moduleText(id, hasSecondFile));
    if (hasSecondFile) await Deno.writeTextFile(`${plugin}/words.ts`, wordsText(id));
  }
  const [others, sleepers] = [ids.slice(0, count - sleepersCount), ids.slice(count - sleepersCount)];
  return { folder, count, sleepers, others };
}

function manifestText(id: string, isSleeper: boolean): string {
  const text = { type: "string", maxLength: 10_000, description: "The text to work on, in any language." };
  const count = { type: "integer", minimum: 0, description: "How many were found." };
  return JSON.stringify(
    {
      id,
      version: "1.4.2",
      airlock: ">=0.1.0 <1.0.0",
      entrypoint: "mod.ts",
      name: `Tool ${id}`,
      description: `Counts the words of a text and lists the longest, by the rules of the customer ${id}.`,
      author: "A customer of the platform",
      license: "MIT",
      homepage: `https://example.com/plugins/${id}`,
      actions: {
        run: {
          description: "Counts the words of a text.",
          input: { type: "object", properties: { text }, required: ["text"], additionalProperties: false },
          output: { type: "object", properties: { words: count }, required: ["words"] },
          idempotent: true,
          timeoutMs: 10_000,
        },
        longest: {
          description: "Lists the longest words of a text, at most as many as asked for.",
          input: {
            type: "object",
            properties: { text, limit: { type: "integer", minimum: 1, maximum: 100, default: 10 } },
            required: ["text"],
            additionalProperties: false,
          },
          output: { type: "array", items: { type: "string" }, maxItems: 100 },
        },
      },
      limits: { memoryMb: 128, wallMs: 30_000 },
      ...(isSleeper ? { idleMs: sleeperIdleMs } : { idleMs: 3_600_000 }),
    },
    null,
    2,
  );
}

function moduleText(id: string, hasSecondFile: boolean): string {
  const split = hasSecondFile
    ? `import { split } from "./words.ts";\n`
    : `function split(text: string): string[] {\n  return text.split(/\\s+/u).filter((word) => word !== "");\n}\n`;
  return `/** The plugin ${id}. */
${split}
export const actions = {
  run({ text }: { text: string }) {
    return { words: split(text).length };
  },
  longest({ text, limit = 10 }: { text: string; limit?: number }) {
    return [...new Set(split(text))].sort((a, b) => b.length - a.length).slice(0, limit);
  },
};
${table(id, paddingLines)}`;
}

function wordsText(id: string): string {
  return `/** Words, as ${id} counts them. */
export function split(text: string): string[] {
  return text.split(/\\s+/u).filter((word) => word !== "");
}
${table(id, paddingLines / 2)}`;
}

/** Data of the kind that plugins carry with them. */
function table(id: string, lines: number): string {
  const rows = Array.from(
    { length: lines },
    (_, line) => `  ["${id}-${line}", "a rule of ${id} in line ${line}"],`,
  );
  return `\nexport const rules: readonly (readonly [string, string])[] = [\n${rows.join("\n")}\n];\n`;
}
