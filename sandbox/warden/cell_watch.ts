/**
 * The watch over one cell: what a look at it means against its limits.
 *
 * A fresh cell has memory, threads and descriptors of its own before a plugin does anything. They are the
 * runtime's: a limit bounds what comes on top of them, and a plugin that stays under its limit works. Pure.
 *
 * @module
 */
import type { Limits } from "../../schemas/limits.ts";
import type { WardenKillReason } from "../../schemas/warden_protocol.ts";
import { CallCharges, CpuShare, type ShareState } from "./cpu_account.ts";

export const megabyte = 1_048_576;

/** Of a fresh cell: measured, with room. */
export const runtimeOwn = {
  memoryBytes: 48 * megabyte,
  descriptors: 21,
  /** Beside one for each core: V8's workers, of which there are at most 16. */
  threads: 6,
  /** Its socket to the kernel, and the pair through which signals reach its event loop. */
  sockets: 3,
} as const;

/**
 * Of a process: more descriptors than the watch allows, so that it sees who goes over. With none left the runtime
 * fails in places where it does not say why.
 */
const descriptorHeadroom = 512;

/** How many descriptors one process of a cell can have at all. */
export function descriptorsMax(limits: Limits): number {
  return limits.fileDescriptors + runtimeOwn.descriptors + descriptorHeadroom;
}

/**
 * The heap of each isolate, for V8. It lies above what the watch allows: near its own limit V8 collects garbage for
 * half a second before it gives up, and the watch ends the cell within one look.
 */
export function heapMbMax({ memoryMb }: Limits): number {
  return memoryMb + 2 * runtimeOwn.memoryBytes / megabyte;
}

/** How much a sealed cell can write to its temporary folder: it is memory, too. */
export function temporaryBytesMax(limits: Limits): number {
  return Math.min(limits.diskMb, limits.memoryMb) * megabyte;
}

/** Of all processes and the temporary folder together. */
export function memoryBytesMax(limits: Limits): number {
  return limits.memoryMb * megabyte + runtimeOwn.memoryBytes;
}

/** Of all processes of a cell. A thread more than a runtime of that many cores has is the plugin's. */
export function threadsMax(limits: Limits, cores: number): number {
  return limits.threads + runtimeOwn.threads + Math.min(16, cores);
}

/** What was seen; what is left out was not looked at this time. */
export interface Look {
  /** CPU time since the last look, of all processes. */
  readonly usedMs: number;
  readonly elapsedMs: number;
  readonly threads: number;
  /** A process hides what it uses: its first thread has ended, others live. */
  readonly isUncountable?: boolean;
  /** Since it was suspended: looks that found it using CPU time. */
  readonly looksAwake?: number;
  /** All processes and the temporary folder in memory. */
  readonly memoryBytes?: number;
  /** `unreadable` when that of a living process cannot be read. */
  readonly descriptors?: number | "unreadable";
  readonly connections?: number;
}

/** What a walk through one folder of the cell found: up to the point where it was over. */
export interface FolderUse {
  readonly name: "private folder" | "temporary folder";
  readonly bytes: number;
  readonly files: number;
  /** Why it could not be counted: then it is taken for too large. */
  readonly fault: string | undefined;
}

/** Why a cell must end. */
export interface Verdict {
  readonly reason: WardenKillReason;
  readonly detail: string;
  readonly calls: readonly number[];
}

export interface CellWatchOptions {
  readonly limits: Limits;
  readonly cpuWindowMs: number;
  readonly cores: number;
}

/** A figure that may be crossed for a moment must be crossed at this many looks in a row. */
const looksInARow = 2;
/** A thread that is in the system stops when it comes out of it, and its last time is told in ticks. */
const looksAwakeMax = 3;

export class CellWatch {
  readonly calls: CallCharges;
  readonly memoryBytesMax: number;
  readonly #share: CpuShare;
  readonly #limits: Limits;
  readonly #threadsMax: number;
  #connectionsOver = 0;
  #unreadable = 0;
  #uncountable = 0;

  constructor({ limits, cpuWindowMs, cores }: CellWatchOptions) {
    this.#limits = limits;
    this.calls = new CallCharges(limits.cpuMs);
    this.#share = new CpuShare({ percent: limits.cpuPercent, windowMs: cpuWindowMs });
    this.#threadsMax = threadsMax(limits, cores);
    this.memoryBytesMax = memoryBytesMax(limits);
  }

  get share(): ShareState {
    return this.#share.state;
  }

  /** True while the last look saw something that the next must confirm. */
  get isSuspicious(): boolean {
    return this.#connectionsOver > 0 || this.#unreadable > 0 || this.#uncountable > 0;
  }

  judge(look: Look): Verdict | undefined {
    // All accounts are kept, whatever the first of them says.
    const ids = this.calls.charge(look.usedMs);
    const share = this.#share.take(look.usedMs, look.elapsedMs);
    return this.#judgeMemory(look) ?? this.#judgeThreads(look) ?? this.#judgeDescriptors(look) ??
      this.#judgeCpu(ids, share, look);
  }

  #judgeMemory({ memoryBytes = 0 }: Look): Verdict | undefined {
    if (memoryBytes <= this.memoryBytesMax) return undefined;
    const { memoryMb } = this.#limits;
    const used = Math.ceil((memoryBytes - runtimeOwn.memoryBytes) / megabyte);
    return verdict("LIMIT_MEMORY", `it used ${used} MB of ${memoryMb} MB`);
  }

  #judgeThreads({ threads, isUncountable = false }: Look): Verdict | undefined {
    // A program that another replaces is so for a moment.
    this.#uncountable = isUncountable ? this.#uncountable + 1 : 0;
    if (this.#uncountable >= looksInARow) {
      return verdict(
        "LIMIT_THREADS",
        "the first thread of a process ended: what others use cannot be counted",
      );
    }
    if (threads <= this.#threadsMax) return undefined;
    const used = threads - (this.#threadsMax - this.#limits.threads);
    return verdict("LIMIT_THREADS", `it ran ${used} threads of ${this.#limits.threads}`);
  }

  #judgeDescriptors({ descriptors, connections }: Look): Verdict | undefined {
    const { fileDescriptors, connections: connectionsMax } = this.#limits;
    if (descriptors === "unreadable") {
      if (++this.#unreadable < looksInARow) return undefined;
      return verdict("LIMIT_DESCRIPTORS", "one of its processes does not let its descriptors be counted");
    }
    if (descriptors !== undefined) {
      this.#unreadable = 0;
      const used = descriptors - runtimeOwn.descriptors;
      if (used > fileDescriptors) {
        return verdict("LIMIT_DESCRIPTORS", `it had ${used} descriptors of ${fileDescriptors} open`);
      }
    }
    if (connections === undefined) return undefined;
    // Looking up a name takes sockets for a moment.
    this.#connectionsOver = connections > connectionsMax ? this.#connectionsOver + 1 : 0;
    if (this.#connectionsOver < looksInARow) return undefined;
    return verdict("LIMIT_CONNECTIONS", `it had ${connections} connections of ${connectionsMax} open`);
  }

  #judgeCpu(
    ids: readonly number[],
    share: ShareState,
    { looksAwake = 0 }: Look,
  ): Verdict | undefined {
    const { cpuMs, cpuPercent } = this.#limits;
    if (ids.length > 0) {
      const used = Math.ceil(this.calls.mostMs);
      return verdict("LIMIT_CPU", `a call used ${used} ms of ${cpuMs} ms of CPU time`, ids);
    }
    if (looksAwake > looksAwakeMax) return verdict("LIMIT_CPU", "it ran while it was suspended");
    if (share !== "exhausted") return undefined;
    return verdict("LIMIT_CPU", `it used more than ${cpuPercent}% of a core for too long`);
  }

  judgeFolder({ name, bytes, files, fault }: FolderUse): Verdict | undefined {
    const { diskMb, files: filesMax } = this.#limits;
    const mend = `Remove files, or raise limits.`;
    if (fault !== undefined) return verdict("LIMIT_DISK", `its ${name} cannot be counted: ${fault}`);
    if (files > filesMax) {
      return verdict("LIMIT_FILES", `its ${name} has more than ${filesMax} files. ${mend}files`);
    }
    if (bytes <= diskMb * megabyte) return undefined;
    const used = Math.ceil(bytes / megabyte);
    return verdict("LIMIT_DISK", `its ${name} has ${used} MB or more of ${diskMb} MB. ${mend}diskMb`);
  }
}

function verdict(reason: WardenKillReason, detail: string, calls: readonly number[] = []): Verdict {
  return { reason, detail, calls };
}
