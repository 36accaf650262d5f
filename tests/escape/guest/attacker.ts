/**
 * The attacker: the module around the attacks of the corpus, inside a cell.
 *
 * An attack's outcome comes back as data, so that a test sees the error's class and not that of the call.
 *
 * @module
 */
import type { Context } from "../../../sdk/mod.ts";

/** What there is to reach for. Every path and number is one that was not granted, but where it says so. */
export interface Aim {
  /** A folder of the host, and a file in it that holds a secret. */
  readonly outside: string;
  readonly canary: string;
  /** Paths at which nothing of a plugin's may ever be. */
  readonly plants: readonly string[];
  /** Granted to `granted`, `grantee` and the runners, with all below it. */
  readonly shared: string;
  readonly dataDir: string;
  readonly neighbourData: string;
  readonly token: string;
  readonly socket: string;
  readonly runFolder: string;
  /** A Unix socket that nobody granted. */
  readonly outsideSocket: string;
  readonly kernelPid: number;
  readonly wardenPid: number;
  readonly neighbourPid: number;
  readonly kernelPort: number;
  /** Answers with a secret. */
  readonly secretPort: number;
  /** Granted to `online`; `/?to=URL` redirects. */
  readonly openPort: number;
  /** Descriptors that whoever starts Airlock leaves open: a pipe to write to, the canary to read. */
  readonly inheritedPipe: number;
  readonly inheritedFile: number;
  readonly deno: string;
  /** The shell, granted to `runner`. */
  readonly shell: string;
  /** Granted to `native`. */
  readonly libc: string;
  /** What a side channel carries; empty for the neighbour. */
  readonly mark: string;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Tools {
  readonly ctx: Context;
  /** The plugin's private folder. */
  readonly data: string;
  /** Makes each attempt. When all come to the same, that is the outcome; otherwise the list of outcomes is. */
  each(attempts: readonly (() => unknown)[]): Promise<unknown>;
  /** "refused" when each attempt throws, whatever it throws; otherwise what came of those that did not. */
  refused(attempts: readonly (() => unknown)[]): Promise<unknown>;
  run(program: string, ...args: string[]): Promise<Ran>;
  /** What a script of Perl prints. */
  perl(script: string): Promise<string>;
  /** What a nested Worker that runs `code` posts first, or the message of its error. */
  nested(code: string, permissions?: unknown): Promise<unknown>;
  /** The first that `look` finds within 250 ms, errors excepted. */
  found(look: () => unknown): Promise<unknown>;
  /** To the cell, past the guest host. */
  post(...messages: unknown[]): void;
  forEver(): Promise<never>;
}

type Outcome = { readonly value: unknown } | { readonly thrown: string; readonly message: string };

async function attempt(work: () => unknown): Promise<Outcome> {
  try {
    return { value: await work() ?? null };
  } catch (error) {
    if (!(error instanceof Error)) return { thrown: `a ${typeof error}`, message: String(error) };
    // Errors of node modules are told apart by their codes.
    const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
    return { thrown: error.name === "Error" ? code : error.name, message: error.message };
  }
}

async function each(attempts: readonly (() => unknown)[]): Promise<unknown> {
  const outcomes: Outcome[] = [];
  for (const work of attempts) outcomes.push(await attempt(work));
  const words = outcomes.map((outcome) =>
    "thrown" in outcome ? `throws ${outcome.thrown}` : `gives ${JSON.stringify(outcome.value)}`
  );
  const [first] = outcomes;
  if (first === undefined || words.some((word) => word !== words[0])) return words;
  if (!("thrown" in first)) return first.value;
  throw Object.assign(new Error(first.message), { name: first.thrown });
}

async function refused(attempts: readonly (() => unknown)[]): Promise<unknown> {
  const outcomes = [];
  for (const work of attempts) outcomes.push(await attempt(work));
  const through = outcomes.flatMap((outcome, index) => "value" in outcome ? [{ index, ...outcome }] : []);
  return through.length === 0 ? "refused" : through;
}

async function run(program: string, ...args: string[]): Promise<Ran> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function nested(code: string, permissions: unknown = "inherit"): Promise<unknown> {
  // It closes itself: to terminate it from here takes half a second.
  const closing = "const post = postMessage; globalThis.postMessage = (data) => { post(data); close(); };";
  const url = `data:text/javascript,${encodeURIComponent(closing + code)}`;
  const options = { type: "module", deno: { permissions } } as WorkerOptions;
  const worker = new Worker(url, options);
  const { promise, resolve } = Promise.withResolvers<unknown>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    resolve(`error: ${event.message}`);
  };
  return await promise;
}

/** What `look` finds within a quarter of a second: nothing tells a neighbour when an attacker has left something. */
async function found(look: () => unknown): Promise<unknown> {
  const startedMs = performance.now();
  while (performance.now() - startedMs < 250) {
    const outcome = await attempt(look);
    if ("value" in outcome && outcome.value !== null) return outcome.value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return null;
}

const worker = globalThis as unknown as { postMessage(message: unknown): void };
const post = worker.postMessage.bind(globalThis);

function toolsOf(ctx: Context): Tools {
  return {
    ctx,
    data: ctx.dataDir,
    each,
    refused,
    run,
    perl: async (script) => (await run("/usr/bin/perl", "-e", script)).stdout,
    nested,
    found,
    post: (...messages) => post(messages),
    forEver: () => new Promise(() => {}),
  };
}

/** The actions of a plugin that can make these attacks. */
export function actionsOf(attacks: Record<string, (aim: Aim, tools: Tools) => unknown>) {
  const attack = ({ name, aim }: { name: string; aim: Aim }, ctx: Context) =>
    attempt(() => attacks[name]?.(aim, toolsOf(ctx)));
  /** An attack that gives tokens; its errors are the call's. */
  async function* stream({ name, aim }: { name: string; aim: Aim }, ctx: Context) {
    yield* attacks[name]?.(aim, toolsOf(ctx)) as AsyncIterable<unknown>;
  }
  return { attack, endless: attack, stream, fine: () => "fine" };
}
