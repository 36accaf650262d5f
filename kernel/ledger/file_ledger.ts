/**
 * The ledger in a folder that was opened and recovered; see `ledger.ts`.
 *
 * @module
 */
import { SlowLane } from "../../sandbox/slow_lane.ts";
import { setTimeout as delay } from "node:timers/promises";
import type { CheckpointView } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { audit } from "./audit.ts";
import { signCheckpoint } from "./checkpoint.ts";
import { CheckpointPublisher } from "./checkpoint_file.ts";
import { CommitQueue } from "./commit_queue.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import {
  type CommitmentRow,
  createSalts,
  type EventTools,
  hashLarge,
  type LedgerEventInput,
  type PreparedEvent,
  prepareEvent,
} from "./event.ts";
import type { Identity } from "./identity.ts";
import type { Appended, KeyChanged, Ledger, LedgerDeps, LedgerOptions } from "./ledger.ts";
import type { LedgerFile, LedgerFiles } from "./ledger_files.ts";
import { createLedgerReader, type LedgerReader } from "./ledger_reader.ts";
import { fileRecordsMax, type LogWriter } from "./log_files.ts";
import { firstPrev, placeRecord } from "./record.ts";
import type { KeyChange, LogScan } from "./recovery.ts";
import type { Signer } from "./signed_note.ts";
import { createNextKey, removeNextKey, replaceSigningKeys } from "./signing_key.ts";
import type { Tiles } from "./tiles.ts";
import { type Frontier, hashLeaf } from "./tree.ts";

const checkpointIntervalMs = 1_000;
const auditAttemptsMax = 10;
const auditRetryMs = 60_000;

export interface FileLedgerParts {
  readonly files: LedgerFiles;
  readonly options: LedgerOptions;
  readonly deps: LedgerDeps;
  readonly lock: LedgerFile;
  readonly log: LogWriter;
  readonly tiles: Tiles;
  readonly identity: Identity;
  readonly scan: LogScan;
}

export class FileLedger implements Ledger {
  readonly reader: LedgerReader;
  readonly #parts: FileLedgerParts;
  readonly #tools: EventTools;
  readonly #lane: SlowLane;
  readonly #queue: CommitQueue<PreparedEvent, Appended>;
  readonly #publisher: CheckpointPublisher;
  /** Ahead of the disk while a batch is being written. Only #commit() appends to it. */
  readonly #tree: Frontier;
  #prev: string;
  /** The older first. Only #sign() replaces them. */
  #signers: readonly Signer[];
  /** A change of keys that is under way. Never rejects. */
  #changing: Promise<unknown> | undefined;
  /** The newest checkpoint, of a durable size. */
  #durable: { readonly view: CheckpointView; readonly base64: string };
  /** Tiles of what is durable are being written. */
  #tiling: Promise<void> = Promise.resolve();
  readonly #closed = new AbortController();
  #auditing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(parts: FileLedgerParts) {
    const { files, options, deps, identity, scan, tiles } = parts;
    this.#parts = parts;
    this.#tools = {
      nowMs: deps.nowMs,
      nextSalt: createSalts(deps.randomBytes),
      valueBytesMax: options.valueBytesMax,
    };
    this.#lane = deps.lane ?? new SlowLane();
    this.#tree = scan.tree;
    this.#prev = scan.lastLeafHash ?? firstPrev(identity.origin);
    this.#signers = identity.signers;
    this.#durable = this.#signed(scan.tree.size, scan.tree.rootHash());
    this.#queue = new CommitQueue({
      name: this.origin,
      waitingMax: options.queueRecordsMax,
      // A batch lies in one file, so that a file is synced to its end before the next one exists.
      batchMax: () => Math.min(options.batchRecordsMax, fileRecordsMax - (this.#tree.size % fileRecordsMax)),
      commit: (batch) => this.#commit(batch),
      acknowledged: () => this.#tiling = tiles.write(),
      failed: (error) => this.#failed(error),
    });
    this.#publisher = new CheckpointPublisher({
      files,
      folder: options.folder,
      intervalMs: options.checkpointIntervalMs ?? checkpointIntervalMs,
      prepare: async () => {
        await this.#tiling;
        await tiles.sync();
      },
      failed: (error) => this.#queue.fail(error),
    });
    this.reader = createLedgerReader({
      ...{ files, folder: options.folder, filterRecordsMax: options.filterRecordsMax },
      // Written after the acknowledgement: who has just got one may ask for a proof.
      tiles: {
        read: async (level, index, width) => {
          await this.#tiling;
          return await tiles.read(level, index, width);
        },
      },
      checkpoint: () => this.checkpoint(),
      keys: () => this.verifierKeys,
    });
  }

  get origin(): string {
    return this.#parts.identity.origin;
  }

  get verifierKeys(): readonly string[] {
    return this.#signers.map(({ verifier }) => verifier.text).reverse();
  }

  get size(): number {
    return this.#durable.view.size;
  }

  async append(event: LedgerEventInput): Promise<Appended> {
    const hashing = hashLarge(event, this.#tools.nextSalt, this.#lane);
    const hashed = hashing instanceof Promise ? await hashing : hashing;
    return await this.#queue.push(prepareEvent(event, this.#tools, hashed));
  }

  checkpoint(): CheckpointView {
    return this.#durable.view;
  }

  checkpointBase64(): string {
    return this.#durable.base64;
  }

  appendCreated(): Promise<Appended> {
    const data = { origin: this.origin, keys: [...this.verifierKeys] };
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

  async rotateKey(actor: string): Promise<KeyChanged> {
    const [current, ...others] = this.#signers;
    if (others.length > 0) {
      throw new ProblemError(
        "CONFLICT",
        `Cannot add a key to ledger "${this.origin}": retire the old one first`,
      );
    }
    return await this.#changeKeys(async () => {
      const next = await createNextKey(this.#keyFiles, current, this.#parts.deps.randomBytes);
      try {
        return await this.#adoptKey(next, actor);
      } catch (error) {
        // Refused, and so nothing was written: the next start must not carry it out.
        if (error instanceof ProblemError && error.code !== "INTERNAL") await removeNextKey(this.#keyFiles);
        throw error;
      }
    });
  }

  /** Goes on with a rotation, or a retirement, that a crash cut short. */
  async resumeKeyChange(next: Signer | undefined, changes: readonly KeyChange[]): Promise<void> {
    if (next !== undefined) {
      // Often only its file was left over.
      if (this.verifierKeys.includes(next.verifier.text)) await this.#sign(this.#signers, this.size - 1);
      else await this.#adoptKey(next, "kernel");
    }
    const [older, ...rest] = this.#signers;
    const isRetired = changes.some(({ type, key }) =>
      type === "ledger.retired" && key === older?.verifier.text
    );
    if (isRetired && rest.length > 0) await this.#sign(rest, this.size - 1);
  }

  /** Has a key sign that is on disk as the next one. */
  async #adoptKey(signer: Signer, actor: string): Promise<KeyChanged> {
    const key = signer.verifier.text;
    const { index } = await this.append({ type: "ledger.rotated", actor, plugin: "", data: { key } });
    // Signed by the old key alone, and on disk before the new one signs anything.
    await this.publish();
    return { ...await this.#sign([...this.#signers, signer], index), key };
  }

  async retireKey(actor: string): Promise<KeyChanged> {
    const [retired, ...rest] = this.#signers;
    if (retired === undefined || rest.length === 0) {
      const state = "it has no other, rotate first";
      throw new ProblemError("CONFLICT", `Cannot retire the key of ledger "${this.origin}": ${state}`);
    }
    return await this.#changeKeys(async () => {
      const key = retired.verifier.text;
      const { index } = await this.append({ type: "ledger.retired", actor, plugin: "", data: { key } });
      await this.publish();
      return { ...await this.#sign(rest, index), key };
    });
  }

  /** One change at a time. What the disk refuses in it fails the ledger. */
  async #changeKeys<T>(change: () => Promise<T>): Promise<T> {
    this.#queue.checkOpen();
    if (this.#changing !== undefined) {
      const state = "another change is under way, ask again later";
      throw new ProblemError("CONFLICT", `Cannot change the keys of ledger "${this.origin}": ${state}`);
    }
    const changing = change();
    this.#changing = changing.catch(() => {});
    try {
      return await changing;
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      this.#queue.fail(error);
      this.#queue.checkOpen();
      throw error;
    } finally {
      this.#changing = undefined;
    }
  }

  /** Has `signers` sign from now on, beginning with the checkpoint of what is durable. */
  async #sign(signers: readonly Signer[], index: number): Promise<Appended> {
    await replaceSigningKeys(this.#keyFiles, signers.map(({ privateKey }) => privateKey));
    this.#signers = signers;
    const { size, rootHash } = this.#durable.view;
    this.#durable = this.#signed(size, Uint8Array.fromBase64(rootHash).toHex());
    await this.publish();
    return { index, size: this.size, checkpoint: this.#durable.base64 };
  }

  get #keyFiles() {
    const { files, options: { folder } } = this.#parts;
    return { files, folder };
  }

  /** Writes the newest checkpoint to its file now. */
  async publish(): Promise<void> {
    this.#publisher.offer(this.#durable.view.note);
    await this.#publisher.flush();
  }

  /** Reads the records below `until` in the background. */
  audit(until: number): void {
    this.#auditing = this.#audit(until);
  }

  async #audit(until: number): Promise<void> {
    const { files, options: { folder, auditRecordsPerSecond: recordsPerSecond }, deps, tiles } = this.#parts;
    const { signal } = this.#closed;
    for (let attempt = 1; attempt <= auditAttemptsMax && !signal.aborted; attempt++) {
      try {
        const mended = await audit({ files, folder, tiles, until, recordsPerSecond, signal });
        if (mended > 0) {
          deps.warn?.(`${mended} stretches of the tiles in "${folder}" were damaged: they are mended`);
        }
        return;
      } catch (error) {
        if (error instanceof LedgerCorruptError) return this.#queue.fail(error);
        if (signal.aborted) return;
        // That a file cannot be read now says nothing of what is in it.
        deps.warn?.(`Cannot read the older records of ledger "${folder}" (attempt ${attempt}): ${error}`);
        await delay(auditRetryMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    await this.#auditing;
    await this.#queue.close();
    await this.#changing;
    try {
      if (this.#queue.state !== "failed") await this.#publisher.flush();
    } catch (error) {
      this.#queue.fail(error);
    } finally {
      await this.#publisher.stop();
      this.#parts.log.close();
      this.#parts.tiles.close();
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
    this.#durable = this.#signed(this.#tree.size, this.#tree.rootHash());
    this.#parts.deps.committed?.({ entries: batch.length, durationMs: performance.now() - startedMs });
    this.#publisher.offer(this.#durable.view.note);
    const { view: { size }, base64: checkpoint } = this.#durable;
    return batch.map((_, position) => ({ index: firstIndex + position, size, checkpoint }));
  }

  // deno-lint-ignore require-await -- what it throws must not keep the caller from awaiting the log
  async #save(rows: readonly CommitmentRow[]): Promise<void> {
    if (rows.length > 0) this.#parts.deps.commitments.save(rows);
  }

  /** The checkpoint of a durable size. */
  #signed(size: number, rootHash: string): { view: CheckpointView; base64: string } {
    const { origin } = this;
    const note = signCheckpoint({ origin, size, rootHash }, this.#signers);
    return {
      view: { origin, size, rootHash: Uint8Array.fromHex(rootHash).toBase64(), note },
      base64: new TextEncoder().encode(note).toBase64(),
    };
  }

  #failed(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    const { folder } = this.#parts.options;
    this.#parts.deps.fatal(new Error(`Cannot go on with ledger "${folder}": ${cause.message}`, { cause }));
  }
}
