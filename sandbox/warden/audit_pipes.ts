/**
 * Audit pipes: named pipes (fifo(7)) through which Deno tells the warden of a cell's permission checks.
 *
 * Deno takes a path for its audit, not a descriptor; a pipe under that name cannot fill a disk, and holds up who
 * writes more than is read. They lie in the run folder, and go with it. A pipe is used by one cell after the
 * other, never by two at once: it is free when nobody can write to it any more.
 *
 * @module
 */
import { closeSync, constants, openSync, readSync } from "node:fs";

/** `path` for the cell, `descriptor` to read from: it never waits. */
export interface AuditPipe extends Disposable {
  readonly path: string;
  readonly descriptor: number;
}

/** Bytes read; 0 when nobody has it open for writing, `undefined` when there is nothing to read. */
export function readPipe(descriptor: number, bytes: Uint8Array): number | undefined {
  try {
    return readSync(descriptor, bytes);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return undefined;
    throw error;
  }
}

/** Made at once: a program has to be started for it. */
const pipesAtOnce = 16;
const makeTimeoutMs = 10_000;

export class AuditPipes {
  readonly #free: string[] = [];
  #making: Promise<void> | undefined;
  #made = 0;

  /** `mkfifo`: the program. `folder` is made with the first of them. */
  constructor(private readonly mkfifo: string, private readonly folder: string) {}

  /** Rejects where pipes cannot be made. */
  async take(): Promise<AuditPipe> {
    for (;;) {
      const path = this.#free.pop();
      if (path === undefined) {
        await (this.#making ??= this.#make());
        continue;
      }
      const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const free = () => this.#free.push(path);
      return {
        path,
        descriptor,
        [Symbol.dispose]() {
          // A process that outlives its cell may still write to it.
          const isWritten = readPipe(descriptor, new Uint8Array(1)) !== 0;
          closeSync(descriptor);
          if (isWritten) Deno.removeSync(path);
          else free();
        },
      };
    }
  }

  async #make(): Promise<void> {
    try {
      await Deno.mkdir(this.folder, { recursive: true, mode: 0o700 });
      const paths = Array.from({ length: pipesAtOnce }, () => `${this.folder}/${++this.#made}`);
      const { success, stderr } = await new Deno.Command(this.mkfifo, {
        args: ["-m", "600", ...paths],
        clearEnv: true,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        signal: AbortSignal.timeout(makeTimeoutMs),
      }).output();
      if (!success) {
        throw new Error(`Cannot make pipes in "${this.folder}": ${new TextDecoder().decode(stderr).trim()}`);
      }
      this.#free.push(...paths);
    } finally {
      this.#making = undefined;
    }
  }
}
