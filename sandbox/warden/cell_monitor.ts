/**
 * The monitor of one cell: looks at its processes and folders, as often as what it does calls for, and says when
 * it must end.
 *
 * Each look reads one small file of each process. All else is read only where it can have changed: a cell that
 * used no CPU time since has not opened, written or connected anything. What may not be looked at often, because
 * it costs more, waits in proportion to what it cost: no cell takes more of the warden by being large.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import { sealedTemporaryDir } from "./bubblewrap.ts";
import type { CellProcesses, TemporaryUse } from "./cell_processes.ts";
import { CellWatch, megabyte, runtimeOwn, type Verdict } from "./cell_watch.ts";
import type { CellGroup } from "./cgroup.ts";
import { canLowerNiceness, CpuDemand } from "./cpu_demand.ts";
import type { DiskRate } from "./disk_rate.ts";
import { type FolderMeasure, measureFolder } from "./folder_use.ts";
import type { Pace } from "./pace.ts";
import { type Hold, Holds } from "./holds.ts";
import type { Suspects } from "./suspects.ts";
import { addSocketsOf, demandOf, descriptorsOf, localSockets, readStat, type Units } from "./proc.ts";

export interface CellMonitorOptions {
  readonly description: CellDescription;
  readonly processes: CellProcesses;
  readonly group: CellGroup | undefined;
  /** Of a cell in the process tier. */
  readonly temporaryDir: string | undefined;
  readonly config: Config["cells"];
  /** Of the plugin. */
  readonly disk: DiskRate;
  readonly suspects: Suspects;
  /** It will stand still for so long. */
  paused(pauseMs: number): void;
  readonly cores: number;
  readonly units: Units;
}

/** Descriptors, connections and processes that there should not be have their turn less often. */
const looksBetweenTurns = 4;
/** Of the warden's time, one cell with very many processes takes one part in this many. */
const partOfTime = 8;
/** CPU time is told in ticks: what took less than one, such as opening a hundred files, is seen by then. */
const descriptorsMs = 1_000;
/** Until the pipe of its audit is read again, once it uses no CPU time that is told. */
const auditMs = { afterUse: 200, idle: 1_000 } as const;
/** The threads of a cell that used the CPU are looked at as often. */
const demandMs = 90;
/** A cell that wants less is not looked at for that alone. */
const restingCores = 0.01;
/** The kernel is told so much ahead that a cell stands still until its turn. */
const tellAheadMs = 1_000;
const diskPauseMsMax = 2_000;
const breathMs = 10;
const folderScanMsMin = 200;
/** Files that are counted in a millisecond between two scans: the more there are, the less often. */
const filesPerMs = 5;
/** What it may do between two looks is bounded, whatever a look costs. */
const pauseMsMax = 200;
/** The figure of a process may be a little behind its memory. */
const rssSlackBytes = 4 * megabyte;

export class CellMonitor implements Disposable {
  readonly watch: CellWatch;
  readonly #closing = new AbortController();
  readonly #startedAtMs: number;
  #lookedAtMs: number;
  #lookDueMs = 0;
  #looks = 0;
  #descriptorsAtMs = 0;
  #temporary: TemporaryUse = { bytes: 0, files: 0 };
  #usedSinceTurn = true;
  #usedSinceScan = true;
  #usedSinceAudit = true;
  #auditDueMs = 0;
  #scanDueMs = 0;
  #isScanning = false;
  readonly #holds = new Holds();
  /** The kernel was told so far that it is not its turn for so long. */
  #turnlessToldMs = 0;
  #writtenBytes = 0;
  #pauseTimer: ReturnType<typeof setTimeout> | undefined;
  #looksAwake = 0;
  readonly #demand = new CpuDemand();
  #demandAtMs: number;
  /** Until then. */
  #stillMs = 0;
  #wasCalled = false;
  readonly #canLowerNiceness = canLowerNiceness();

  constructor(private readonly options: CellMonitorOptions, nowMs: number) {
    const { config, cores, description } = options;
    this.watch = new CellWatch({ limits: description.limits, cpuWindowMs: config.cpuWindowMs, cores });
    this.#lookedAtMs = nowMs;
    this.#demandAtMs = nowMs;
    this.#startedAtMs = nowMs;
    options.processes.setNice(config.niceness);
  }

  /** What it found to be over a limit, if anything. */
  look(nowMs: number): Verdict | undefined {
    const { group, processes } = this.options;
    if (nowMs < this.#lookDueMs) return undefined;
    const startedMs = performance.now();
    const isTurn = this.#looks % looksBetweenTurns === 0;
    const seen = processes.look(isTurn && this.#usedSinceTurn);
    if (seen === undefined) return undefined;
    // What its share of CPU fills by meanwhile is reckoned at the next look.
    const isOverdue = nowMs - this.#descriptorsAtMs >= descriptorsMs;
    if (seen.isUnchanged && !seen.isUncountable && this.#isSettled && !isOverdue) return undefined;
    const isFirst = this.#looks++ === 0;
    const isActive = isFirst || seen.usedMs > 0;
    this.#usedSinceTurn ||= isActive;
    this.#usedSinceScan ||= isActive;
    this.#usedSinceAudit ||= isActive;
    if (isActive) this.#pauseForDisk(nowMs);
    if (isFirst) this.#enterGroup();
    if (!this.#holds.isEmpty && seen.usedMs > 0) {
      if (this.#holds.has("order")) this.#looksAwake++;
      // A process that escaped the signal while it was being started.
      processes.stop();
    }
    const areDescriptorsDue = isTurn && this.#usedSinceTurn || this.watch.isSuspicious || isOverdue;
    if (areDescriptorsDue) this.#descriptorsAtMs = nowMs;
    const verdict = this.watch.judge({
      usedMs: seen.usedMs,
      elapsedMs: nowMs - this.#lookedAtMs,
      threads: seen.threads,
      isUncountable: seen.isUncountable,
      looksAwake: this.#looksAwake,
      memoryBytes: this.#memoryBytes(seen.rssBytes, isActive || areDescriptorsDue),
      ...(areDescriptorsDue ? this.#descriptors() : {}),
    });
    this.#lookedAtMs = nowMs;
    this.#lookAtDemand(nowMs, seen.usedMs);
    this.#applyNiceness();
    if (processes.pids.length > 1) {
      const endedMs = performance.now();
      this.#lookDueMs = endedMs + Math.min(pauseMsMax, (endedMs - startedMs) * (partOfTime - 1));
    }
    const crossed = areDescriptorsDue ? group?.crossed : undefined;
    return verdict ?? this.#judgeTemporaryFiles() ??
      (crossed === undefined ? undefined : this.crossedInGroup(crossed));
  }

  /** A cell that wrote more than its rate gets hardly any CPU time until that is made up for. */
  #pauseForDisk(nowMs: number): void {
    if (this.#pauseTimer !== undefined || this.#holds.has("order")) return;
    const { config, disk, paused, processes } = this.options;
    const writtenBytes = processes.writtenBytes();
    // A process that has ended may take its sum with it.
    const dueMs = disk.take(Math.max(0, writtenBytes - this.#writtenBytes), nowMs);
    this.#writtenBytes = writtenBytes;
    if (dueMs === 0 || !this.#hold("disk", nowMs)) return;
    const pauseMs = Math.ceil(Math.min(dueMs, diskPauseMsMax, config.heartbeatTimeoutMs / 3));
    paused(pauseMs);
    this.#pauseTimer = setTimeout(() => {
      this.#release("disk", performance.now());
      // Time for a sign of life.
      this.#pauseTimer = setTimeout(() => {
        this.#pauseTimer = undefined;
        this.#pauseForDisk(performance.now());
      }, breathMs);
    }, pauseMs);
  }

  /** Whether there is nothing that the last look left to be done. */
  get #isSettled(): boolean {
    return this.#looks > 0 && !this.#usedSinceTurn && !this.watch.isSuspicious &&
      this.watch.share === "healthy" && this.#isResting;
  }

  /** Children of a wrapper that split before it was moved are where it was. */
  #enterGroup(): void {
    const { group, processes } = this.options;
    if (group === undefined) return;
    for (const pid of processes.pids) if (!group.holds(pid)) group.add(pid);
  }

  #memoryBytes(rssBytes: number, isDue: boolean): number {
    const { description, processes } = this.options;
    if (isDue && description.tier === "sealed") {
      this.#temporary = processes.temporaryUse(sealedTemporaryDir) ?? this.#temporary;
    }
    const bytesMax = this.watch.memoryBytesMax - this.#temporary.bytes;
    // All pages are in it, but not the page tables: those grow where a cell is active.
    if (!isDue && rssBytes + rssSlackBytes <= bytesMax) return this.#temporary.bytes;
    return processes.memoryBytes(bytesMax) + this.#temporary.bytes;
  }

  /** Their size was judged as memory. */
  #judgeTemporaryFiles(): Verdict | undefined {
    const { files } = this.#temporary;
    return this.watch.judgeFolder({ name: "temporary folder", bytes: 0, files, fault: undefined });
  }

  #descriptors(): { descriptors: number | "unreadable"; connections?: number } {
    const { description, processes, units } = this.options;
    this.#usedSinceTurn = false;
    let descriptors: number | "unreadable" = 0;
    const sockets = new Set<string>();
    for (const pid of processes.pids) {
      const open = descriptorsOf(pid);
      if (open !== undefined && descriptors !== "unreadable") descriptors += open;
      if (open === undefined && isRunning(readStat(pid, units)?.state)) descriptors = "unreadable";
      if (description.grants.net.length > 0) addSocketsOf(pid, sockets);
    }
    const { pid } = processes;
    if (description.grants.net.length === 0 || pid === undefined) return { descriptors };
    const connections = sockets.size - runtimeOwn.sockets;
    if (connections <= description.limits.connections) return { descriptors, connections };
    // Nested Workers have local sockets of the runtime's, which reach nobody.
    return {
      descriptors,
      connections: sockets.size - Math.max(runtimeOwn.sockets, localSockets(pid, sockets)),
    };
  }

  /** Of one that rests most of the time there is nothing to be learned. */
  #lookAtDemand(nowMs: number, usedMs: number): void {
    const stillMs = this.#holds.stillMs(nowMs);
    const elapsedMs = nowMs - this.#demandAtMs;
    const awakeMs = elapsedMs - (stillMs - this.#stillMs);
    if (awakeMs < demandMs || usedMs === 0 && this.#isResting) return;
    const { description: { dataDir }, processes: { pids }, suspects } = this.options;
    const suspectTrialAfterMs = this.#wasCalled ? suspects.trialAfterMs(dataDir, nowMs) : undefined;
    this.#demand.take({ threads: demandOf(pids), elapsedMs, awakeMs, suspectTrialAfterMs });
    if (this.#demand.hasPassed) suspects.delete(dataDir);
    else if (this.#demand.isConfirmed) suspects.add(dataDir, this.#demand.trialAfterMs, nowMs);
    this.#demandAtMs = nowMs;
    this.#stillMs = stillMs;
  }

  get #isResting(): boolean {
    return this.#demand.cores < restingCores;
  }

  #applyNiceness(): void {
    const { config, group, processes } = this.options;
    // Where it could not be lowered again it would be for ever.
    const isGreedy = this.#canLowerNiceness && this.#demand.isGreedy;
    const nice = isGreedy || this.watch.share === "over-share" ? config.nicenessOverShare : config.niceness;
    if (processes.setNice(nice)) group?.setNice(nice);
  }

  /** What is charged from here on is charged to these calls. */
  report(count: number, ids: readonly number[], nowMs: number): Verdict | undefined {
    // What an idle cell used until now, its start above all, is no call's.
    const verdict = this.watch.calls.isIdle ? this.look(nowMs) : undefined;
    this.watch.calls.report(count, ids);
    if (!this.#wasCalled && count > 0) {
      // A start is forgiven what it takes.
      this.#demand.forget();
      this.#wasCalled = true;
    }
    return verdict;
  }

  /** Cores that it wants. */
  get cores(): number {
    return this.#isOut ? 0 : this.#demand.cores;
  }

  /** It is behind the others. A start that takes long has only so long to end, so it is left alone. */
  get takesTurns(): boolean {
    const isStarting = !this.#wasCalled &&
      this.#lookedAtMs - this.#startedAtMs < this.options.config.startTimeoutMs;
    return this.#isBehind && !this.#isOut && !isStarting;
  }

  /** It stands still for something else than turns. */
  get #isOut(): boolean {
    return this.#holds.has("order") || this.#holds.has("disk");
  }

  /** It is not its turn on the CPU, until it is {@linkcode release}d; to be said again at each look. */
  hold(nowMs: number): void {
    if (!this.#hold("turn", nowMs)) return;
    if (this.#holds.heldMs("turn", nowMs) + tellAheadMs / 2 < this.#turnlessToldMs) return;
    this.#turnlessToldMs += tellAheadMs;
    this.options.paused(tellAheadMs);
  }

  release(nowMs: number): void {
    this.#release("turn", nowMs);
  }

  get #isBehind(): boolean {
    return this.#demand.isGreedy || this.watch.share === "over-share";
  }

  /** False when there is no process yet. */
  #hold(hold: Hold, nowMs: number): boolean {
    if (this.#holds.isEmpty && !this.options.processes.stop()) return false;
    this.#holds.add(hold, nowMs);
    return true;
  }

  #release(hold: Hold, nowMs: number): void {
    if (this.#holds.delete(hold, nowMs)) this.options.processes.resume();
  }

  /** Sends the signal to whatever runs; true when nothing does. */
  stop(nowMs: number): boolean {
    const { processes } = this.options;
    if (processes.stop()) this.#holds.add("order", nowMs);
    return this.#holds.has("order") && processes.areStopped;
  }

  resume(nowMs: number): void {
    this.#looksAwake = 0;
    this.#release("order", nowMs);
  }

  /** Where it did nothing that is seen, what it asked for is looked at less often. */
  isAuditDue(nowMs: number): boolean {
    if (!this.#usedSinceAudit && nowMs < this.#auditDueMs) return false;
    this.#auditDueMs = nowMs + (this.#usedSinceAudit ? auditMs.afterUse : auditMs.idle);
    this.#usedSinceAudit = false;
    return true;
  }

  areFoldersDue(nowMs: number): boolean {
    return this.#usedSinceScan && !this.#isScanning && this.#looks > 0 && nowMs >= this.#scanDueMs;
  }

  /** Counts what is in its folders, at the given pace. Never rejects. */
  async measureFolders(pace: Pace): Promise<Verdict | undefined> {
    const { config, description: { dataDir, limits }, processes, temporaryDir } = this.options;
    this.#isScanning = true;
    this.#usedSinceScan = false;
    const bounds = {
      bytesMax: limits.diskMb * megabyte,
      filesMax: limits.files,
      processes: processes.pids,
      mapping: processes.hasPrograms ? processes.pids : [],
      pace,
      signal: this.#closing.signal,
    };
    const data = await measureFolder(dataDir, bounds);
    const temporary: FolderMeasure | undefined = temporaryDir === undefined
      ? undefined
      : await measureFolder(temporaryDir, { ...bounds, processes: [], mapping: [] });
    const files = data.files + (temporary?.files ?? 0);
    const pauseMs = Math.min(config.diskScanMs, Math.max(folderScanMsMin, files / filesPerMs));
    this.#scanDueMs = performance.now() + pauseMs;
    this.#isScanning = false;
    return this.watch.judgeFolder({ name: "private folder", ...data }) ??
      (temporary && this.watch.judgeFolder({ name: "temporary folder", ...temporary }));
  }

  /** Of a cell that has ended, or is about to: what the system refused it. */
  crossedInGroup(crossed = this.options.group?.crossed): Verdict | undefined {
    const { memoryMb, threads } = this.options.description.limits;
    if (crossed === "LIMIT_MEMORY") {
      return { reason: crossed, detail: `it used more than ${memoryMb} MB`, calls: [] };
    }
    if (crossed === undefined) return undefined;
    return { reason: crossed, detail: `it asked for more than ${threads} threads`, calls: [] };
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#pauseTimer);
    this.#closing.abort();
    this.options.processes[Symbol.dispose]();
  }
}

function isRunning(state: string | undefined): boolean {
  return state !== undefined && state !== "Z" && state !== "X";
}
