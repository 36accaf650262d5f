/**
 * The ledger: an append-only log of everything the kernel does, that shows when it was changed.
 *
 * ## Opening
 *
 * {@linkcode openLedger} locks the folder, reads the persisted checkpoint and checks its signature, and reads
 * the whole log against it (`recovery.ts`). A log that was changed below that checkpoint does not open. A log
 * that a crash left behind is cut after its last whole record, above the checkpoint only; the cut bytes stay
 * in `cut/`, and a `ledger.recovered` record tells of them. There is no other way to open, so recovery runs at
 * every start.
 *
 * ## Appending
 *
 * Records are committed in groups (`commit_queue.ts`): one write, one fdatasync, one signature for all that
 * arrived while the group before was being written. Memory runs ahead of the disk only within one group.
 *
 * ## Closing and failing
 *
 * Closing writes what waits and publishes the last checkpoint. When the disk refuses anything, the ledger has
 * **failed**: what waits is rejected, and so is every later append, `fatal` is called, once, and the process is
 * expected to end. No sync is tried again; the next start finds out what the disk has.
 *
 * ## What is durable, and when
 *
 * - `append()` resolves: the record and all before it are in the log, synced, and stay through any crash. Its
 *   salts were handed to the store.
 * - `append()` rejects after a failure, or the process dies before: the record may be there at the next start,
 *   or not; never half of it.
 * - A checkpoint leaves this process, by any way, only after the entries it covers are durable: no log is ever
 *   shorter than a checkpoint that someone holds.
 * - The file `checkpoint` may lag behind (`checkpoint_file.ts`). In that window a change of the last entries by
 *   someone with access to the folder goes unseen here; holders of a newer checkpoint still see it.
 *
 *     DATA/ledger/lock  signing.key  checkpoint  checkpoints.log  log/<first index>.ndjson  cut/
 *
 * @module
 */
import { join } from "node:path";
import type { CheckpointView, LedgerEntry } from "../../schemas/api.ts";
import { type Checkpoint, signCheckpoint } from "./checkpoint.ts";
import { CheckpointPublisher } from "./checkpoint_file.ts";
import { CommitQueue } from "./commit_queue.ts";
import { LedgerCorruptError } from "./corrupt_error.ts";
import {
  type CommitmentRow,
  createSalts,
  type EventTools,
  type LedgerEventInput,
  type PreparedEvent,
  prepareEvent,
} from "./event.ts";
import { lockFolder } from "./folder_lock.ts";
import { readIdentity } from "./identity.ts";
import { denoFiles, type LedgerFile, type LedgerFiles, makeDurableFolder } from "./ledger_files.ts";
import { fileRecordsMax, LogWriter, readEntries } from "./log_files.ts";
import { firstPrev, placeRecord } from "./record.ts";
import { cutLog, listPendingCuts, type LogScan, rewriteTail, scanLog, settleCut } from "./recovery.ts";
import { type Signer } from "./signed_note.ts";
import { type Frontier, hashLeaf } from "./tree.ts";

export type { CommitmentRow, LedgerEventInput } from "./event.ts";

export interface LedgerOptions {
  /** Created if need be, with a name that is made durable: its parent must be readable. */
  readonly folder: string;
  /** Name of the log in its key and checkpoints. Settled when the ledger is made; a random one by default. */
  readonly origin?: string;
  readonly batchRecordsMax: number;
  readonly queueRecordsMax: number;
  /** Values up to this size are handed to the store beside their salt. */
  readonly valueBytesMax: number;
  /** How long to wait for another process to let go of the folder. */
  readonly lockTimeoutMs?: number;
  /** Under load the file `checkpoint` is written once in this time. */
  readonly checkpointIntervalMs?: number;
}

/** Keeps what opens commitments. */
export interface CommitmentSink {
  /**
   * Called once for each batch that has commitments, before its records are acknowledged; they may not be
   * durable yet. An error is one of the disk: the ledger fails.
   */
  save(rows: readonly CommitmentRow[]): void;
  /**
   * Deletes what is at and above `index`: it opens records that a crash took from the log, and their indexes are
   * about to be used again. Called once, before the first append.
   */
  deleteFrom(index: number): void;
}

export interface LedgerDeps {
  nowMs(): number;
  randomBytes(count: number): Uint8Array;
  readonly commitments: CommitmentSink;
  /** The ledger can no longer write: stop the process. Called at most once. */
  fatal(error: Error): void;
  readonly files?: LedgerFiles;
  /** A batch is durable. */
  committed?(batch: { entries: number; durationMs: number }): void;
}

export interface Appended {
  readonly index: number;
  readonly size: number;
  /** base64 of the signed note that covers it. */
  readonly checkpoint: string;
}

export interface Ledger extends AsyncDisposable {
  readonly origin: string;
  readonly verifierKey: string;
  /** Entries that are durable. */
  readonly size: number;
  /**
   * Resolves when the record is durable. Rejects with ProblemError: QUEUE_FULL, NOT_READY once closed, INTERNAL
   * once failed; with TypeError or RangeError when the event does not fit.
   */
  append(event: LedgerEventInput): Promise<Appended>;
  /** Of the durable size. */
  checkpoint(): CheckpointView;
  /** base64 of the note of {@linkcode checkpoint}. */
  checkpointBase64(): string;
  /** Durable entries after the index `after` (from the first one without it), ascending. `limit`: 1 to 1000. */
  entries(query: { readonly after?: number; readonly limit: number }): Promise<LedgerEntry[]>;
}

const lockTimeoutMs = 3_000;
const checkpointIntervalMs = 1_000;
const entriesLimitMax = 1_000;

/**
 * Opens the ledger in a folder, or makes it. Throws LedgerCorruptError when it was changed, ProblemError CONFLICT
 * when another process has it open, CONFIG_INVALID when it has another origin.
 */
export async function openLedger(options: LedgerOptions, deps: LedgerDeps): Promise<Ledger> {
  const files = deps.files ?? denoFiles;
  const { folder } = options;
  await makeDurableFolder(files, folder);
  const lock = await lockFolder(files, folder, options.lockTimeoutMs ?? lockTimeoutMs);
  let ledger: FileLedger | undefined;
  try {
    await makeDurableFolder(files, join(folder, "log"));
    await makeDurableFolder(files, join(folder, "cut"));
    const { signer, checkpoint } = await readIdentity(files, options, deps.randomBytes);
    const scan = await recover(files, folder, signer, checkpoint);
    deps.commitments.deleteFrom(scan.tree.size);
    const log = await LogWriter.create(files, join(folder, "log"));
    ledger = new FileLedger({ files, options, deps, lock, log, signer, scan });
    if (scan.tree.size === 0) await ledger.appendCreated();
    for (const cut of await listPendingCuts(files, join(folder, "cut"))) {
      await ledger.appendRecovered(cut.bytesCut, cut.cutSha256);
      await settleCut(files, cut);
    }
    if (ledger.size > checkpoint.size) await ledger.publish();
    return ledger;
  } catch (error) {
    if (ledger === undefined) lock.close();
    else await ledger[Symbol.asyncDispose]();
    throw error;
  }
}

/** Checks the log against the persisted checkpoint, and takes out of it what a crash left at its end. */
async function recover(
  files: LedgerFiles,
  folder: string,
  signer: Signer,
  checkpoint: Checkpoint,
): Promise<LogScan> {
  const { name, text } = signer.verifier;
  const scan = await scanLog(files, join(folder, "log"), checkpoint);
  // Nothing has been changed so far: a log of another ledger stays as it is.
  if (scan.created !== undefined && (scan.created.origin !== name || !scan.created.keys.includes(text))) {
    const state = `entry 0 names the ledger "${scan.created.origin}", the checkpoint is of "${text}"`;
    throw new LedgerCorruptError(`Cannot open ledger "${folder}": ${state}`, join(folder, "log"), 0);
  }
  await cutLog(files, join(folder, "cut"), scan.tree.size, scan.cut);
  await rewriteTail(files, scan.unanchored);
  return scan;
}

interface FileLedgerParts {
  readonly files: LedgerFiles;
  readonly options: LedgerOptions;
  readonly deps: LedgerDeps;
  readonly lock: LedgerFile;
  readonly log: LogWriter;
  readonly signer: Signer;
  readonly scan: LogScan;
}

class FileLedger implements Ledger {
  readonly #parts: FileLedgerParts;
  readonly #tools: EventTools;
  readonly #queue: CommitQueue<PreparedEvent, Appended>;
  readonly #publisher: CheckpointPublisher;
  /** Ahead of the disk while a batch is being written. Only #commit() appends to it. */
  readonly #tree: Frontier;
  #prev: string;
  /** The newest checkpoint, of a durable size. Only #commit() replaces it. */
  #durable: { readonly view: CheckpointView; readonly base64: string };
  #closing: Promise<void> | undefined;

  constructor(parts: FileLedgerParts) {
    const { files, options, deps, signer, scan } = parts;
    this.#parts = parts;
    this.#tools = {
      nowMs: deps.nowMs,
      nextSalt: createSalts(deps.randomBytes),
      valueBytesMax: options.valueBytesMax,
    };
    this.#tree = scan.tree;
    this.#prev = scan.lastLeafHash ?? firstPrev(signer.verifier.name);
    this.#durable = this.#sign();
    this.#queue = new CommitQueue({
      name: this.origin,
      waitingMax: options.queueRecordsMax,
      // A batch lies in one file, so that a file is synced to its end before the next one exists.
      batchMax: () => Math.min(options.batchRecordsMax, fileRecordsMax - (this.#tree.size % fileRecordsMax)),
      commit: (batch) => this.#commit(batch),
      failed: (error) => this.#failed(error),
    });
    this.#publisher = new CheckpointPublisher({
      files,
      folder: options.folder,
      intervalMs: options.checkpointIntervalMs ?? checkpointIntervalMs,
      failed: (error) => this.#queue.fail(error),
    });
  }

  get origin(): string {
    return this.#parts.signer.verifier.name;
  }

  get verifierKey(): string {
    return this.#parts.signer.verifier.text;
  }

  get size(): number {
    return this.#durable.view.size;
  }

  async append(event: LedgerEventInput): Promise<Appended> {
    return await this.#queue.push(prepareEvent(event, this.#tools));
  }

  checkpoint(): CheckpointView {
    return this.#durable.view;
  }

  checkpointBase64(): string {
    return this.#durable.base64;
  }

  async entries(
    { after = -1, limit }: { readonly after?: number; readonly limit: number },
  ): Promise<LedgerEntry[]> {
    if (
      !Number.isSafeInteger(after) || after < -1 || !Number.isInteger(limit) || limit < 1 ||
      limit > entriesLimitMax
    ) {
      throw new RangeError(
        `Cannot read ${limit} entries after ${after}: at most ${entriesLimitMax} after an index`,
      );
    }
    const first = after + 1;
    const { files, log } = this.#parts;
    return await readEntries(files, log.folder, first, Math.min(this.size, first + limit));
  }

  appendCreated(): Promise<Appended> {
    const data = { origin: this.origin, keys: [this.verifierKey] };
    return this.append({ type: "ledger.created", actor: "kernel", plugin: "", data });
  }

  appendRecovered(bytesCut: number, cutSha256: string): Promise<Appended> {
    return this.append({
      type: "ledger.recovered",
      actor: "kernel",
      plugin: "",
      data: { bytesCut, cutSha256 },
    });
  }

  /** Writes the newest checkpoint to its file now. */
  async publish(): Promise<void> {
    this.#publisher.offer(this.#durable.view.note);
    await this.#publisher.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#queue.close();
    try {
      if (this.#queue.state === "failed") await this.#publisher.stop();
      else await this.#publisher.flush();
    } catch (error) {
      this.#queue.fail(error);
    } finally {
      this.#parts.log.close();
      this.#parts.lock.close();
    }
  }

  /** Gives the events of `batch` their places and makes them durable, in one write and one sync. */
  async #commit(batch: readonly PreparedEvent[]): Promise<Appended[]> {
    const startedMs = performance.now();
    const firstIndex = this.#tree.size;
    const rows: CommitmentRow[] = [];
    let lines = "";
    for (const { text, commitments } of batch) {
      const index = this.#tree.size;
      const line = placeRecord(text, index, this.#prev);
      lines += `${line}\n`;
      this.#prev = hashLeaf(line);
      this.#tree.append(this.#prev);
      for (const commitment of commitments) rows.push({ index, ...commitment });
    }
    // A crash in here leaves some of these records, none of them acknowledged, and salts of records that may
    // not be there: who opens the store next deletes those. The disk syncs while the salts are saved.
    await Promise.all([
      this.#parts.log.append(firstIndex, new TextEncoder().encode(lines)),
      this.#save(rows),
    ]);
    // A crash from here on leaves all of them, without an acknowledgement.
    this.#durable = this.#sign();
    this.#parts.deps.committed?.({ entries: batch.length, durationMs: performance.now() - startedMs });
    this.#publisher.offer(this.#durable.view.note);
    const { view: { size }, base64: checkpoint } = this.#durable;
    return batch.map((_, position) => ({ index: firstIndex + position, size, checkpoint }));
  }

  // deno-lint-ignore require-await -- what it throws must not keep the caller from awaiting the log
  async #save(rows: readonly CommitmentRow[]): Promise<void> {
    if (rows.length > 0) this.#parts.deps.commitments.save(rows);
  }

  /** The checkpoint of the tree, all of which is durable. */
  #sign(): { view: CheckpointView; base64: string } {
    const { signer } = this.#parts;
    const [origin, size, rootHash] = [signer.verifier.name, this.#tree.size, this.#tree.rootHash()];
    const note = signCheckpoint({ origin, size, rootHash }, signer);
    return {
      view: { origin, size, rootHash: Uint8Array.fromHex(rootHash).toBase64(), note },
      base64: new TextEncoder().encode(note).toBase64(),
    };
  }

  #failed(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    this.#parts.deps.fatal(
      new Error(`Cannot write ledger "${this.#parts.options.folder}": ${cause.message}`, { cause }),
    );
  }
}
