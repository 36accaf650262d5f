/**
 * The ledger: an append-only log of everything the kernel does, that shows when it was changed.
 *
 * ## Opening
 *
 * {@linkcode openLedger} locks the folder, reads the persisted checkpoint and checks its signature, and reads
 * the log against it (`recovery.ts`). A log that was changed below that checkpoint does not open. A log
 * that a crash left behind is cut after its last whole record, above the checkpoint only; the cut bytes stay
 * in `cut/`, and a `ledger.recovered` record tells of them. There is no other way to open, so recovery runs at
 * every start.
 *
 * Of a long log the last `openRecordsMax` records are read then: the tree before them is taken from the tiles
 * (`tiles.ts`), if that gives the root hash that was signed; otherwise all is read and the tiles are made anew.
 * The older records are read in the background (`audit.ts`). One that was changed makes the ledger fail.
 *
 * ## Appending
 *
 * Records are committed in groups (`commit_queue.ts`): one write, one fdatasync, one signature for all that
 * arrived while the group before was being written. Memory runs ahead of the disk only within one group. Tiles
 * are written after the acknowledgement.
 *
 * ## Passing from one key to the next
 *
 * {@linkcode Ledger.rotateKey} makes a key, records it (`ledger.rotated`) under a checkpoint that the old key alone
 * signed, and lets both sign from then on, so that whoever trusts the old one can learn of the new one from the log.
 * {@linkcode Ledger.retireKey} records the end of the old one, and drops it.
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
 *   someone with access to the folder goes unseen here, and entries that they add at the end are signed at the
 *   next start (not such that change keys); holders of a newer checkpoint still see the first.
 *
 *     DATA/ledger/lock  signing.key  checkpoint  checkpoints.log  log/<first index>.ndjson  tiles/<level>  cut/
 *
 * @module
 */
import type { SlowLane } from "../../sandbox/slow_lane.ts";
import { join } from "node:path";
import type { CheckpointView } from "../../schemas/api.ts";
import type { LedgerRecord } from "../../schemas/ledger_event.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import type { CommitmentRow, LedgerEventInput } from "./event.ts";
import { FileLedger } from "./file_ledger.ts";
import { namingFirstBad } from "./verify/first_bad_entry.ts";
import { lockFolder } from "./folder_lock.ts";
import { type Identity, readIdentity } from "./identity.ts";
import { denoFiles, type LedgerFiles, makeDurableFolder } from "./ledger_files.ts";
import type { LedgerReader } from "./ledger_reader.ts";
import { firstIndexOfFile, LogWriter } from "./log_files.ts";
import { cutLog, listPendingCuts, type LogScan, rewriteTail, scanLog, settleCut } from "./recovery.ts";
import { Tiles } from "./tiles.ts";
import { coverRange, Frontier } from "./tree.ts";

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
  /** Records that are read before it opens; older ones are read after it, `auditRecordsPerSecond` of them. */
  readonly openRecordsMax: number;
  readonly auditRecordsPerSecond: number;
  /** Records that one request with a filter looks at. */
  readonly filterRecordsMax: number;
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
  /**
   * The ledger can no longer write, or an old record was changed (then `cause` is a LedgerCorruptError): stop the
   * process. Called at most once.
   */
  fatal(error: Error): void;
  /** Each record that is read as the ledger opens, in order: all of them, or the last ones of a long log. */
  scanned?(record: LedgerRecord): void;
  /** Something was damaged and mended. */
  warn?(message: string): void;
  readonly files?: LedgerFiles;
  /** Where large values are hashed: the kernel's; one of its own where it is left out. */
  readonly lane?: SlowLane;
  /** A batch is durable. */
  committed?(batch: { entries: number; durationMs: number }): void;
}

export interface Appended {
  readonly index: number;
  readonly size: number;
  /** base64 of the signed note that covers it. */
  readonly checkpoint: string;
}

/** Which key began or ceased to sign. */
export interface KeyChanged extends Appended {
  readonly key: string;
}

export interface Ledger extends AsyncDisposable {
  readonly origin: string;
  /** Of the keys that sign, the newest first: two while the ledger passes from one to the next. */
  readonly verifierKeys: readonly string[];
  /** Entries that are durable. */
  readonly size: number;
  readonly reader: LedgerReader;
  /**
   * Resolves when the record is durable. Rejects with ProblemError: QUEUE_FULL, NOT_READY once closed, INTERNAL
   * once failed; with TypeError or RangeError when the event does not fit.
   */
  append(event: LedgerEventInput): Promise<Appended>;
  /** Of the durable size. */
  checkpoint(): CheckpointView;
  /** base64 of the note of {@linkcode checkpoint}. */
  checkpointBase64(): string;
  /** Lets a new key sign beside the old one. Rejects with CONFLICT while there are two. */
  rotateKey(actor: string): Promise<KeyChanged>;
  /** Lets the newer of two keys sign alone. Rejects with CONFLICT when there is one. */
  retireKey(actor: string): Promise<KeyChanged>;
}

const lockTimeoutMs = 3_000;

/**
 * Opens the ledger in a folder, or makes it. Throws LedgerCorruptError when it was changed, ProblemError CONFLICT
 * when another process has it open, CONFIG_INVALID when it has another origin.
 */
export async function openLedger(options: LedgerOptions, deps: LedgerDeps): Promise<Ledger> {
  const files = deps.files ?? denoFiles;
  const { folder } = options;
  await makeDurableFolder(files, folder);
  // Until the ledger is there, and closes all of it.
  await using opened = new AsyncDisposableStack();
  const lock = opened.adopt(
    await lockFolder(files, folder, options.lockTimeoutMs ?? lockTimeoutMs),
    (file) => file.close(),
  );
  for (const name of ["log", "cut"]) await makeDurableFolder(files, join(folder, name));
  const identity = await readIdentity(files, options, deps.randomBytes);
  const tiles = opened.adopt(await Tiles.open(files, join(folder, "tiles")), (file) => file.close());
  const scan = await recover({ files, options, deps, tiles }, identity);
  deps.commitments.deleteFrom(scan.tree.size);
  const log = opened.adopt(await LogWriter.create(files, join(folder, "log")), (file) => file.close());
  const ledger = new FileLedger({ files, options, deps, lock, log, tiles, identity, scan });
  opened.move();
  await using begun = new AsyncDisposableStack();
  begun.use(ledger);
  if (scan.tree.size === 0) await ledger.appendCreated();
  for (const cut of await listPendingCuts(files, join(folder, "cut"))) {
    await ledger.appendRecovered(cut.bytesCut, cut.cutSha256);
    await settleCut(files, cut);
  }
  await ledger.resumeKeyChange(identity.nextSigner, scan.keyChanges);
  if (ledger.size > identity.checkpoint.size) await ledger.publish();
  ledger.audit(scan.start);
  begun.move();
  return ledger;
}

interface RecoveryParts {
  readonly files: LedgerFiles;
  readonly options: LedgerOptions;
  readonly deps: LedgerDeps;
  readonly tiles: Tiles;
}

/**
 * Checks the log against the persisted checkpoint, takes out of it what a crash left at its end, and brings the
 * tiles to its size. `start`: the first record that was read.
 */
async function recover(
  { files, options, deps, tiles }: RecoveryParts,
  identity: Identity,
): Promise<LogScan & { readonly start: number }> {
  const { folder, openRecordsMax } = options;
  const { checkpoint } = identity;
  const start = firstIndexOfFile(Math.max(0, checkpoint.size - openRecordsMax));
  const isRebuilt = start > 0 && !await areBelieved(tiles, start, checkpoint);
  if (isRebuilt) {
    deps.warn?.(`The tiles in "${join(folder, "tiles")}" do not fit the log: they are made anew`);
    await tiles.reset(0);
  }
  let isRestored = false;
  const tree = new Frontier((level, rootHash) => {
    if (isRestored) tiles.take(level, rootHash);
  });
  const before = coverRange(0, isRebuilt ? 0 : start);
  for (const place of before) tree.appendSubtree(await tiles.subtree(place), place.level);
  isRestored = true;
  const scan = await namingFirstBad({ files, folder }, checkpoint, () =>
    scanLog(files, join(folder, "log"), {
      anchor: checkpoint,
      tree,
      ...(deps.scanned === undefined ? {} : { scanned: deps.scanned }),
      // Otherwise what is there says, should the log have been changed, where.
      ...(isRebuilt ? { fileScanned: () => tiles.write() } : {}),
    }));
  // Nothing of the log has been changed so far: one of another ledger stays as it is.
  checkOwn(scan, identity, join(folder, "log"));
  await cutLog(files, join(folder, "cut"), scan.tree.size, scan.cut);
  await rewriteTail(files, scan.unanchored);
  if (!isRebuilt) await tiles.reset(start);
  await tiles.write();
  await tiles.sync();
  return Object.assign(scan, { start: isRebuilt ? 0 : start });
}

/** Whether the tiles of all before `start`, and those after it, give the root hash that was signed. */
async function areBelieved(tiles: Tiles, start: number, { size, rootHash }: Checkpoint): Promise<boolean> {
  return (await tiles.frontier(start, size))?.rootHash() === rootHash;
}

/**
 * Entries above the checkpoint are signed next, and whoever could write the folder may have put them there: of keys
 * they name those only that this ledger holds. A crash leaves no other.
 */
function checkOwn(scan: LogScan, { origin, signers, nextSigner, checkpoint }: Identity, path: string): void {
  const keys = signers.map(({ verifier }) => verifier.text);
  const { created } = scan;
  const isForeign = created !== undefined &&
    (created.origin !== origin || checkpoint.size === 0 && !keys.some((key) => created.keys.includes(key)));
  if (isForeign) {
    const state = `entry 0 names the ledger "${created.origin}", the checkpoint is of "${keys.join()}"`;
    throw new LedgerCorruptError(`Cannot open ledger "${path}": ${state}`, path, 0);
  }
  for (const { index, type, key } of scan.keyChanges) {
    const isOurs = type === "ledger.rotated"
      ? [...keys, nextSigner?.verifier.text].includes(key)
      : keys.length === 2 && key === keys[0];
    if (index < checkpoint.size || isOurs) continue;
    const state = `entry ${index}, which no checkpoint covers, changes keys and is not this ledger's`;
    throw new LedgerCorruptError(`Cannot open ledger "${path}": ${state}`, path, index);
  }
}
