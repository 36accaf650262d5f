/**
 * One life of the kernel: its process, its pipe, its cells and its run folder.
 *
 * The run folder (mode 0700) holds the socket and the temporary folders of this life's cells; it goes with
 * it. Whatever ends the process ends its cells first, because a cell without its kernel serves nobody.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import {
  type FromWarden,
  type KernelBoot,
  type ToWarden,
  toWardenSchema,
  wardenLineBytesMax,
} from "../../schemas/warden_protocol.ts";
import { Cells } from "./cells.ts";
import type { CellGroups } from "./cgroup.ts";
import { type HostPrograms, kernelCommand } from "./command_line.ts";
import { endChild } from "./child_process.ts";
import { removeFolder } from "./remove_folder.ts";
import { MessageWriter, readMessages } from "./lines.ts";

export interface KernelOptions {
  readonly host: HostPrograms;
  readonly main: string;
  readonly configFile: string;
  readonly bundleDir: string;
  readonly config: Config;
  readonly boot: Omit<KernelBoot, "type" | "socket" | "port" | "pid" | "config">;
  readonly runFolder: string;
  readonly port: number;
  readonly groups: CellGroups | undefined;
  /** Variables that Deno itself needs to find its cache. */
  readonly env: Record<string, string>;
  environment(name: string): string | undefined;
  onListening(message: Extract<ToWarden, { type: "listening" }>): void;
  log(message: string): void;
}

/** How the life ended. `drained`: it said so. */
export interface KernelEnd {
  readonly exitCode: number;
  readonly signal: string | null;
  readonly drained: boolean;
}

export class KernelProcess {
  readonly ended: Promise<KernelEnd>;
  readonly #child: Deno.ChildProcess;
  readonly #cells: Cells;
  readonly #pipe: MessageWriter<FromWarden | KernelBoot>;
  readonly #socket: string;
  #drained = false;

  constructor(private readonly options: KernelOptions) {
    const { boot, config, host, runFolder, port } = options;
    this.#socket = `${runFolder}/s`;
    const { program, args } = kernelCommand({
      main: options.main,
      config: options.configFile,
      dataDir: boot.dataDir,
      readable: [boot.bundledPlugins, ...boot.pluginFolders, boot.docsDir],
      runFolder,
      socket: this.#socket,
      host: config.host,
      port,
    }, host);
    this.#child = new Deno.Command(program, {
      args,
      env: options.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#pipe = new MessageWriter(this.#child.stdin);
    this.#cells = new Cells({
      kernelPid: this.#child.pid,
      host,
      bundleDir: options.bundleDir,
      config: config.cells,
      audit: config.audit,
      caps: config.limits,
      groups: options.groups,
      own: { dataDir: boot.dataDir, codeDir: boot.codeDir, runFolder: Deno.realPathSync(runFolder) },
      environment: options.environment,
      report: (message) => this.#pipe.write(message),
      flushed: () => this.#pipe.flush(),
      log: options.log,
    });
    this.#pipe.write({ type: "boot", ...boot, config, socket: this.#socket, port, pid: this.#child.pid });
    this.ended = this.#run();
  }

  /** Asks for a drain; the kernel answers by ending. */
  drain(): void {
    this.#pipe.write({ type: "drain" });
  }

  kill(): void {
    endChild(this.#child);
  }

  async #run(): Promise<KernelEnd> {
    const reading = this.#readMessages();
    const { code, signal } = await this.#child.status;
    await this.#cells.killAll();
    await reading;
    await this.#pipe.close();
    await this.#removeRunFolder();
    return { exitCode: code, signal, drained: this.#drained };
  }

  /** Something else may clean the temporary folder; and one that stays is no reason to serve nobody. */
  async #removeRunFolder(): Promise<void> {
    const { log, runFolder } = this.options;
    await removeFolder(runFolder).catch((error) => log(`Cannot remove run folder "${runFolder}": ${error}`));
  }

  async #readMessages(): Promise<void> {
    try {
      for await (const message of readMessages(this.#child.stdout, toWardenSchema, wardenLineBytesMax)) {
        this.#receive(message);
      }
    } catch (error) {
      // Fail closed: a kernel that does not keep to the protocol is not the one that was started.
      this.options.log(`The kernel broke the protocol and is killed: ${String(error)}`);
      this.kill();
    }
  }

  #receive(message: ToWarden): void {
    switch (message.type) {
      case "start":
        return this.#cells.start(message.description, {
          socket: this.#socket,
          folder: this.options.runFolder,
        });
      case "locate":
        return this.#cells.locate(message.cell);
      case "kill":
        return this.#cells.kill(message.cell);
      case "suspend":
        return this.#cells.suspend(message.cell);
      case "resume":
        return this.#cells.resume(message.cell);
      case "audit":
        return this.#cells.audit(message.cell, message.question);
      case "calls":
        return this.#cells.calls(message.cell, message.count, message.ids);
      case "check":
        return this.#cells.check(message.check, message.description);
      case "listening":
        return this.options.onListening(message);
      case "drained":
        this.#drained = true;
    }
  }
}
