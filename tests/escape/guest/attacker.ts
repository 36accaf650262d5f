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
  /** The descriptor of its cell's control socket, for the rows that ask for it; 0 for the others. */
  readonly controlSocket: number;
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
  /** The first that `look` finds before the attack is over; otherwise what its last look came to. */
  found(look: () => unknown): Promise<unknown>;
  /** To the cell, past the guest host. */
  post(...messages: unknown[]): void;
  /** The number of its own call, which the guest host does not tell. */
  ownCall(): number;
  /** Frames past the cell, to the kernel. Each resolves when it has left. */
  toKernel(controlSocket: number): Promise<(frame: Uint8Array) => Promise<void>>;
  /** A frame of the cell protocol. */
  frame(envelope: unknown, body?: string): Uint8Array;
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

/** Whether it is found is seen by its mark, so an error is told and not thrown. */
async function found(look: () => unknown, isOver: () => boolean): Promise<unknown> {
  for (;;) {
    const isLast = isOver();
    const outcome = await attempt(look);
    if ("value" in outcome && outcome.value !== null || isLast) return outcome;
    // Nothing tells when an attacker has left something.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The guest host puts what it sends into a list, with the number of the call. */
function ownCall(ctx: Context): number {
  const { push } = Array.prototype;
  let id = 0;
  Array.prototype.push = function (...items: unknown[]) {
    for (const item of items) if (typeof item === "object" && item && "id" in item) id = Number(item.id);
    return push.apply(this, items);
  };
  ctx.progress(0);
  Array.prototype.push = push;
  return id;
}

/** What Node makes of a descriptor by its number asks for no permission. */
async function toKernel(fd: number): Promise<(frame: Uint8Array) => Promise<void>> {
  const { Socket } = await import("node:net");
  const socket = new Socket({ fd, readable: false, writable: true });
  return (frame) =>
    new Promise((resolve, reject) => socket.write(frame, (error) => error ? reject(error) : resolve()));
}

function frame(envelope: unknown, body = ""): Uint8Array {
  const [head, rest] = [JSON.stringify(envelope), body].map((text) => new TextEncoder().encode(text));
  if (head === undefined || rest === undefined) throw new TypeError("two texts make two lists of bytes");
  const bytes = new Uint8Array(6 + head.length + rest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length - 4);
  view.setUint16(4, head.length);
  bytes.set(head, 6);
  bytes.set(rest, 6 + head.length);
  return bytes;
}

const worker = globalThis as unknown as { postMessage(message: unknown): void };
const post = worker.postMessage.bind(globalThis);

function toolsOf(ctx: Context, isOver: () => boolean): Tools {
  return {
    ctx,
    data: ctx.dataDir,
    each,
    refused,
    run,
    perl: async (script) => (await run("/usr/bin/perl", "-e", script)).stdout,
    nested,
    found: (look) => found(look, isOver),
    post: (...messages) => post(messages),
    ownCall: () => ownCall(ctx),
    toKernel,
    frame,
    forEver: () => new Promise(() => {}),
  };
}

/** The actions of a plugin that can make these attacks. */
export function actionsOf(attacks: Record<string, (aim: Aim, tools: Tools) => unknown>) {
  let isOver = false;
  /** Its errors are the call's. */
  const raw = ({ name, aim }: { name: string; aim: Aim }, ctx: Context) => {
    isOver = false;
    return attacks[name]?.(aim, toolsOf(ctx, () => isOver));
  };
  const attack = (input: { name: string; aim: Aim }, ctx: Context) => attempt(() => raw(input, ctx));
  /** An attack that gives tokens. */
  async function* stream(input: { name: string; aim: Aim }, ctx: Context) {
    yield* raw(input, ctx) as AsyncIterable<unknown>;
  }
  const over = () => isOver = true;
  return { attack, endless: attack, raw, stream, over, fine: () => "fine" };
}
