/**
 * The sandbox starts cells: it asks the warden for a process, waits for it to show its token, and hands it
 * its plugin. It knows nothing of HTTP, jobs or the ledger.
 *
 * @module
 */
import type { CellSetup } from "../schemas/cell_protocol.ts";
import type { CellDescription } from "../schemas/warden_protocol.ts";
import { ProblemError } from "../schemas/problem.ts";
import { CellListener } from "./cell_listener.ts";
import { LiveCell } from "./live_cell.ts";
import type { WardenLink } from "./warden_link.ts";

export interface SandboxOptions {
  readonly socket: string;
  readonly link: WardenLink;
  readonly startTimeoutMs: number;
  readonly helloTimeoutMs: number;
  readonly helloPendingMax: number;
  readonly stopTimeoutMs: number;
  readonly abortGraceMs: number;
  readonly frameBytesMax: number;
  randomBytes(count: number): Uint8Array;
  log(message: string): void;
}

export interface CellRequest {
  readonly plugin: string;
  readonly description: Omit<CellDescription, "cell" | "token">;
  readonly setup: CellSetup;
  /** Resolves when the package was found to be what was admitted; nothing of it is loaded before. */
  readonly verified: Promise<void>;
  onLog(source: "log" | "output", level: "debug" | "info" | "warn" | "error", text: string): void;
}

export interface StartedCell {
  readonly cell: LiveCell;
  /** Of the cell's program as the host sees it; `null` where that is not to be had. */
  readonly pid: number | null;
  /** Drain → stop → kill, each with its deadline. Resolves at the end of the process. */
  stop(): Promise<void>;
}

const queueBytesMax = 8_388_608;

export class Sandbox implements AsyncDisposable {
  readonly #listener: CellListener;
  readonly #cells = new Set<StartedCell>();

  constructor(private readonly options: SandboxOptions) {
    this.#listener = new CellListener(options);
  }

  /** Rejects with PLUGIN_START_FAILED, or with the limit that the plugin crossed while it was loaded. */
  async start(request: CellRequest): Promise<StartedCell> {
    const { options } = this;
    const { link, startTimeoutMs } = options;
    const id = options.randomBytes(8).toHex();
    const token = options.randomBytes(32).toHex();
    const located = Promise.withResolvers<number | null>();
    const cell = new LiveCell({
      cell: id,
      plugin: request.plugin,
      frameBytesMax: options.frameBytesMax,
      outputBytesMax: request.setup.outputBytesMax,
      streamWindowChars: request.setup.streamWindowChars,
      queueBytesMax,
      abortGraceMs: options.abortGraceMs,
      kill: () => link.kill(id),
      onLog: (level, text) => request.onLog("log", level, text),
    });
    const { connection, forget } = this.#listener.expect(token);
    const timer = setTimeout(
      () => cell.kill(startFailed(request.plugin, `it was not ready within ${startTimeoutMs} ms`)),
      startTimeoutMs,
    );
    link.start({ ...request.description, cell: id, token }, {
      onRefused: (message) => {
        cell.kill(startFailed(request.plugin, message));
        cell.over({ exitCode: -1, signal: null, killed: null });
      },
      onLocated: located.resolve,
      onLog: (text) => request.onLog("output", "info", text),
      onEnded: (end) => cell.over(end),
    });
    let isConnected = false;
    try {
      const setupJson = new TextEncoder().encode(JSON.stringify(request.setup));
      const [socket] = await Promise.race([Promise.all([connection, request.verified]), failure(cell)]);
      link.locate(id);
      cell.connect(socket, setupJson);
      isConnected = true;
      await cell.ready;
      const pid = await Promise.race([located.promise, failure(cell)]);
      return this.#started(request.plugin, cell, pid);
    } catch (error) {
      // It may have shown its token all the same, and then nobody else would close its socket.
      if (!isConnected) void connection.then((socket) => socket.close());
      cell.kill(asProblem(request.plugin, error));
      throw (await cell.ended).cause;
    } finally {
      clearTimeout(timer);
      forget();
    }
  }

  #started(plugin: string, cell: LiveCell, pid: number | null): StartedCell {
    const started: StartedCell = {
      cell,
      pid,
      stop: async () => {
        const { stopTimeoutMs } = this.options;
        const overdue = () =>
          cell.kill(new ProblemError("PLUGIN_STOPPED", `Cannot call plugin "${plugin}": it was stopped`));
        const stopTimer = setTimeout(() => cell.stop(), stopTimeoutMs);
        const killTimer = setTimeout(overdue, 2 * stopTimeoutMs);
        await cell.drain();
        cell.stop();
        await cell.ended;
        clearTimeout(stopTimer);
        clearTimeout(killTimer);
      },
    };
    this.#cells.add(started);
    void cell.ended.then(() => this.#cells.delete(started));
    return started;
  }

  /** Stops every cell, then the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#cells].map((started) => started.stop()));
    await this.#listener[Symbol.asyncDispose]();
  }
}

/** Rejects at the end of the cell. */
async function failure(cell: LiveCell): Promise<never> {
  throw (await cell.ended).cause;
}

function startFailed(plugin: string, state: string, cause?: unknown): ProblemError {
  return new ProblemError("PLUGIN_START_FAILED", `Cannot start plugin "${plugin}": ${state}`, { cause });
}

function asProblem(plugin: string, error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  return startFailed(plugin, error instanceof Error ? error.message : String(error), error);
}
