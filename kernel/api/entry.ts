/**
 * The kernel process: its pipe to the warden, its life, its end.
 *
 * Stdin and stdout carry messages and nothing else; the log goes to stderr. A terminal's signals are not for
 * this process: the warden says when to drain. When stdin closes, the warden is dead: what this life made
 * outside the data folder is removed, and the process ends at once, as by a crash.
 *
 * @module
 */
import { dirname } from "node:path";
import { configSchema } from "../../schemas/config.ts";
import {
  type FromWarden,
  fromWardenSchema,
  type KernelBoot,
  kernelBootSchema,
  type ToWarden,
  wardenLineBytesMax,
} from "../../schemas/warden_protocol.ts";
import { MessageWriter, readMessages } from "../../sandbox/warden/lines.ts";
import { WardenLink } from "../../sandbox/warden_link.ts";
import { createKernel, type Kernel } from "../kernel.ts";
import { LedgerCorruptError } from "../ledger/ledger_corrupt_error.ts";
import { createLineWriter } from "../telemetry/line_writer.ts";
import { createLogger } from "../telemetry/log.ts";
import { z } from "zod";
import { type ApiServer, serveApi } from "./serve.ts";

const logBytesMax = 4_194_304;
const logFlushMs = 1_000;
const pluginsShownMax = 30;
const statusCharsMax = 512;
const exitCodes = { ended: 0, failed: 70, refuses: 78 } as const;
const removeAttempts = 20;
const removePauseMs = 25;

/** Runs until the warden says to drain, or is gone. */
export async function runKernel(): Promise<never> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => {});
  const messages = readMessages(
    Deno.stdin.readable,
    z.union([kernelBootSchema, fromWardenSchema]),
    wardenLineBytesMax,
  );
  const { value: boot } = await messages.next();
  if (boot === undefined || boot.type !== "boot") Deno.exit(exitCodes.failed);
  return await new KernelLife(boot).run(messages);
}

class KernelLife {
  readonly #pipe = new MessageWriter<ToWarden>(Deno.stdout.writable);
  readonly #link = new WardenLink((message) => this.#pipe.write(message));
  readonly #config;
  readonly #lines;
  readonly #logger;
  #kernel: Kernel | undefined;
  #server: ApiServer | undefined;
  #starting: Promise<void> | undefined;

  constructor(private readonly boot: KernelBoot) {
    this.#config = configSchema.parse(boot.config);
    this.#lines = createLineWriter({
      sink: Deno.stderr,
      bytesMax: logBytesMax,
      formatDropped: (count) => `{"level":"WARN","message":"${count} lines of log were dropped"}\n`,
    });
    this.#logger = createLogger({
      level: this.#config.dev ? "debug" : this.#config.log.level,
      write: (line) => this.#lines.write(line),
      nowMs: Date.now,
    });
  }

  async run(messages: AsyncIterable<FromWarden | KernelBoot>): Promise<never> {
    this.#starting = this.#start();
    try {
      for await (const message of messages) {
        if (message.type === "drain") void this.#drain();
        else if (message.type !== "boot") this.#link.receive(message);
      }
    } catch (error) {
      this.#logger.error("The warden broke the protocol", { error: String(error) });
    }
    await removeFolder(dirname(this.boot.socket));
    return Deno.exit(exitCodes.failed);
  }

  async #start(): Promise<void> {
    const { boot } = this;
    try {
      const kernel = await createKernel(this.#config, {
        boot,
        link: this.#link,
        logger: this.#logger,
        nowMs: Date.now,
        // Over a log that was changed no kernel starts, and none goes on.
        fatal: (error) =>
          void this.#end(
            error.cause instanceof LedgerCorruptError ? exitCodes.refuses : exitCodes.failed,
            `The kernel cannot go on: ${error.message}`,
          ),
      });
      this.#kernel = kernel;
      const { host } = this.#config;
      this.#server = serveApi({
        kernel,
        host,
        port: boot.port,
        swaggerUiFolder: boot.docsDir,
        log: (message) => this.#logger.warning(message),
      });
      this.#server.finished.catch(async (error) => {
        await kernel.fail();
        await this.#end(exitCodes.failed, `Cannot serve: ${String(error)}`);
      });
      this.#pipe.write(listening(kernel, this.#server.port));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await this.#kernel?.fail();
      await this.#end(exitCodes.refuses, `Airlock cannot start: ${message}`);
    }
  }

  /** Calls under way get their answers; then cells, ledger and store close. */
  async #drain(): Promise<void> {
    try {
      await this.#starting;
      const closing = this.#server?.shutdown() ?? Promise.resolve();
      await this.#kernel?.drain(closing);
      await closing;
      this.#pipe.write({ type: "drained" });
      await this.#pipe.flush();
      await this.#end(exitCodes.ended);
    } catch (error) {
      await this.#end(
        exitCodes.failed,
        `Cannot drain: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  async #end(exitCode: number, message?: string): Promise<never> {
    if (message !== undefined) this.#logger.error(message);
    await this.#lines.flush({ timeoutMs: logFlushMs });
    return Deno.exit(exitCode);
  }
}

function listening(kernel: Kernel, port: number): ToWarden {
  const plugins = kernel.plugins.list();
  return {
    type: "listening",
    port,
    plugins: plugins.slice(0, pluginsShownMax).map(({ id, version, status, lastError }) => ({
      id,
      version,
      status: lastError === null ? status : `${status}: ${lastError.message.slice(0, statusCharsMax)}`,
    })),
    plural: plugins.length,
    example:
      `curl -s ADDRESS/v1/plugins/hello/actions/greet -H "authorization: Bearer $(cat 'DATA/admin.token')" ` +
      `-H 'content-type: application/json' -d '{"name":"world"}'`,
  };
}

async function removeFolder(path: string): Promise<void> {
  // Cells that are being killed may still write.
  for (let attempt = 0; attempt < removeAttempts; attempt++) {
    try {
      return await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      await new Promise((resolve) => setTimeout(resolve, removePauseMs));
    }
  }
}
