/**
 * The warden's cells: starts them, reads their log, samples them, kills them, and reports their end.
 *
 * It watches from outside and by itself, so that a limit holds while the kernel's event loop is busy and
 * while a plugin blocks its own. Every cell in the map is a live process or one whose end is being read.
 *
 * @module
 */
import type { CellDescription, FromWarden, wardenKillReasons } from "../../schemas/warden_protocol.ts";
import { workerPermissions } from "../permissions.ts";
import { checkDescription, type OwnFolders } from "./check_description.ts";
import { cellCommand, type HostPrograms } from "./command_line.ts";
import { anonymousBytes, innermostChild, programOf } from "./proc.ts";

export interface CellsOptions {
  readonly host: HostPrograms;
  readonly bundleDir: string;
  readonly sampleIntervalMs: number;
  readonly cellsMax: number;
  readonly own: OwnFolders;
  environment(name: string): string | undefined;
  report(message: FromWarden): void;
  /** Resolves when the kernel has taken what was reported so far, or is gone. */
  flushed(): Promise<void>;
  log(message: string): void;
}

type Killed = (typeof wardenKillReasons)[number] | "asked";

interface RunningCell {
  readonly description: CellDescription;
  readonly child: Deno.ChildProcess;
  readonly depth: number;
  readonly temporaryDir: string;
  pid: number | undefined;
  killed: Killed | null;
}

/** Room for the runtime itself, on top of `memoryMb`. */
const runtimeBytes = 48 * 1_048_576;
const logChunkBytes = 8_192;

export class Cells {
  readonly #running = new Map<string, RunningCell>();
  readonly #ends = new Set<Promise<void>>();
  #sampler: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: CellsOptions) {}

  get count(): number {
    return this.#running.size;
  }

  /** Starts a process, or reports why not. */
  start(description: CellDescription, run: { socket: string; folder: string }): void {
    const { cell } = description;
    try {
      if (this.#running.has(cell)) throw new Error(`Cannot start cell "${cell}": it exists`);
      if (this.#running.size >= this.options.cellsMax) {
        throw new Error(`Cannot start cell "${cell}": ${this.options.cellsMax} cells are alive`);
      }
      checkDescription(description, this.options.own);
      const running = this.#spawn(description, run);
      this.#running.set(cell, running);
      const end = this.#untilEnd(running).finally(() => this.#ends.delete(end));
      this.#ends.add(end);
      this.#sampler ??= setInterval(() => this.#sample(), this.options.sampleIntervalMs);
      this.options.report({ type: "started", cell });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.options.report({ type: "refused", cell, message });
    }
  }

  #spawn(description: CellDescription, run: { socket: string; folder: string }): RunningCell {
    const temporaryDir = `${run.folder}/${description.cell}`;
    const { bundleDir, host, environment } = this.options;
    const { program, args, env, ownSession, depth } = cellCommand(
      description,
      { bundleDir, socket: run.socket, temporaryDir },
      host,
      environment,
    );
    if (description.tier === "process") Deno.mkdirSync(temporaryDir, { mode: 0o700 });
    const child = new Deno.Command(program, {
      args,
      env,
      clearEnv: true,
      detached: !ownSession, // a session of its own: Ctrl-C in a terminal is for the warden
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      cwd: "/",
    }).spawn();
    const boot = { socket: run.socket, permissions: workerPermissions(description.grants) };
    void writeAndClose(child.stdin, `${description.token}\n${JSON.stringify(boot)}`);
    return { description, child, depth, temporaryDir, pid: undefined, killed: null };
  }

  /** The process id of the cell's program, not of a wrapper around it. */
  locate(cell: string): void {
    const running = this.#running.get(cell);
    this.options.report({
      type: "located",
      cell,
      pid: running === undefined ? null : this.#pidOf(running) ?? null,
    });
  }

  #pidOf(running: RunningCell): number | undefined {
    if (running.pid !== undefined) return running.pid;
    const pid = innermostChild(running.child.pid, running.depth);
    // Before a wrapper has replaced itself by Deno its numbers are not the cell's.
    if (pid !== undefined && programOf(pid) === this.options.host.deno) running.pid = pid;
    return running.pid;
  }

  kill(cell: string, reason: Killed): void {
    const running = this.#running.get(cell);
    if (running === undefined) return;
    running.killed ??= reason;
    const pid = this.#pidOf(running);
    if (pid !== undefined && pid !== running.child.pid) sendKill(pid);
    endChild(running.child);
  }

  /** Kills every cell and waits for the ends. */
  async killAll(): Promise<void> {
    for (const cell of this.#running.keys()) this.kill(cell, "asked");
    await Promise.all(this.#ends);
  }

  #sample(): void {
    for (const [cell, running] of this.#running) {
      const pid = this.#pidOf(running);
      if (pid === undefined) continue;
      const bytes = anonymousBytes(pid);
      const bytesMax = running.description.limits.memoryMb * 1_048_576 + runtimeBytes;
      if (bytes !== undefined && bytes > bytesMax) this.kill(cell, "LIMIT_MEMORY");
    }
  }

  async #untilEnd(running: RunningCell): Promise<void> {
    const { child, description } = running;
    // Whatever goes wrong in here, the end is reported: the kernel waits for it, and the warden lives on.
    const failed = (error: unknown) =>
      this.options.log(`Cannot clean up after cell "${description.cell}": ${error}`);
    const logs = Promise.all(
      [child.stdout, child.stderr].map((stream) => this.#readLog(running, stream).catch(failed)),
    );
    const { code, signal } = await child.status;
    // From here on its pid may be another's.
    this.#running.delete(description.cell);
    if (this.#running.size === 0) {
      clearInterval(this.#sampler);
      this.#sampler = undefined;
    }
    await logs;
    if (description.tier === "process") await removeFolder(running.temporaryDir).catch(failed);
    this.options.report({
      type: "ended",
      cell: description.cell,
      exitCode: code,
      signal,
      killed: running.killed,
      detail: "",
      calls: [],
    });
  }

  /**
   * Reads at most `logBytesPerSecond`: a plugin that writes more waits in its own write, and costs the
   * warden nothing. What is left when the process has ended is dropped.
   */
  async #readLog(running: RunningCell, stream: ReadableStream<Uint8Array>): Promise<void> {
    const { cell, limits } = running.description;
    const reader = stream.getReader({ mode: "byob" });
    const ended = running.child.status.then(() => "ended" as const);
    const decoder = new TextDecoder();
    let buffer = new ArrayBuffer(logChunkBytes);
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done || value === undefined) return;
      this.options.report({ type: "log", cell, text: decoder.decode(value, { stream: true }) });
      // A kernel that is busy holds the cell up, not the warden's memory.
      await Promise.race([this.options.flushed(), ended]);
      buffer = value.buffer;
      const pauseMs = value.length / Math.max(1, limits.logBytesPerSecond) * 1_000;
      if (pauseMs >= 1 && await pause(pauseMs, ended) === "ended") return await reader.cancel();
    }
  }
}

async function pause<T>(ms: number, orUntil: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  try {
    return await Promise.race([promise, orUntil]);
  } finally {
    clearTimeout(timer);
  }
}

async function writeAndClose(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // The process ended before it read its stdin: its end is reported.
  }
}

function sendKill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Unlike {@linkcode sendKill} it knows whether the process was waited for, and its pid given away. */
function endChild(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

async function removeFolder(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
