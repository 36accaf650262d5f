/**
 * The audit of one cell: what its code asked Deno for, read from outside and counted.
 *
 * Deno writes a line for each permission check, whatever its outcome, and the one who makes the check waits until
 * it is written. So what is read slowly slows down who floods it, and costs nobody else: lines are read at a rate,
 * equal ones are summed, and while there are as many different ones as one report takes, or the kernel has not
 * taken the last one, nothing is read, and nothing is dropped. A little is each cell's own; what it makes beyond that,
 * all cells of the machine share ({@linkcode AuditShare}).
 *
 * Left out is what Airlock itself asks for, known by its place: all before the read of the guest host, which comes
 * before any code of the plugin's; the bundle of the validator, once; and each module of the package, once.
 *
 * What it cannot see: `run`, of which Deno writes nothing (2.9.6); what a granted program does, which Deno does not
 * check; and from which folder a relative path was meant, if the process has changed its folder since.
 *
 * What a plugin can do to it: a socket of Node's takes any descriptor of its process, so code that means harm can
 * write lines, close the pipe, or have lines lost while it is full. Its cell ends for each of these, within a second
 * or so: see {@linkcode CellAudit.read}. A granted program knows the pipe by its name: it can take lines away, write
 * some, and keep it open.
 *
 * @module
 */
import { fstatSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { type PermissionCheck, reportedChecksMax } from "../../schemas/audit.ts";
import { Rate } from "../rate.ts";
import { auditKey, type AuditLine, AuditLines, clipResource, parseAuditKey } from "./audit_lines.ts";
import { type AuditPipe, readPipe } from "./audit_pipes.ts";
import { workingFolderOf, writerState } from "./proc.ts";

export interface CellAuditOptions {
  readonly pipe: AuditPipe;
  /** Holds the program of the cell and of the guest. */
  readonly bundleDir: string;
  readonly packageDir: string;
  readonly bytesPerSecond: number;
  readonly share: AuditShare;
  /** Of the Deno process, as soon as there is one. */
  pid(): number | undefined;
  /** `asked`: the question that it answers. */
  report(checks: PermissionCheck[], asked: number | null): void;
  /** Resolves when the kernel has taken what was reported so far, or is gone. */
  flushed(): Promise<void>;
}

/** Of all cells of a warden, beside the little that is each cell's own. */
export class AuditShare {
  readonly bytes = new Rate(4_194_304);
  readonly checks = new Rate(4_096);
}

/** Each cell's own in a second, whatever the others make. */
const own = { bytes: 16_384, checks: 32 } as const;
/** Read at once. A pipe holds four of them: pipe(7). */
const pieceBytes = 16_384;
/** A pipe has sixteen pages; a line begins a new one where it does not fit into the last. */
const pageBytes = 4_096;
/** Since a pipe that full may have had no room for a line. */
const fullBytes = 7 * pageBytes;
const lookMs = 500;
/** Between two reports that are not full. */
const reportMs = 250;
/** Full ones, before the one that is the answer. */
const answerReportsMax = 4;
/** After the end of a cell: what is in its pipe. */
const lastPiecesMax = 8;
/** Modules whose loading is told from a read by the plugin; no honest package has as many. */
const modulesMax = 1_024;
const modulePattern = /\.[cm]?[jt]sx?$/;

export class CellAudit implements Disposable {
  readonly #piece = new Uint8Array(pieceBytes);
  readonly #lines = new AuditLines();
  readonly #decoder = new TextDecoder();
  readonly #bytes: Rate;
  readonly #own = { bytes: new Rate(own.bytes), checks: new Rate(own.checks) };
  readonly #checks = new Map<string, PermissionCheck>();
  readonly #ownBundles: Set<string>;
  readonly #modules = new Set<string>();
  /** Until then it is Airlock that asks. */
  readonly #guest: string;
  #isGuestLoaded = false;
  #hasWriter = false;
  /** A report is on its way to the kernel. */
  #isLeaving = false;
  #reportDueMs = 0;
  #lookDueMs = 0;
  /** Lines came since the last look at who has the pipe open. */
  #isUnwatched = false;
  /** The last time. */
  #bytesRead = 0;
  #fault: string | undefined;

  constructor(private readonly options: CellAuditOptions) {
    const { bundleDir, bytesPerSecond } = options;
    this.#bytes = new Rate(bytesPerSecond);
    this.#guest = `${bundleDir}/guest.js`;
    this.#ownBundles = new Set([`${bundleDir}/data_check.js`]);
  }

  /**
   * Reads what there is, as far as it may, and reports it when that is due. What is wrong, if the plugin laid
   * hands on its own audit: its cell is to end.
   */
  read(nowMs: number): string | undefined {
    if (this.#isLeaving) return this.#fault;
    const isAllRead = this.#readAll();
    // Its flags can be taken back, but not at once: whoever has it as a socket has it for a while.
    this.#isUnwatched ||= this.#bytesRead > 0;
    const isDue = this.#isHeldUp || this.#checks.size > 0 && nowMs >= this.#reportDueMs;
    if (isDue && this.#may("checks")) this.#report(null, nowMs);
    // A line that found no room may be lost, and so is one that nobody can write any more.
    if (!isAllRead || this.#isUnwatched && nowMs >= this.#lookDueMs) {
      this.#lookDueMs = nowMs + lookMs;
      this.#isUnwatched = false;
      this.#fault ??= this.#tampering();
    }
    return this.#fault;
  }

  /** Whether so much was there that more may wait. */
  get isDue(): boolean {
    return this.#bytesRead >= pageBytes;
  }

  /** Reports at once, if it is nothing at all; of a flood as much as a pipe holds. */
  answer(question: number, nowMs: number): void {
    this.#readAll();
    for (let reports = 0; reports < answerReportsMax && this.#isHeldUp; reports++) {
      this.#report(null, nowMs);
      this.#readAll();
    }
    this.#report(question, nowMs);
  }

  /** The cell has ended: reports what it left. */
  [Symbol.dispose](): void {
    using _pipe = this.options.pipe;
    for (let pieces = 0; pieces < lastPiecesMax; pieces++) {
      while (!this.#takeLines()) this.#report(null, 0);
      if (!this.#readPiece()) break;
    }
    while (!this.#takeLines()) this.#report(null, 0);
    if (this.#checks.size > 0) this.#report(null, 0);
  }

  /** False where some is left, for want of room or of time, where the pipe was nearly full, and where it was closed. */
  #readAll(): boolean {
    this.#bytesRead = 0;
    while (this.#takeLines()) {
      if (this.#bytes.isSpent || !this.#may("bytes")) return false;
      const read = this.#readPiece();
      if (read === undefined) return this.#bytesRead < fullBytes;
      this.#bytesRead += read;
      this.#bytes.spend(read);
      this.#spend("bytes", read);
      if (read === 0) return !this.#hasWriter;
    }
    return false;
  }

  #may(what: "bytes" | "checks"): boolean {
    return !this.#own[what].isSpent || !this.options.share[what].isSpent;
  }

  #spend(what: "bytes" | "checks", count: number): void {
    const from = this.#own[what].isSpent ? this.options.share : this.#own;
    from[what].spend(count);
  }

  /** Whether lines are left where they are, for want of room in the next report. */
  get #isHeldUp(): boolean {
    return this.#checks.size >= reportedChecksMax;
  }

  #readPiece(): number | undefined {
    const bytes = readPipe(this.options.pipe.descriptor, this.#piece);
    this.#hasWriter ||= bytes !== undefined && bytes > 0;
    this.#lines.push(this.#decoder.decode(this.#piece.subarray(0, bytes ?? 0), { stream: true }));
    return bytes;
  }

  /** Counts the lines that were read. False: there are more of them than the next report takes. */
  #takeLines(): boolean {
    while (!this.#isHeldUp) {
      const line = this.#lines.next();
      if (line === undefined) return true;
      this.#take(line);
    }
    return false;
  }

  #take({ text, isCut }: AuditLine): void {
    const key = auditKey(text);
    const known = key === undefined ? undefined : this.#checks.get(key);
    if (known !== undefined) return void known.count++;
    const parsed = key === undefined ? undefined : parseAuditKey(key, isCut);
    if (key === undefined || parsed === undefined) {
      this.#fault ??= "it wrote into the audit of its permission checks";
      return;
    }
    const check = { ...parsed, resource: this.#nameOf(parsed) };
    if (!this.#isOwn(check)) this.#checks.set(key, { ...check, count: 1 });
  }

  /** A path as the plugin spelled it is relative to where its process is now. */
  #nameOf({ permission, resource }: Omit<PermissionCheck, "count">): string | null {
    const isPath = permission === "read" || permission === "write" || permission === "ffi";
    // `<TMP>` is Deno's word for a place that it will not name.
    if (resource === null || !isPath || /^<.*>$/.test(resource)) return resource && clipResource(resource);
    if (isAbsolute(resource)) return clipResource(resolve(resource));
    const pid = this.options.pid();
    const folder = pid === undefined ? undefined : workingFolderOf(pid);
    return clipResource(resolve(folder ?? "/", resource));
  }

  #isOwn({ permission, resource }: Omit<PermissionCheck, "count">): boolean {
    const isRead = permission === "read" && resource !== null;
    if (!this.#isGuestLoaded) {
      this.#isGuestLoaded = isRead && resource === this.#guest;
      return true;
    }
    if (!isRead) return false;
    if (this.#ownBundles.delete(resource)) return true;
    if (!resource.startsWith(`${this.options.packageDir}/`) || !modulePattern.test(resource)) return false;
    if (this.#modules.has(resource) || this.#modules.size >= modulesMax) return false;
    this.#modules.add(resource);
    return true;
  }

  #report(asked: number | null, nowMs: number): void {
    this.#reportDueMs = nowMs + reportMs;
    const checks = [...this.#checks.values()];
    this.#checks.clear();
    this.#spend("checks", checks.length);
    this.options.report(checks, asked);
    this.#isLeaving = true;
    void this.options.flushed().finally(() => this.#isLeaving = false);
  }

  /** A line may be lost where the pipe is closed, or where a write to it does not wait for room. */
  #tampering(): string | undefined {
    const pid = this.options.pid();
    const { dev, ino } = fstatSync(this.options.pipe.descriptor);
    const state = pid === undefined ? undefined : writerState(pid, dev, ino);
    if (state === "closed") return "it closed the audit of its permission checks";
    return state === "as a socket" ? "it took hold of the audit of its permission checks" : undefined;
  }
}
