/**
 * A sandbox with real cells, for tests of the kernel's end: processes of Deno that run the built cell, without
 * the warden's wrappers and its watch. Only `*_test.ts` files import this.
 *
 * @module
 */
import { getRandomValues } from "node:crypto";
import { tokenOverheadChars } from "../schemas/cell_protocol.ts";
import { limitsSchema } from "../schemas/limits.ts";
import type { CellDescription, ToWarden } from "../schemas/warden_protocol.ts";
import { processFlags, workerPermissions } from "./permissions.ts";
import { Sandbox, type SandboxOptions, type StartedCell } from "./sandbox.ts";
import { WardenLink } from "./warden_link.ts";

const bundleDir = new URL("dist", import.meta.url).pathname;

export interface TestingPlugin {
  /** Text of its module; its actions are `actions`. */
  readonly code: string;
  readonly actions?: readonly string[];
  readonly messagesPerSecond?: number;
  readonly logBytesPerSecond?: number;
  readonly streamWindowChars?: number;
}

export class TestingSandbox implements AsyncDisposable {
  readonly logs: string[] = [];
  readonly #folder = Deno.makeTempDirSync({ prefix: "cells-" });
  readonly #socket = `${this.#folder}/s`;
  readonly #children = new Map<string, Deno.ChildProcess>();
  readonly #link = new WardenLink((message) => this.#asked(message));
  readonly #sandbox: Sandbox;

  constructor(options: Partial<SandboxOptions> = {}) {
    this.#sandbox = new Sandbox({
      ...{ socket: this.#socket, link: this.#link, startTimeoutMs: 20_000, helloTimeoutMs: 20_000 },
      ...{ helloPendingMax: 8, stopTimeoutMs: 5_000, abortGraceMs: 50, frameBytesMax: 33_554_432 },
      ...{ sampleIntervalMs: 50, heartbeatIntervalMs: 1_000, heartbeatTimeoutMs: 20_000 },
      randomBytes: (count) => getRandomValues(new Uint8Array(count)),
      log() {},
      ...options,
    });
  }

  async start(plugin: TestingPlugin): Promise<StartedCell> {
    const { code, actions = ["run"], streamWindowChars = 1_024, messagesPerSecond, logBytesPerSecond } =
      plugin;
    const packageDir = await Deno.makeTempDir({ dir: this.#folder });
    await Deno.writeTextFile(`${packageDir}/mod.js`, code);
    const own = { read: [packageDir], write: [packageDir] };
    const grants = { ...{ net: [], run: [], env: [], sys: [], ffi: [], eval: false }, ...own };
    const folders = { packageDir, dataDir: packageDir };
    const limits = limitsSchema.parse({
      ...(messagesPerSecond === undefined ? {} : { messagesPerSecond }),
      ...(logBytesPerSecond === undefined ? {} : { logBytesPerSecond }),
    });
    return await this.#sandbox.start({
      plugin: "echo",
      description: { tier: "process", ...folders, grants, limits },
      setup: {
        ...{ plugin: { id: "echo", version: "1.0.0" }, entrypoint: "mod.js", ...folders, config: {} },
        actions: Object.fromEntries(actions.map((name) => [name, {}])),
        ...{ outputBytesMax: 1_048_576, streamWindowChars, tokenOverheadChars },
      },
      ...{ verified: Promise.resolve(), signal: new AbortController().signal },
      onLog: (_source, level, text) => this.logs.push(`${level} ${text}`),
      onAudit() {},
    });
  }

  #asked(message: ToWarden): void {
    if (message.type === "start") return void this.#run(message.description);
    if (!("cell" in message)) return;
    const { type, cell } = message;
    const child = this.#children.get(cell);
    if (child === undefined) return;
    switch (type) {
      case "locate":
        return this.#link.receive({ type: "located", cell, pid: child.pid });
      case "kill":
        return child.kill("SIGKILL");
      case "suspend":
        child.kill("SIGSTOP");
        return queueMicrotask(() => this.#link.receive({ type: "suspended", cell }));
      case "resume":
        child.kill("SIGCONT");
        return queueMicrotask(() => this.#link.receive({ type: "resumed", cell }));
    }
  }

  async #run({ cell, token, grants }: CellDescription): Promise<void> {
    const needs = { readable: [bundleDir], socket: this.#socket };
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-config", "--no-lock", "--no-prompt", "--unstable-worker-options"],
        ...processFlags(grants, needs),
        `${bundleDir}/cell.js`,
      ],
      ...{ stdin: "piped", stdout: "null", stderr: "null" },
    }).spawn();
    this.#children.set(cell, child);
    const stdin = child.stdin.getWriter();
    const boot = { socket: this.#socket, permissions: workerPermissions(grants) };
    await stdin.write(new TextEncoder().encode(`${token}\n${JSON.stringify(boot)}`));
    await stdin.close();
    const { code, signal } = await child.status;
    this.#children.delete(cell);
    const killed = signal === "SIGKILL" ? "asked" : null;
    this.#link.receive({ type: "ended", cell, exitCode: code, signal, killed, detail: "", calls: [] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sandbox[Symbol.asyncDispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }
}
