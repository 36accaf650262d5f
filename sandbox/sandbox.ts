/**
 * The sandbox starts cells: it asks the warden for a process, waits for it to show its token, and hands it
 * its plugin. It knows nothing of HTTP, jobs or the ledger.
 *
 * @module
 */
import type { PermissionCheck } from "../schemas/audit.ts";
import type { CellSetup } from "../schemas/cell_protocol.ts";
import type { CellDescription } from "../schemas/warden_protocol.ts";
import { ProblemError } from "../schemas/problem.ts";
import { CallsReport } from "./calls_report.ts";
import { CellListener } from "./cell_listener.ts";
import { Heartbeat } from "./heartbeat.ts";
import { LiveCell, type LogLevel } from "./live_cell.ts";
import { Rate } from "./rate.ts";
import { SlowLane } from "./slow_lane.ts";
import { createStartedCell, type StartedCell } from "./started_cell.ts";
import type { WardenLink } from "./warden_link.ts";

export type { StartedCell } from "./started_cell.ts";

export interface SandboxOptions {
  readonly socket: string;
  readonly link: WardenLink;
  readonly startTimeoutMs: number;
  readonly helloTimeoutMs: number;
  readonly helloPendingMax: number;
  readonly stopTimeoutMs: number;
  readonly abortGraceMs: number;
  readonly frameBytesMax: number;
  readonly sampleIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  /** The kernel's; one of its own where it is left out. */
  readonly lane?: SlowLane;
  randomBytes(count: number): Uint8Array;
  log(message: string): void;
}

export interface CellRequest {
  readonly plugin: string;
  readonly description: Omit<CellDescription, "cell" | "token">;
  readonly setup: CellSetup;
  /** Resolves when the package was found to be what was admitted; nothing of it is loaded before. */
  readonly verified: Promise<void>;
  /** Ends the start, which then rejects with NOT_READY. */
  readonly signal: AbortSignal;
  onLog(source: "log" | "output", level: LogLevel, text: string): void;
  /** What the cell asked Deno for since it was last told. */
  onAudit(checks: readonly PermissionCheck[]): void;
}

const queueBytesMax = 8_388_608;

export class Sandbox implements AsyncDisposable {
  readonly #listener: CellListener;
  readonly #lane: SlowLane;
  readonly #cells = new Set<StartedCell>();
  readonly #heartbeat: Heartbeat;
  readonly #callsReport: CallsReport;

  constructor(private readonly options: SandboxOptions) {
    this.#lane = options.lane ?? new SlowLane();
    const { link, sampleIntervalMs, heartbeatIntervalMs, heartbeatTimeoutMs } = options;
    this.#listener = new CellListener(options);
    this.#heartbeat = new Heartbeat({ intervalMs: heartbeatIntervalMs, timeoutMs: heartbeatTimeoutMs });
    this.#callsReport = new CallsReport({
      intervalMs: sampleIntervalMs,
      report: (cell, count, ids) => link.calls(cell, count, ids),
    });
  }

  /** Rejects with PLUGIN_START_FAILED, NOT_READY, or with the limit that the plugin crossed while it was loaded. */
  async start(request: CellRequest): Promise<StartedCell> {
    const { options } = this;
    const { link, startTimeoutMs } = options;
    const id = options.randomBytes(8).toHex();
    const token = options.randomBytes(32).toHex();
    const located = Promise.withResolvers<number | null>();
    const cell = this.#createCell(id, request);
    const { connection, forget } = this.#listener.expect(token);
    const timer = setTimeout(
      () => cell.kill(startFailed(request.plugin, `it was not ready within ${startTimeoutMs} ms`)),
      startTimeoutMs,
    );
    link.start({ ...request.description, cell: id, token }, {
      onRefused: (message) => {
        cell.kill(startFailed(request.plugin, message));
        cell.over({ exitCode: -1, signal: null, killed: null, detail: "", calls: [] });
      },
      onLocated: located.resolve,
      onLog: (text) => request.onLog("output", "info", text),
      onAudit: (checks) => request.onAudit(checks),
      // What is asked of it meanwhile it cannot answer before.
      onPaused: (ms) => cell.pulse.rest(performance.now(), ms),
      onSuspended: () => cell.suspended(),
      onResumed: () => cell.resumed(),
      onEnded: (end) => cell.over(end),
    });
    const abort = () => cell.kill(stopping(request.plugin));
    request.signal.addEventListener("abort", abort);
    if (request.signal.aborted) abort();
    let isConnected = false;
    try {
      const setupJson = new TextEncoder().encode(JSON.stringify(request.setup));
      const [socket] = await Promise.race([Promise.all([connection, request.verified]), failure(cell)]);
      link.locate(id);
      cell.connect(socket, setupJson);
      isConnected = true;
      await cell.ready;
      const pid = await Promise.race([located.promise, failure(cell)]);
      return this.#started(request.plugin, id, cell, pid);
    } catch (error) {
      // It may have shown its token all the same, and then nobody else would close its socket.
      if (!isConnected) void connection.then((socket) => socket.close());
      cell.kill(asProblem(request.plugin, error));
      throw (await cell.ended).cause;
    } finally {
      clearTimeout(timer);
      request.signal.removeEventListener("abort", abort);
      forget();
    }
  }

  #createCell(id: string, { plugin, description, setup, onLog }: CellRequest): LiveCell {
    const { link, frameBytesMax, abortGraceMs } = this.options;
    // Of its own, since the plugin's log is not this one's: calls are told no more than that takes.
    const logRate = new Rate(description.limits.logBytesPerSecond);
    const cell = new LiveCell({
      cell: id,
      plugin,
      frameBytesMax,
      outputBytesMax: setup.outputBytesMax,
      streamWindowChars: setup.streamWindowChars,
      queueBytesMax,
      abortGraceMs,
      messagesPerSecond: description.limits.messagesPerSecond,
      lane: this.#lane,
      kill: () => link.kill(id),
      suspend: () => link.suspend(id),
      resume: () => link.resume(id),
      onCall: (calls) => this.#callsReport.began(id, calls),
      onLog: (level, text, sink) => {
        onLog("log", level, text);
        if (sink?.log !== undefined && logRate.take(logBytesOf(text))) sink.log(level, text);
      },
    });
    this.#heartbeat.add(cell);
    void cell.ended.then(() => {
      this.#heartbeat.delete(cell);
      this.#callsReport.forget(id);
    });
    return cell;
  }

  #started(plugin: string, id: string, cell: LiveCell, pid: number | null): StartedCell {
    const { link, stopTimeoutMs } = this.options;
    const audited = () => link.audit(id);
    const started = createStartedCell({ plugin, cell, pid, stopTimeoutMs, audited });
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

/** As the plugin's log counts it: with its newline. */
function logBytesOf(text: string): number {
  return new TextEncoder().encode(text).length + 1;
}

/** Rejects at the end of the cell. */
async function failure(cell: LiveCell): Promise<never> {
  throw (await cell.ended).cause;
}

function startFailed(plugin: string, state: string, cause?: unknown): ProblemError {
  return new ProblemError("PLUGIN_START_FAILED", `Cannot start plugin "${plugin}": ${state}`, { cause });
}

function stopping(plugin: string): ProblemError {
  return new ProblemError("NOT_READY", `Cannot start plugin "${plugin}": Airlock is stopping`);
}

function asProblem(plugin: string, error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  return startFailed(plugin, error instanceof Error ? error.message : String(error), error);
}
