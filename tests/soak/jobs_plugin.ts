/**
 * The plugin whose jobs the soak tests run. It does as its input says, and writes down what it did where a kill
 * does not reach it: a line for each attempt that began and for each that came to its end.
 *
 * @module
 */
import { manifest } from "../support/airlock.ts";

/** How an attempt goes. `first`: fails up to attempt `k`. `crashFirst`: takes its cell with it up to there. */
export type How = "ok" | "always" | "first" | "crash" | "crashFirst" | "exit";

export interface WorkInput {
  readonly tag: string;
  readonly how: How;
  readonly k: number;
  /** How long it works. */
  readonly ms: number;
  /** Of a streaming action. */
  readonly tokens: number;
  readonly value: unknown;
}

export const actionNames = ["once", "again", "tellOnce", "tell"] as const;
export type ActionName = (typeof actionNames)[number];

export function isIdempotent(action: string): boolean {
  return action === "again" || action === "tell";
}

export function isStreaming(action: string): boolean {
  return action.startsWith("tell");
}

const source = `
const note = ({ dataDir, job }, what) =>
  Deno.writeTextFileSync(dataDir + "/effects", job.id + " " + job.attempt + " " + what + "\\n", { append: true });
const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(new Error("told to stop")); });
});
const forever = () => new Promise(() => {});
function crash() { setTimeout(() => { throw new Error("on purpose"); }, 0); return forever(); }
async function go({ how, k }, { job: { attempt } }) {
  if (how === "always" || (how === "first" && attempt <= k)) throw new Error("on purpose");
  if (how === "crash" || (how === "crashFirst" && attempt <= k)) await crash();
  if (how === "exit") { Deno.kill(Deno.pid, "SIGABRT"); await forever(); }
}
async function work(input, ctx) {
  note(ctx, "begun");
  ctx.progress(0.5, "half");
  await pause(input.ms, ctx.signal);
  await go(input, ctx);
  note(ctx, "done");
  return { tag: input.tag, value: input.value };
}
async function* tell(input, ctx) {
  note(ctx, "begun");
  if (input.tokens === 0) await go(input, ctx);
  for (let i = 0; i < input.tokens; i++) {
    if (i === input.tokens >> 1) await go(input, ctx);
    if (i % 16 === 0) await pause(input.ms / 8, ctx.signal);
    yield { attempt: ctx.job.attempt, i };
  }
  note(ctx, "done");
  return { tag: input.tag, value: input.value };
}
export const actions = { once: work, again: work, tell, tellOnce: tell };
`;

export function jobsPlugin(id: string, restartMax: number): Record<string, string> {
  const action = (name: string) => ({
    idempotent: isIdempotent(name),
    stream: isStreaming(name),
    concurrency: 8,
  });
  return {
    "plugin.jsonc": manifest(id, {
      actions: Object.fromEntries(actionNames.map((name) => [name, action(name)])),
      restart: { max: restartMax },
    }),
    "mod.ts": source,
  };
}

export interface Effect {
  readonly attempt: number;
  readonly what: "begun" | "done";
}

/** What the plugins really did, by job. */
export async function effectsOf(dataDir: string, plugins: readonly string[]): Promise<Map<string, Effect[]>> {
  const effects = new Map<string, Effect[]>();
  for (const plugin of plugins) {
    const text = await Deno.readTextFile(`${dataDir}/plugins/${plugin}/effects`);
    for (const line of text.trimEnd().split("\n")) {
      const [job = "", attempt, what] = line.split(" ");
      const list = effects.get(job) ?? [];
      list.push({ attempt: Number(attempt), what: what === "done" ? "done" : "begun" });
      effects.set(job, list);
    }
  }
  return effects;
}
