/**
 * The processes of one cell: its Deno process, and what that started where programs or libraries are granted.
 *
 * Sealed, all of them descend from the first process of their namespace (bwrap's inner one), orphans included:
 * that is where the list begins. In the process tier nothing is granted that starts a process, and the list is
 * Deno's alone. Before a wrapper has replaced itself by Deno there is nothing to see.
 *
 * Invariant: the CPU time that was reported never exceeds the CPU time that was used. A process may vanish with
 * its time between two looks, or hand it to its parent while the list is read; so what is reported is the
 * larger of two sums that each fall short: what live processes used since the last look, and all times of all
 * processes with their ended children, less what was reported before. What is missed is the time of children
 * that live shorter than a look is apart and whose parent refuses to be told of their end.
 *
 * @module
 */
import { statfsSync } from "node:fs";
import { setPriority } from "node:os";
import {
  childrenOf,
  endedStates,
  innermostChild,
  isThreadAlive,
  type ProcessStat,
  programOf,
  proportionalPageBytes,
  readMemory,
  readStat,
  readUptimeMs,
  StatFile,
  threadsOf,
  type Units,
  writtenBytesOf,
} from "./proc.ts";

export interface CellProcessesOptions {
  /** The process that was spawned, and how many wrappers stay alive above Deno. */
  readonly spawnedPid: number;
  readonly depth: number;
  readonly deno: string;
  /** Whether it was granted something that may start processes beside Deno's. */
  readonly hasPrograms: boolean;
  /** More threads than this are not listed. */
  readonly threadsMax: number;
  readonly units: Units;
}

export interface ProcessesLook {
  /** CPU time since the last look. */
  readonly usedMs: number;
  readonly threads: number;
  /** With the files that are mapped in. */
  readonly rssBytes: number;
  /** A process's first thread has ended and others live: memory and descriptors read as those of none. */
  readonly isUncountable: boolean;
  /** All is as it was at the last look: not even a page of memory is another. */
  readonly isUnchanged: boolean;
}

/** Of a sealed cell's temporary folder: it is memory. */
export interface TemporaryUse {
  /** With what the system itself keeps of each file. */
  readonly bytes: number;
  readonly files: number;
}

/** An empty file in memory: its inode and its name. */
const bytesOfFile = 1_024;
/** A list that grows faster than this many rounds of stopping is that of a cell over its threads. */
const stopRoundsMax = 100;
/** A process that is being started is a copy of Deno's for about this long. */
const copyMs = 100;
const copyDeviation = 0.02;
/** The others count as if they shared nothing. */
const proportionalReadsMax = 4;

export class CellProcesses implements Disposable {
  #pid: number | undefined;
  #stat: StatFile | undefined;
  #processes: ReadonlyMap<number, ProcessStat> = new Map();
  #reportedMs = 0;
  #nice: number | undefined;
  #nicedSessions = new Set<number>();

  #hasMore: boolean;

  constructor(private readonly options: CellProcessesOptions) {
    this.#hasMore = options.hasPrograms;
  }

  /** Of the Deno process, as soon as there is one. */
  get pid(): number | undefined {
    if (this.#pid !== undefined) return this.#pid;
    const { spawnedPid, depth, deno, units } = this.options;
    // Elsewhere there is no wrapper, and nothing to look at.
    if (Deno.build.os !== "linux") return this.#pid = spawnedPid;
    const pid = innermostChild(spawnedPid, depth);
    if (pid === undefined || programOf(pid) !== deno) return undefined;
    this.#stat = StatFile.open(pid, units);
    if (this.#stat !== undefined) this.#pid = pid;
    return this.#pid;
  }

  /** Whether there may be others than Deno's. */
  get hasPrograms(): boolean {
    return this.#hasMore;
  }

  /** Those of the last look. */
  get pids(): number[] {
    return [...this.#processes.keys()];
  }

  /**
   * Looks at all processes, if `isThorough` or if there is a reason for more than one. `undefined`: there is none
   * yet, or no more.
   */
  look(isThorough: boolean): ProcessesLook | undefined {
    const { pid } = this;
    const stat = this.#stat?.read();
    if (pid === undefined || stat === undefined || hasEnded(stat)) return undefined;
    const isListed = isThorough || this.#hasMore;
    if (stat === this.#processes.get(pid) && !isListed) {
      this.#applyNice(stat);
      const { threads, rssBytes } = stat;
      return { usedMs: 0, threads, rssBytes, isUncountable: isUncountable(pid, stat), isUnchanged: true };
    }
    const { wrapper, listed } = isListed ? this.#list(pid, stat) : alone(pid, stat);
    // Nobody granted them: a flaw in the runtime did. They count all the same.
    this.#hasMore ||= listed.size > 1;
    let ownMs = 0;
    let allMs = wrapper?.reapedMs ?? 0;
    let threads = 0;
    let rssBytes = 0;
    let hidesUse = false;
    for (const [id, process] of listed) {
      const before = this.#processes.get(id);
      const isKnown = before?.startedTicks === process.startedTicks;
      ownMs += process.ownMs - (isKnown ? before.ownMs : 0);
      allMs += process.ownMs + process.reapedMs;
      threads += process.threads;
      rssBytes += process.rssBytes;
      hidesUse ||= isUncountable(id, process);
    }
    this.#processes = listed;
    const usedMs = Math.max(ownMs, allMs - this.#reportedMs);
    this.#reportedMs += usedMs;
    this.#applyNice(stat);
    return { usedMs, threads, rssBytes, isUncountable: hidesUse, isUnchanged: false };
  }

  /** All processes but the wrapper. A parent comes before its children, so that no time is counted twice. */
  #list(pid: number, denoStat: ProcessStat) {
    const { depth, spawnedPid, threadsMax, units } = this.options;
    const top = depth === 0 ? pid : innermostChild(spawnedPid, depth - 1) ?? pid;
    const wrapper = top === pid ? undefined : readStat(top, units);
    const listed = new Map([[pid, denoStat]]);
    // Grows while it is read.
    const ids = new Set(top === pid ? [pid] : [pid, ...childrenOf(top)]);
    let threads = 0;
    for (const id of ids) {
      const stat = listed.get(id) ?? readStat(id, units);
      if (stat === undefined) continue;
      listed.set(id, stat);
      // Of one that has ended, too: it may do so between the two reads.
      if (!hasEnded(stat)) threads += stat.threads;
      if (threads > threadsMax) break;
      for (const thread of stat.threads === 1 ? [id] : threadsOf(id)) {
        for (const child of childrenOf(id, thread)) ids.add(child);
      }
    }
    return { wrapper, listed };
  }

  /**
   * Memory of all processes, without files that are mapped in. Above `bytesMax` it is read more exactly, for the
   * largest few: the time of a look is bounded, whatever is shared between however many.
   */
  memoryBytes(bytesMax: number): number {
    const { pids } = this;
    const read = pids.map((pid) => ({ pid, memory: readMemory(pid) ?? { pageBytes: 0, tableBytes: 0 } }));
    const sum = (some: typeof read) =>
      some.reduce((bytes, { memory }) => bytes + memory.pageBytes + memory.tableBytes, 0);
    const bytes = sum(read);
    if (bytes <= bytesMax || pids.length === 1) return bytes;
    const largest = read.filter(({ pid }) => !this.#isCopyOfDeno(pid))
      .sort((a, b) => b.memory.pageBytes - a.memory.pageBytes);
    let exact = sum(largest);
    for (const { pid, memory } of largest.slice(0, proportionalReadsMax)) {
      if (exact <= bytesMax) break;
      exact += (proportionalPageBytes(pid) ?? memory.pageBytes) - memory.pageBytes;
    }
    return exact;
  }

  /**
   * Whether a process is one that Deno has just begun to start, and that still is Deno's own memory: until it
   * becomes another program it reads as large as Deno, without being there twice.
   */
  #isCopyOfDeno(pid: number): boolean {
    const deno = this.#processes.get(this.#pid ?? -1);
    const stat = this.#processes.get(pid);
    if (deno === undefined || stat === undefined || pid === this.#pid) return false;
    const isNear = (a: number, b: number) => Math.abs(a - b) <= copyDeviation * b;
    return stat.stackStart === deno.stackStart && isNear(stat.virtualBytes, deno.virtualBytes) &&
      isNear(stat.rssBytes, deno.rssBytes) &&
      readUptimeMs() - stat.startedTicks * this.options.units.tickMs <= copyMs;
  }

  /** What is in a sealed cell's folder in memory, or `undefined` when that cannot be read. */
  temporaryUse(folder: string): TemporaryUse | undefined {
    try {
      const { blocks, bfree, bsize, files, ffree } = statfsSync(`/proc/${this.#pid}/root${folder}`);
      const used = files - ffree;
      return { bytes: (blocks - bfree) * bsize + used * bytesOfFile, files: used };
    } catch {
      return undefined;
    }
  }

  /** Sets the priority of all threads, if it is another; the next look sees to what is not possible yet. */
  setNice(nice: number): boolean {
    if (nice === this.#nice) return false;
    this.#nice = nice;
    this.#nicedSessions.clear();
    const pids = this.#processes.size === 0 ? [this.options.spawnedPid] : this.pids;
    for (const pid of pids) for (const thread of threadsOf(pid)) setThreadNice(thread, nice);
    return true;
  }

  /**
   * A wrapper hands its niceness down, unless it had split before it got it. Where the system shares the CPU
   * between sessions first, the session has a niceness of its own; each program may begin a new session.
   */
  #applyNice(deno: ProcessStat): void {
    const nice = this.#nice;
    if (nice === undefined) return;
    if (deno.nice < nice) { for (const thread of threadsOf(this.#pid ?? 0)) setThreadNice(thread, nice); }
    if (this.#processes.size === 1 && this.#nicedSessions.has(deno.session)) return;
    const sessions = new Set<number>();
    for (const [pid, { session }] of this.#processes) {
      if (sessions.has(session)) continue;
      if (this.#nicedSessions.has(session) || setSessionNice(pid, nice)) sessions.add(session);
    }
    this.#nicedSessions = sessions;
  }

  /** To disks, since it began. */
  writtenBytes(): number {
    return this.pids.reduce((bytes, pid) => bytes + writtenBytesOf(pid), 0);
  }

  /** Stops every process. False when there is none yet. */
  stop(): boolean {
    const { pid } = this;
    if (pid === undefined) return false;
    const stopped = new Set<number>();
    // Deno first: it starts the others. A process that was sent the signal starts no further one.
    for (let round = 0; round < stopRoundsMax; round++) {
      const found = this.#everything(pid).filter((id) => !stopped.has(id));
      if (found.length === 0) break;
      for (const id of found) {
        stopped.add(id);
        sendSignal(id, "SIGSTOP");
      }
    }
    return true;
  }

  /** Whether the signal has reached every thread: one that is kept off the CPU takes it when it is let on. */
  get areStopped(): boolean {
    if (this.#pid === undefined) return false;
    if (Deno.build.os !== "linux") return true;
    const { units } = this.options;
    return this.#everything(this.#pid).every((pid) =>
      threadsOf(pid).every((thread) => restingStates.has(readStat(thread, units)?.state ?? "X"))
    );
  }

  resume(): void {
    if (this.#pid === undefined) return;
    // Deno last: what it waits for runs by then.
    for (const id of this.#everything(this.#pid).reverse()) sendSignal(id, "SIGCONT");
  }

  /** The Deno process first. Also without a grant of programs: what a flaw let a cell start is no exception. */
  #everything(pid: number): number[] {
    const stat = this.#stat?.read();
    return stat === undefined ? [] : [...this.#list(pid, stat).listed.keys()];
  }

  /**
   * Kills what lies below the process that was spawned: that one is its parent's to kill. A wrapper that dies in the
   * middle of making its namespace leaves a half that waits for its word for ever, before it is bound to die with
   * it. So the wrapper is stopped, and its child killed, first.
   */
  kill(): void {
    const { pid } = this;
    const { depth, spawnedPid, units } = this.options;
    if (depth > 0) {
      sendSignal(spawnedPid, "SIGSTOP");
      for (let read = 0; read < stopReadsMax; read++) {
        if (restingStates.has(readStat(spawnedPid, units)?.state ?? "X")) break;
      }
      for (const child of childrenOf(spawnedPid)) sendSignal(child, "SIGKILL");
    }
    if (pid === undefined || pid === this.options.spawnedPid) return;
    if (this.#stat?.read() !== undefined) sendSignal(pid, "SIGKILL");
  }

  /**
   * Resolves when the Deno process is gone, or after {@linkcode goneMs}. A wrapper that was killed has ended sooner
   * than what was below it.
   */
  async untilGone(): Promise<void> {
    const endsMs = performance.now() + goneMs;
    while (this.#stat?.read() !== undefined && performance.now() < endsMs) {
      await new Promise<void>((resolve) => setTimeout(resolve, goneLookMs));
    }
  }

  [Symbol.dispose](): void {
    this.#stat?.[Symbol.dispose]();
    this.#stat = undefined;
  }
}

const goneMs = 2_000;
const goneLookMs = 2;
/** A process that was sent SIGSTOP rests as soon as it leaves the system call that it is in. */
const stopReadsMax = 100;
/** Stopped, stopped by a tracer, or ended. */
const restingStates = new Set(["T", "t", "Z", "X"]);

function alone(pid: number, stat: ProcessStat) {
  return { wrapper: undefined, listed: new Map([[pid, stat]]) };
}

function hasEnded({ state, threads }: ProcessStat): boolean {
  return threads <= 1 && endedStates.has(state);
}

function isUncountable(pid: number, { state, threads }: ProcessStat): boolean {
  return threads > 1 && endedStates.has(state) &&
    threadsOf(pid).some((thread) => isThreadAlive(pid, thread));
}

function sendSignal(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch {
    // It has ended. What is done to a cell must not end the warden, whatever else it may be.
  }
}

function setThreadNice(thread: number, nice: number): void {
  try {
    setPriority(thread, nice);
  } catch {
    // It has ended; or a lower niceness is for root alone, and it stays where it is.
  }
}

/** False when it must be tried again: the system lets ordinary users do so ten times a second. */
function setSessionNice(pid: number, nice: number): boolean {
  try {
    Deno.writeTextFileSync(`/proc/${pid}/autogroup`, String(nice), { create: false });
    return true;
  } catch (error) {
    // Anything else: there is no such thing on this machine, or the process has ended.
    return !(error instanceof Deno.errors.WouldBlock);
  }
}
