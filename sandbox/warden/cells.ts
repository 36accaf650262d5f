/**
 * The warden's cells: starts them, reads their log, looks at them, stops and kills them, and reports their end.
 *
 * It watches from outside and by itself, so that a limit holds while the kernel's event loop is busy and
 * while a plugin blocks its own. Every cell in the map is a live process or one whose end is being read.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import { limitsAbove } from "../../schemas/limits.ts";
import type { CellDescription, FromWarden, WardenKillReason } from "../../schemas/warden_protocol.ts";
import { workerPermissions } from "../permissions.ts";
import { type AuditPipe, AuditPipes } from "./audit_pipes.ts";
import { AuditShare, CellAudit } from "./cell_audit.ts";
import { readCellLog } from "./cell_log.ts";
import { CellMonitor } from "./cell_monitor.ts";
import { CellProcesses } from "./cell_processes.ts";
import { memoryBytesMax, temporaryBytesMax, threadsMax, type Verdict } from "./cell_watch.ts";
import type { CellGroup, CellGroups } from "./cgroup.ts";
import { endChild, writeAndClose } from "./child_process.ts";
import { DiskRates } from "./disk_rate.ts";
import { checkDescription, type CheckedDescription, type OwnFolders } from "./check_description.ts";
import { cellCommand, type HostPrograms, isAudited } from "./command_line.ts";
import { findExchanged, type GrantedFiles, grantedFiles } from "./granted_files.ts";
import { checkGrantedLinks } from "./granted_links.ts";
import { GrantsCheck } from "./grants_check.ts";
import { Pace } from "./pace.ts";
import { readUnits } from "./proc.ts";
import { removeFolder } from "./remove_folder.ts";
import { Suspects } from "./suspects.ts";
import { TurnKeeper } from "./turn_keeper.ts";

export interface CellsOptions {
  readonly kernelPid: number;
  /** That cells share by turns; all of the machine's if left out. */
  readonly cores?: number;
  readonly host: HostPrograms;
  readonly bundleDir: string;
  readonly config: Config["cells"];
  readonly audit: Pick<Config["audit"], "bytesPerSecond">;
  /** The kernel keeps to them; one that was taken over is held to them. */
  readonly caps: Config["limits"];
  readonly own: OwnFolders;
  /** Where there are none, the warden's looks are all that bounds a cell beside the limits of a process. */
  readonly groups: CellGroups | undefined;
  environment(name: string): string | undefined;
  report(message: FromWarden): void;
  /** Resolves when the kernel has taken what was reported so far, or is gone. */
  flushed(): Promise<void>;
  log(message: string): void;
}

/** Where this life of the kernel has its socket, and cells of the process tier their temporary folders. */
export interface RunPlaces {
  readonly socket: string;
  readonly folder: string;
}

/** A reason of `null`: it is over for something that is no limit's. */
interface KillCause extends Omit<Verdict, "reason"> {
  readonly reason: WardenKillReason | "asked" | null;
}

const asked: KillCause = { reason: "asked", detail: "", calls: [] };

interface RunningCell {
  readonly description: CellDescription;
  readonly child: Deno.ChildProcess;
  readonly processes: CellProcesses;
  readonly monitor: CellMonitor;
  readonly audit: CellAudit | undefined;
  readonly group: CellGroup | undefined;
  readonly temporaryDir: string | undefined;
  killed: KillCause | undefined;
  /** The last wish of the kernel's: a new object each time. */
  wanted: { readonly state: "running" | "stopped" };
}

const detailCharsMax = 512;
const faultCharsMax = 8_192;
/** Until a wrapper has become Deno: on a machine that does much else. */
const admissionMs = { look: 2, max: 30_000 } as const;
const stopPauseMs = { first: 1, max: 50 } as const;
/** Wrappers and the threads they may have, in a cell's control group. */
const wrapperThreads = 4;

export class Cells {
  readonly #running = new Map<string, RunningCell>();
  /** Cells whose grants are being looked at, or that wait for a pipe. */
  readonly #starting = new Map<string, AbortController>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #pace = new Pace();
  readonly #grantsCheck: GrantsCheck;
  readonly #auditPipes: AuditPipes | undefined;
  readonly #auditShare = new AuditShare();
  readonly #diskRates: DiskRates;
  readonly #suspects = new Suspects();
  readonly #turnKeeper: TurnKeeper;
  readonly #units = readUnits();
  readonly #cores = navigator.hardwareConcurrency;
  #sampler: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  constructor(private readonly options: CellsOptions) {
    const { config, host, own } = options;
    this.#grantsCheck = new GrantsCheck({ ...options, pace: this.#pace });
    this.#diskRates = new DiskRates(config.diskMbPerSecond);
    this.#turnKeeper = new TurnKeeper({ cores: this.#cores, ...options });
    this.#auditPipes = isAudited(host)
      ? new AuditPipes(host.mkfifo ?? "", `${own.runFolder}/audit`)
      : undefined;
  }

  get count(): number {
    return this.#running.size + this.#starting.size;
  }

  /** Starts a process, or reports why not. */
  start(description: CellDescription, run: RunPlaces): void {
    this.#track(this.#start(description, run));
  }

  async #start(description: CellDescription, run: RunPlaces): Promise<void> {
    const { cell } = description;
    try {
      if (this.#isClosed) throw new Error(`Cannot start cell "${cell}": its kernel has ended`);
      if (this.#running.has(cell) || this.#starting.has(cell)) {
        throw new Error(`Cannot start cell "${cell}": it exists`);
      }
      if (this.count >= this.options.config.awakeMax) {
        throw new Error(`Cannot start cell "${cell}": ${this.options.config.awakeMax} cells are alive`);
      }
      checkDescription(description, this.options.own);
      const above = limitsAbove(description.limits, this.options.caps);
      if (above.length > 0) {
        throw new Error(`Cannot start cell "${cell}": ${above.join(", ")} is above the operator's cap`);
      }
      const files = grantedFiles(description);
      const pipe = await this.#prepare(description);
      using unused = new DisposableStack();
      unused.use(pipe);
      const running = this.#spawn(description, run, pipe);
      unused.move();
      this.#running.set(cell, running);
      this.#track(this.#untilEnd(running));
      this.#track(this.#admit(running, run, files));
      this.#sampler ??= setInterval(() => this.#sample(), this.options.config.sampleIntervalMs);
      this.options.report({ type: "started", cell });
    } catch (error) {
      this.options.report({
        type: "refused",
        cell,
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }

  /** What takes time before a process can be started. It may be killed meanwhile. */
  async #prepare(description: CellDescription): Promise<AuditPipe | undefined> {
    const { cell, tier } = description;
    const killed = new AbortController();
    this.#starting.set(cell, killed);
    try {
      const { grantEntriesMax } = this.options.config;
      if (tier === "process") {
        await checkGrantedLinks(description, {
          ...{ entriesMax: grantEntriesMax, pace: this.#pace, signal: killed.signal },
        });
      }
      const pipe = await this.#auditPipes?.take();
      if (!killed.signal.aborted) return pipe;
      pipe?.[Symbol.dispose]();
      throw new Error(`Cannot start cell "${cell}": it was killed before it began`);
    } finally {
      this.#starting.delete(cell);
    }
  }

  /** Hands a cell what it begins with, once it stands over the very files that were checked. */
  async #admit(running: RunningCell, { socket }: RunPlaces, files: GrantedFiles): Promise<void> {
    const { child, description: { cell, grants, token } } = running;
    const path = files.size === 0 ? undefined : await this.#findExchanged(running, files);
    if (path === undefined) {
      const boot = { socket, permissions: workerPermissions(grants) };
      return await writeAndClose(child.stdin, `${token}\n${JSON.stringify(boot)}`);
    }
    const detail =
      `Cannot start cell "${cell}": "${path}" is not the file that was granted, or it cannot be ` +
      `read. Start it again when nobody exchanges that`;
    this.options.log(detail);
    this.#end(running, { reason: null, detail, calls: [] });
    await writeAndClose(child.stdin, "");
  }

  async #findExchanged(running: RunningCell, files: GrantedFiles): Promise<string | undefined> {
    const endsMs = performance.now() + admissionMs.max;
    while (this.#running.get(running.description.cell) === running) {
      const { pid } = running.processes;
      if (pid !== undefined) return findExchanged(pid, files);
      if (performance.now() > endsMs) return [...files.keys()][0];
      await new Promise<void>((resolve) => setTimeout(resolve, admissionMs.look));
    }
    return undefined;
  }

  #spawn(description: CellDescription, run: RunPlaces, pipe: AuditPipe | undefined): RunningCell {
    const { cell, grants, limits, packageDir, tier } = description;
    const { bundleDir, config, host, environment } = this.options;
    const temporaryDir = `${run.folder}/${cell}`;
    const files = { bundleDir, socket: run.socket, temporaryDir, auditPipe: pipe?.path };
    const { program, args, env, ownSession, depth } = cellCommand(description, files, host, environment);
    const ownTemporaryDir = tier === "process" ? temporaryDir : undefined;
    if (ownTemporaryDir !== undefined) Deno.mkdirSync(ownTemporaryDir, { mode: 0o700 });
    const child = new Deno.Command(program, {
      ...{ args, env, clearEnv: true, cwd: "/" },
      detached: !ownSession, // a session of its own: Ctrl-C in a terminal is for the warden
      ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
    }).spawn();
    const group = this.#makeGroup(description);
    group?.add(child.pid);
    const processes = new CellProcesses({
      ...{ spawnedPid: child.pid, depth, deno: host.deno, units: this.#units },
      hasPrograms: grants.run.length > 0 || grants.ffi.length > 0,
      threadsMax: threadsMax(limits, this.#cores),
    });
    const monitored = { description, processes, group, temporaryDir: ownTemporaryDir };
    const machine = { cores: this.#cores, units: this.#units, suspects: this.#suspects };
    const nowMs = performance.now();
    const disk = this.#diskRates.of(description, nowMs);
    const paused = (ms: number) => this.options.report({ type: "paused", cell, ms });
    const monitor = new CellMonitor({ ...monitored, ...machine, config, disk, paused }, nowMs);
    const audit = pipe && new CellAudit({
      ...{ pipe, bundleDir, packageDir, bytesPerSecond: this.options.audit.bytesPerSecond },
      ...{ share: this.#auditShare, pid: () => processes.pid, flushed: () => this.options.flushed() },
      report: (checks, asked) => this.options.report({ type: "audit", cell, checks, asked }),
    });
    return { ...monitored, child, monitor, audit, killed: undefined, wanted: { state: "running" } };
  }

  #makeGroup({ cell, limits }: CellDescription): CellGroup | undefined {
    try {
      return this.options.groups?.make(cell, {
        memoryBytesMax: memoryBytesMax(limits) + temporaryBytesMax(limits),
        threadsMax: threadsMax(limits, this.#cores) + wrapperThreads,
        nice: this.options.config.niceness,
      });
    } catch (error) {
      this.options.log(`Cannot make a control group for cell "${cell}": ${error}`);
      return undefined;
    }
  }

  /** The process id of the cell's program, not of a wrapper around it. */
  locate(cell: string): void {
    const pid = this.#running.get(cell)?.processes.pid ?? null;
    this.options.report({ type: "located", cell, pid });
  }

  /** Tells what the cell has asked Deno for. One that is ending tells it with its end. */
  audit(cell: string, question: number): void {
    const running = this.#running.get(cell);
    if (running?.audit !== undefined) return running.audit.answer(question, performance.now());
    if (running !== undefined) this.options.report({ type: "audit", cell, checks: [], asked: question });
  }

  /** What the cell works on, from now on. */
  calls(cell: string, count: number, ids: readonly number[]): void {
    const running = this.#running.get(cell);
    if (running === undefined) return;
    const verdict = running.monitor.report(count, ids, performance.now());
    if (verdict !== undefined) this.#end(running, verdict);
  }

  suspend(cell: string): void {
    const running = this.#running.get(cell);
    if (running !== undefined) this.#track(this.#stop(running));
  }

  /** Until it stands still, or has ended, or something else is wanted. */
  async #stop(running: RunningCell): Promise<void> {
    const { cell } = running.description;
    const wanted = running.wanted = { state: "stopped" } as const;
    let pauseMs: number = stopPauseMs.first;
    while (!running.monitor.stop(performance.now())) {
      await new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
      if (running.wanted !== wanted || this.#running.get(cell) !== running) return;
      pauseMs = Math.min(2 * pauseMs, stopPauseMs.max);
    }
    this.options.report({ type: "suspended", cell });
  }

  resume(cell: string): void {
    const running = this.#running.get(cell);
    if (running === undefined) return;
    running.wanted = { state: "running" };
    running.monitor.resume(performance.now());
    this.options.report({ type: "resumed", cell });
  }

  kill(cell: string): void {
    this.#starting.get(cell)?.abort();
    const running = this.#running.get(cell);
    if (running !== undefined) this.#end(running, asked);
  }

  /** Kills it, for the cause that came first. */
  #end(running: RunningCell, cause: KillCause): void {
    running.killed ??= cause;
    running.processes.kill();
    endChild(running.child);
  }

  /** Answers whether a cell over this would be refused. */
  check(check: number, description: CheckedDescription & Pick<CellDescription, "tier">): void {
    this.#track(
      this.#grantsCheck.faultOf(description).then((fault) => {
        this.options.report({ type: "checked", check, fault: fault?.slice(0, faultCharsMax) ?? null });
      }),
    );
  }

  /** Kills every cell, and waits for the ends. None is started after that. */
  async killAll(): Promise<void> {
    this.#isClosed = true;
    for (const cell of [...this.#starting.keys(), ...this.#running.keys()]) this.kill(cell);
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  #sample(): void {
    const nowMs = performance.now();
    for (const running of this.#running.values()) {
      if (running.killed !== undefined) continue;
      const { audit, monitor } = running;
      const verdict = monitor.look(nowMs);
      const tampering = audit?.isDue || monitor.isAuditDue(nowMs) ? audit?.read(nowMs) : undefined;
      if (verdict !== undefined) this.#end(running, verdict);
      else if (tampering !== undefined) this.#end(running, { reason: null, detail: tampering, calls: [] });
      else if (monitor.areFoldersDue(nowMs)) this.#track(this.#measureFolders(running));
    }
    const alive = this.#running.values().filter(({ killed }) => killed === undefined);
    this.#turnKeeper.look(alive.map(({ monitor }) => monitor).toArray(), nowMs);
  }

  async #measureFolders(running: RunningCell): Promise<void> {
    const verdict = await running.monitor.measureFolders(this.#pace);
    // It may have ended meanwhile, and another one may have its pid.
    if (verdict !== undefined && this.#running.get(running.description.cell) === running) {
      this.#end(running, verdict);
    }
  }

  async #untilEnd(running: RunningCell): Promise<void> {
    const { audit, child, description, group, monitor, temporaryDir } = running;
    const { cell, limits } = description;
    // Whatever goes wrong in here, the end is reported: the kernel waits for it, and the warden lives on.
    const failed = (error: unknown) => this.options.log(`Cannot clean up after cell "${cell}": ${error}`);
    const log = {
      bytesPerSecond: limits.logBytesPerSecond,
      ended: child.status,
      report: (text: string) => this.options.report({ type: "log", cell, text }),
      flushed: () => this.options.flushed(),
    };
    const logs = Promise.all(
      [child.stdout, child.stderr].map((stream) => readCellLog(stream, log).catch(failed)),
    );
    const { code, signal } = await child.status;
    // From here on its pid may be another's.
    this.#running.delete(cell);
    if (this.#running.size === 0) {
      clearInterval(this.#sampler);
      this.#sampler = undefined;
    }
    const cause = running.killed ?? monitor.crossedInGroup();
    await running.processes.untilGone();
    monitor[Symbol.dispose]();
    try {
      audit?.[Symbol.dispose]();
    } catch (error) {
      failed(error);
    }
    await logs;
    if (temporaryDir !== undefined) await removeFolder(temporaryDir).catch(failed);
    await group?.remove().catch(failed);
    this.options.report({
      type: "ended",
      cell,
      exitCode: code,
      signal,
      killed: cause?.reason ?? null,
      detail: cause?.detail.slice(0, detailCharsMax) ?? "",
      calls: [...cause?.calls ?? []],
    });
  }

  /** Nothing that is tracked rejects. */
  #track(task: Promise<void>): void {
    const tracked = task.finally(() => this.#tasks.delete(tracked));
    this.#tasks.add(tracked);
  }
}
