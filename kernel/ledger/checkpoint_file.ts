/**
 * The persisted checkpoint: the file `checkpoint`, from which recovery starts, and `checkpoints.log`, which
 * keeps each one that ever stood in it, one base64 of a signed note a line.
 *
 * It follows the log and may lag behind it: an acknowledged record rests on the log's own sync, not on this
 * file, and recovery keeps every whole record above it. So it costs an append nothing. It is written at most
 * once in an interval while records come, and at close.
 *
 * Invariant: only checkpoints of durable sizes are offered, so neither file is ever ahead of the log.
 *
 * @module
 */
import { join } from "node:path";
import {
  fileMode,
  type LedgerFiles,
  readFile,
  readFrom,
  replaceFile,
  withFile,
  writeAll,
} from "./ledger_files.ts";

const noteBytesMax = 4_096;
const newline = 0x0a;

/** The text of the persisted checkpoint, unchecked, or undefined in a folder without one. */
export async function readCheckpointFile(files: LedgerFiles, folder: string): Promise<string | undefined> {
  const bytes = await readFile(files, join(folder, "checkpoint"), noteBytesMax);
  // Bytes that are no UTF-8 become U+FFFD, and the signature is not of those.
  return bytes === undefined ? undefined : new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Replaces the persisted checkpoint by the signed `note`; durable when it resolves. */
export async function publishCheckpoint(files: LedgerFiles, folder: string, note: string): Promise<void> {
  const bytes = new TextEncoder().encode(note);
  // The log of checkpoints first: a crash between the two leaves one in it that the file never held, which is
  // true all the same. The other way round one could be missing.
  await appendLine(files, join(folder, "checkpoints.log"), bytes.toBase64());
  await replaceFile(files, join(folder, "checkpoint"), bytes);
}

export interface PublisherOptions {
  readonly files: LedgerFiles;
  readonly folder: string;
  readonly intervalMs: number;
  /** Called before each publication: makes durable what rests on a checkpoint of the durable size. */
  prepare(): Promise<void>;
  /** The disk refused. Called once; nothing is published after it. */
  failed(error: unknown): void;
}

export class CheckpointPublisher {
  readonly #options: PublisherOptions;
  /** Signed notes. */
  #newest: string | undefined;
  #published: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The last publication: one at a time, in order, since all of them write the same files. */
  #writing: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Publishes `checkpoint`, or a newer one, within the interval. */
  offer(checkpoint: string): void {
    this.#newest = checkpoint;
    if (!this.#isOver) {
      this.#timer ??= setTimeout(() => this.#publishInBackground(), this.#options.intervalMs);
    }
  }

  /** Publishes the newest checkpoint now; it is durable when this resolves. */
  async flush(): Promise<void> {
    await this.#publish();
  }

  /** Publishes nothing more, once what is under way has ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing.catch(() => {}); // whoever asked for it was told
  }

  #publishInBackground(): void {
    this.#publish().then(() => {
      this.#timer = undefined;
      if (this.#newest !== undefined && this.#newest !== this.#published) this.offer(this.#newest);
    }, (error) => this.#options.failed(error));
  }

  /** After an error nothing is published: the next ones end with it too. */
  #publish(): Promise<void> {
    return this.#writing = this.#writing.then(() => this.#publishNewest());
  }

  async #publishNewest(): Promise<void> {
    const { files, folder } = this.#options;
    const checkpoint = this.#newest;
    if (checkpoint === undefined || checkpoint === this.#published) return;
    await this.#options.prepare();
    await publishCheckpoint(files, folder, checkpoint);
    this.#published = checkpoint;
  }
}

/** Appends a line, over a torn one that a crash may have left at the end. */
async function appendLine(files: LedgerFiles, path: string, line: string): Promise<void> {
  await withFile(files, path, { read: true, write: true, create: true, mode: fileMode }, async (file) => {
    const fileBytes = await file.seek(0, Deno.SeekMode.End);
    // A line is at most base64 of the longest note, so a torn one begins within this many bytes of the end.
    const endBytes = Math.min(fileBytes, 2 * noteBytesMax);
    const end = await readFrom(file, fileBytes - endBytes, endBytes);
    const wholeBytes = fileBytes - end.length + end.lastIndexOf(newline) + 1;
    await file.truncate(wholeBytes);
    await file.seek(wholeBytes, Deno.SeekMode.Start);
    await writeAll(file, new TextEncoder().encode(`${line}\n`));
    await file.sync();
  });
}
