/**
 * A real Airlock for a test: the program as an operator starts it, in processes of its own, on a free port,
 * with a data folder of its own. Disposing it drains it and checks that nothing stayed behind.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { PluginView } from "../../schemas/api.ts";
import type { Problem } from "../../schemas/problem.ts";

const root = new URL("../../", import.meta.url).pathname;
const readyTimeoutMs = 20_000;
const endTimeoutMs = 20_000;

export interface AirlockOptions {
  /** Plugins of the test: folder name → file name → text. */
  readonly plugins?: Record<string, Record<string, string>>;
  /** Text of `airlock.jsonc`, as an object. */
  readonly config?: Record<string, unknown>;
  readonly args?: readonly string[];
  /** A data folder to start on again; otherwise a new one, removed at the end. */
  readonly dataDir?: string;
  /** Variables beside the ones of the test. */
  readonly env?: Record<string, string>;
  /** What stands in for `deno run … main.ts serve`: a program and its first arguments. */
  readonly command?: readonly string[];
  /** In place of `--port 0 --data … --plugins … --config …`; needs `dataDir`. */
  readonly flags?: readonly string[];
  readonly cwd?: string;
  /** Makes the warden the leader of a process group, as a shell does. */
  readonly detached?: boolean;
}

/** How an operator starts Airlock, without the flags. */
export const serveCommand: readonly string[] = [
  ...[Deno.execPath(), "run", "--quiet", "-A", "--cached-only", `${root}main.ts`, "serve"],
];

export interface Answer<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** A manifest in the minimal profile with more merged in. */
export function manifest(id: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    id,
    version: "1.0.0",
    airlock: ">=0.1.0 <1.0.0",
    entrypoint: "mod.ts",
    actions: { run: {} },
    ...more,
  });
}

export class Airlock implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #isEnded = false;

  private constructor(
    child: Deno.ChildProcess,
    readonly url: string,
    readonly dataDir: string,
    readonly folder: string,
    /** What it printed up to and with the line before which it was ready, and everything after. */
    readonly output: { stdout: string; stderr: string },
    readonly reading: Promise<unknown>,
  ) {
    this.#child = child;
  }

  /** Resolves when the ready line was printed; rejects with everything that was printed when it ends before. */
  static async start(options: AirlockOptions = {}): Promise<Airlock> {
    const folder = await Deno.makeTempDir({ prefix: "test-" });
    const dataDir = options.dataDir ?? `${folder}/data`;
    for (const [name, files] of Object.entries(options.plugins ?? {})) {
      await Deno.mkdir(`${folder}/plugins/${name}`, { recursive: true });
      for (const [file, text] of Object.entries(files)) {
        await Deno.writeTextFile(`${folder}/plugins/${name}/${file}`, text);
      }
    }
    await Deno.mkdir(`${folder}/plugins`, { recursive: true });
    await Deno.writeTextFile(`${folder}/airlock.jsonc`, JSON.stringify(options.config ?? {}));
    const [program = "", ...first] = options.command ?? serveCommand;
    const plugins = ["--plugins", `${folder}/plugins`];
    const flags = options.flags ??
      ["--port", "0", "--data", dataDir, ...plugins, "--config", `${folder}/airlock.jsonc`];
    const child = new Deno.Command(program, {
      args: [...first, ...flags, ...(options.args ?? [])],
      cwd: options.cwd ?? root,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: options.detached ?? false,
      ...(options.env === undefined ? {} : { env: options.env }),
    }).spawn();
    const output = { stdout: "", stderr: "" };
    const ready = Promise.withResolvers<string>();
    const reading = Promise.all([
      collect(child.stdout, (text) => {
        output.stdout += text;
        const address = /^airlock listening on (http:\/\/\S+)$/m.exec(output.stdout)?.[1];
        if (address !== undefined && output.stdout.includes("try it\n  curl")) ready.resolve(address);
      }),
      collect(child.stderr, (text) => output.stderr += text),
    ]);
    void child.status.then(() => ready.reject(new Error(`Airlock ended: ${output.stdout}${output.stderr}`)));
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      ready.reject(new Error(`Airlock was not ready: ${output.stdout}${output.stderr}`));
    }, readyTimeoutMs);
    try {
      return new Airlock(child, await ready.promise, dataDir, folder, output, reading);
    } catch (error) {
      await reading;
      await Deno.remove(folder, { recursive: true });
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Of the warden. */
  get pid(): number {
    return this.#child.pid;
  }

  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  get token(): string {
    return Deno.readTextFileSync(`${this.dataDir}/admin.token`).trim();
  }

  /** A request with the administrator's token; an object as `body` is sent as JSON. */
  async fetch(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const isRaw = typeof body === "string" || body instanceof Uint8Array || body === undefined;
    return await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(isRaw ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isRaw ? body as BodyInit : JSON.stringify(body) }),
    });
  }

  async request<T>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<T>> {
    const response = await this.fetch(method, path, body, headers);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") ?? false;
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : text) as T,
    };
  }

  /** Calls an action; the answer's `output`. Fails unless it is a 200. */
  async call<T>(plugin: string, action: string, input: unknown = {}): Promise<T> {
    const { status, body } = await this.invoke<T>(plugin, action, input);
    equal(status, 200, JSON.stringify(body));
    return (body as { output: T }).output;
  }

  invoke<T>(plugin: string, action: string, input: unknown = {}): Promise<Answer<{ output: T } | Problem>> {
    return this.request("POST", `/v1/plugins/${plugin}/actions/${action}`, input);
  }

  /** Calls an action that must fail; the problem. */
  async fail(plugin: string, action: string, input: unknown = {}): Promise<Problem> {
    const { status, body } = await this.invoke(plugin, action, input);
    ok(status >= 400, `expected a problem, got ${status} ${JSON.stringify(body)}`);
    return body as Problem;
  }

  /** The folder of the kernel's life: the cells' socket is in it. */
  get runFolder(): string {
    return Deno.readTextFileSync(`${this.dataDir}/run`);
  }

  async kernelPid(): Promise<number> {
    return (await this.request<{ pid: number }>("GET", "/healthz")).body.pid;
  }

  /** Calls an action for a stream of events. */
  async stream(plugin: string, action: string, input: unknown = {}): Promise<AsyncGenerator<StreamEvent>> {
    const path = `/v1/plugins/${plugin}/actions/${action}`;
    const response = await this.fetch("POST", path, input, { accept: "text/event-stream" });
    equal(response.status, 200);
    ok(response.body !== null);
    return readEvents(response.body);
  }

  async plugin(id: string): Promise<PluginView> {
    return (await this.request<PluginView>("GET", `/v1/plugins/${id}`)).body;
  }

  /** All ledger records, parsed. */
  async records(): Promise<
    { seq: number; type: string; actor: string; plugin: string; data: Record<string, unknown> }[]
  > {
    const records = [];
    for (let path: string | null = "/v1/ledger/entries?limit=1000"; path !== null;) {
      const { body }: Answer<{ items: { line: string }[]; next: string | null }> = await this.request(
        "GET",
        path,
      );
      records.push(...body.items.map(({ line }) => JSON.parse(line)));
      path = body.next === null ? null : `/v1/ledger/entries?limit=1000&after=${body.next}`;
    }
    return records;
  }

  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  /** Waits for the warden to end and for its output to be read; then nothing of it may be left. */
  async ended(): Promise<Deno.CommandStatus> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), endTimeoutMs);
    const status = await this.status;
    clearTimeout(timer);
    await this.reading;
    this.#isEnded = true;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isEnded) {
      this.#child.kill("SIGTERM");
      const { code } = await this.ended();
      equal(code, 0, `Airlock did not drain: ${this.output.stderr}`);
    }
    equal(leftovers(this.dataDir).join("\n"), "", "processes were left over");
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Command lines of live processes that name `needle`, for example a data folder. Linux only. */
export function leftovers(needle: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^[0-9]+$/.test(name) || Number(name) === Deno.pid) continue;
    try {
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      if (command.includes(needle)) found.push(`${name} ${command}`);
    } catch {
      // It has just ended.
    }
  }
  return found;
}

/** True when `bwrap` works here; tests of the sealed tier are skipped by name elsewhere. */
export async function isSealedAvailable(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("bwrap", {
      args: ["--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "true"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

export interface StreamEvent {
  readonly event: string;
  readonly id: string;
  /** Parsed. */
  readonly data: unknown;
  /** Which read of the connection brought its end. */
  readonly read: number;
}

/** Parses server-sent events, as strictly as this API sends them: a field that it never sends is an error. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  let pending = "";
  let read = 0;
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    read++;
    pending += text;
    for (let end = pending.indexOf("\n\n"); end >= 0; end = pending.indexOf("\n\n")) {
      const block = pending.slice(0, end);
      pending = pending.slice(end + 2);
      if (block.startsWith(":")) continue;
      const match = /^id: ([0-9]+)\nevent: ([A-Z_]+)\ndata: ([^\r\n]*)$/.exec(block);
      ok(match !== null, `not an event: ${JSON.stringify(block)}`);
      const [, id = "", event = "", data = ""] = match;
      yield { event, id, data: JSON.parse(data), read };
    }
  }
  equal(pending, "");
}

/** Kills the kernel, and waits for its next life. */
export async function killKernel(airlock: Airlock, deadlineMs: number): Promise<void> {
  const pid = await airlock.kernelPid();
  Deno.kill(pid, "SIGKILL");
  await until("the kernel back", async () => {
    try {
      return await airlock.kernelPid() !== pid;
    } catch {
      return false; // nobody listens between two lives
    }
  }, deadlineMs);
}

/** A folder that goes when it is disposed. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "test-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Polls until `condition` gives something. Fails with `what` at the deadline. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  deadlineMs = 5_000,
): Promise<Exclude<T, false | undefined | null>> {
  const startedMs = performance.now();
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false && found !== null) {
      return found as Exclude<T, false | undefined | null>;
    }
    ok(performance.now() - startedMs < deadlineMs, `not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function collect(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}
