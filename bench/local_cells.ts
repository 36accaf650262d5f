/**
 * Local cells: sandbox and warden in one process, wired to each other without the pipe between them.
 *
 * What is measured on them is the code of production from the request for a cell to its answer, without
 * HTTP, ledger, and the two processes' pipe (about 0.1 ms).
 *
 * @module
 */
import { getRandomValues } from "node:crypto";
import type { Isolation } from "../schemas/capabilities.ts";
import { configSchema } from "../schemas/config.ts";
import { limitsSchema } from "../schemas/limits.ts";
import type { FromWarden, ToWarden } from "../schemas/warden_protocol.ts";
import { Sandbox, type StartedCell } from "../sandbox/sandbox.ts";
import { Cells } from "../sandbox/warden/cells.ts";
import { chooseTier, findHostPrograms } from "../sandbox/warden/host_programs.ts";
import { WardenLink } from "../sandbox/warden_link.ts";

const codeDir = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const bundleDir = `${codeDir}/sandbox/dist`;

export class LocalCells implements AsyncDisposable {
  readonly #folder = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "bench-" }));
  /** Laid out like a data folder: the warden checks it. */
  readonly #dataDir = `${this.#folder}/data`;
  readonly #host = findHostPrograms(Deno.env.get("PATH") ?? "");
  readonly #sandbox: Sandbox;

  constructor() {
    const { audit, cells: config, limits: caps } = configSchema.parse({});
    const run = { socket: `${this.#folder}/s`, folder: this.#folder };
    const link: WardenLink = new WardenLink((message) => receive(message));
    const cells = new Cells({
      kernelPid: Deno.pid,
      host: this.#host,
      bundleDir,
      config,
      audit,
      caps,
      groups: undefined,
      own: { dataDir: this.#dataDir, codeDir, runFolder: this.#folder },
      environment: () => undefined,
      report: (message: FromWarden) => {
        if (message.type !== "drain") link.receive(message);
      },
      flushed: () => Promise.resolve(),
      log: (message) => console.error(message),
    });
    const receive = (message: ToWarden) => {
      if (message.type === "start") cells.start(message.description, run);
      else if (message.type === "locate") cells.locate(message.cell);
      else if (message.type === "kill") cells.kill(message.cell);
      else if (message.type === "calls") cells.calls(message.cell, message.count, message.ids);
    };
    this.#sandbox = new Sandbox({
      ...config,
      socket: run.socket,
      link,
      randomBytes: (count) => getRandomValues(new Uint8Array(count)),
      log: (message) => console.error(message),
    });
    for (const name of ["packages", "plugins"]) {
      Deno.mkdirSync(`${this.#dataDir}/${name}/hello`, { recursive: true });
    }
    Deno.copyFileSync(`${codeDir}/plugins/hello/mod.ts`, `${this.#dataDir}/packages/hello/mod.ts`);
  }

  /** The tiers that work here, and why one does not. */
  async tiers(): Promise<{ tiers: Isolation[]; reason: string }> {
    const files = { bundleDir, socket: "/dev/null", temporaryDir: this.#folder, auditPipe: undefined };
    const { tier, reason } = await chooseTier("auto", this.#host, files);
    return { tiers: tier === "sealed" ? ["process", "sealed"] : ["process"], reason };
  }

  /** A cell of the bundled plugin `hello`, with the grants that every plugin has. */
  async start(tier: Isolation): Promise<StartedCell> {
    const packageDir = `${this.#dataDir}/packages/hello`;
    const dataDir = `${this.#dataDir}/plugins/hello`;
    const grants = {
      net: [],
      read: [packageDir, dataDir],
      write: [dataDir],
      run: [],
      env: [],
      sys: [],
      ffi: [],
    };
    return await this.#sandbox.start({
      plugin: "hello",
      description: {
        tier,
        packageDir,
        dataDir,
        grants: { ...grants, eval: false },
        limits: limitsSchema.parse({}),
      },
      setup: {
        plugin: { id: "hello", version: "1.0.0" },
        entrypoint: "mod.ts",
        packageDir,
        dataDir,
        config: {},
        actions: { greet: {} },
        outputBytesMax: 16_777_216,
        streamWindowChars: 262_144,
        tokenOverheadChars: 512,
      },
      verified: Promise.resolve(),
      signal: new AbortController().signal,
      onLog: (_source, _level, text) => console.error(text),
      onAudit() {},
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sandbox[Symbol.asyncDispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }
}
