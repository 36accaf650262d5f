/**
 * What the containment tests share: the probe plugin under several grants, and rows of attempts.
 *
 * @module
 */
import { equal } from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { type Airlock, manifest } from "../support/airlock.ts";
import { actions as probeActions, type Outcome } from "./probe/mod.ts";

export type ProbeAction = keyof typeof probeActions;

/** The text of a plugin's module beside this file. */
export function pluginSource(name: string): string {
  return Deno.readTextFileSync(new URL(`${name}/mod.ts`, import.meta.url));
}

/** The probe as a package of its own. */
export function probePackage(id: string, more: Record<string, unknown> = {}): Record<string, string> {
  const actions = Object.fromEntries(Object.keys(probeActions).map((name) => [name, { timeoutMs: 10_000 }]));
  return { "plugin.jsonc": manifest(id, { actions, ...more }), "mod.ts": pluginSource("probe") };
}

/** One attempt, and what must come of it: the name of an error, or the value. */
export type Row = readonly [action: ProbeAction, input: Record<string, string>, expected: unknown];

/** Lets a plugin try each row; all that went another way is shown at once. */
export async function checkRows(airlock: Airlock, plugin: string, rows: readonly Row[]): Promise<void> {
  const wrong = await Promise.all(rows.map(async ([action, input, expected]) => {
    const outcome = await airlock.call<Outcome>(plugin, action, input);
    if (isDeepStrictEqual(outcome.done ? outcome.value : outcome.name, expected)) return [];
    return [`${plugin} ${action} ${JSON.stringify(input)}: ${JSON.stringify({ expected, outcome })}`];
  }));
  equal(wrong.flat().join("\n"), "");
}

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a granted program in the plugin's cell. */
export async function runIn(
  airlock: Airlock,
  plugin: string,
  program: string,
  ...args: string[]
): Promise<Run> {
  const outcome = await airlock.call<Outcome>(plugin, "run", { program, args: JSON.stringify(args) });
  if (!outcome.done) throw new Error(`Cannot run "${program}": ${outcome.name} ${outcome.message}`);
  return outcome.value as Run;
}

/** Two servers on neighbouring ports of 127.0.0.1; each answers with its port. */
export async function listenOnNeighbours(): Promise<{ port: number; next: number } & AsyncDisposable> {
  const listen = (port: number) =>
    Deno.serve(
      { hostname: "127.0.0.1", port, onListen() {} },
      ({ url }) => new Response(new URL(url).port),
    );
  for (;;) {
    const first = listen(0);
    const { port } = first.addr;
    try {
      const second = listen(port + 1);
      return {
        port,
        next: port + 1,
        async [Symbol.asyncDispose]() {
          await Promise.all([first.shutdown(), second.shutdown()]);
        },
      };
    } catch (error) {
      await first.shutdown();
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** A folder with files that are alike: `a/file`, `ab/file`, `one`, `one2`, each holding its own path. */
export async function makeResources(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "resources-" }));
  for (const folder of ["a", "ab"]) await Deno.mkdir(`${path}/${folder}`);
  for (const file of ["a/file", "ab/file", "one", "one2"]) await Deno.writeTextFile(`${path}/${file}`, file);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}
