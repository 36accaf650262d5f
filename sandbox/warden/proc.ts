/**
 * What the warden reads of other processes in `/proc`. Linux only; elsewhere every answer is `undefined`.
 *
 * A process may end at any moment: an unreadable file means that it is gone. Formats are those of proc(5).
 *
 * @module
 */

/** The first thread has ended; the process, only if it was the last. */
export const endedStates: ReadonlySet<string> = new Set(["Z", "X"]);

/** `/proc/PID/stat`, as far as a limit needs it. */
export interface ProcessStat {
  /** Of the first thread: see {@linkcode endedStates}. */
  readonly state: string;
  readonly session: number;
  /** CPU time of all its threads, those that ended included. */
  readonly ownMs: number;
  /** CPU time of the children that it waited for, and of theirs. */
  readonly reapedMs: number;
  readonly nice: number;
  readonly threads: number;
  /** Ticks since the machine's start. With the process id it names a process for ever. */
  readonly startedTicks: number;
  readonly rssBytes: number;
  readonly virtualBytes: number;
  /** Where its stack begins: a copy made by fork has it of its parent, another program has its own. */
  readonly stackStart: string;
}

/** Of this machine: read once. */
export interface Units {
  readonly pageBytes: number;
  readonly tickMs: number;
}

function readProc(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/** From the auxiliary vector: pairs of 64-bit words, of which 6 names the page size and 17 the clock. */
export function readUnits(): Units {
  const found = new Map<bigint, number>();
  try {
    const words = new BigUint64Array(Deno.readFileSync("/proc/self/auxv").buffer);
    for (let at = 0; at + 1 < words.length; at += 2) found.set(words[at] ?? 0n, Number(words[at + 1]));
  } catch {
    // Not Linux: nothing is read there.
  }
  return { pageBytes: found.get(6n) ?? 4_096, tickMs: 1_000 / (found.get(17n) ?? 100) };
}

/** The name, between the outermost brackets, is the process's own choice. */
export function parseStat(text: string, { pageBytes, tickMs }: Units): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const at = (index: number) => Number(fields[index]);
  const threads = at(17);
  if (!Number.isInteger(threads) || fields.length < 26) return undefined;
  return {
    state: fields[0] ?? "",
    session: at(3),
    ownMs: (at(11) + at(12)) * tickMs,
    reapedMs: (at(13) + at(14)) * tickMs,
    nice: at(16),
    threads,
    startedTicks: at(19),
    virtualBytes: at(20),
    rssBytes: at(21) * pageBytes,
    stackStart: fields[25] ?? "",
  };
}

export function readStat(pid: number, units: Units): ProcessStat | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text, units);
}

/** Since the machine's start, by the clock of {@linkcode ProcessStat.startedTicks}. */
export function readUptimeMs(): number {
  return Number((readProc("/proc/uptime") ?? "0").split(" ")[0]) * 1_000;
}

/** One process's `stat`, kept open: half the cost of a read, and never another process with the same id. */
export class StatFile implements Disposable {
  readonly #buffer = new Uint8Array(1_024);
  readonly #decoder = new TextDecoder();
  #text = "";
  #stat: ProcessStat | undefined;

  private constructor(private readonly file: Deno.FsFile, private readonly units: Units) {}

  static open(pid: number, units: Units): StatFile | undefined {
    try {
      return new StatFile(Deno.openSync(`/proc/${pid}/stat`), units);
    } catch {
      return undefined;
    }
  }

  /** The same object as the last time while nothing has changed; `undefined` when the process is gone. */
  read(): ProcessStat | undefined {
    try {
      this.file.seekSync(0, Deno.SeekMode.Start);
      const length = this.file.readSync(this.#buffer) ?? 0;
      const text = this.#decoder.decode(this.#buffer.subarray(0, length));
      if (text === this.#text) return this.#stat;
      this.#text = text;
      return this.#stat = parseStat(text, this.units);
    } catch {
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.file.close();
  }
}

/** Names in a folder of `/proc`, or `undefined` when it cannot be read. */
function namesIn(path: string): string[] | undefined {
  try {
    return Array.from(Deno.readDirSync(path), ({ name }) => name);
  } catch {
    return undefined;
  }
}

const exitingFlag = 0x4;
const killSignalBit = 1n << 8n;

/** Whether a thread runs, and is not one that the system is about to end with its process. */
export function isThreadAlive(pid: number, thread: number): boolean {
  const folder = `/proc/${pid}/task/${thread}`;
  const stat = readProc(`${folder}/stat`);
  if (stat === undefined) return false;
  const [state = "", , , , , , flags] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (endedStates.has(state) || (Number(flags) & exitingFlag) !== 0) return false;
  const pending = /^SigPnd:\s+([0-9a-f]+)$/m.exec(readProc(`${folder}/status`) ?? "")?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & killSignalBit) === 0n;
}

/** What one thread had of the CPU and how long it waited to be given it, since it began. */
export interface ThreadDemand {
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** `undefined` when it has ended, or where the system does not count that. */
export function readDemand(pid: number, thread: number): ThreadDemand | undefined {
  const [ran, waited] = (readProc(`/proc/${pid}/task/${thread}/schedstat`) ?? "").split(" ").map(Number);
  if (ran === undefined || waited === undefined || Number.isNaN(ran + waited)) return undefined;
  return { ranMs: ran / 1e6, waitedMs: waited / 1e6 };
}

/** Of all threads of some processes. */
export function demandOf(pids: readonly number[]): ReadonlyMap<number, ThreadDemand> {
  const demands = new Map<number, ThreadDemand>();
  for (const pid of pids) {
    for (const thread of threadsOf(pid)) {
      const demand = readDemand(pid, thread);
      if (demand !== undefined) demands.set(thread, demand);
    }
  }
  return demands;
}

export function threadsOf(pid: number): number[] {
  return (namesIn(`/proc/${pid}/task`) ?? []).map(Number);
}

/** Process ids of the children that a thread made, the oldest first. `thread` is the first one's if left out. */
export function childrenOf(pid: number, thread = pid): number[] {
  const text = readProc(`/proc/${pid}/task/${thread}/children`) ?? "";
  return text.split(" ").filter((child) => child !== "").map(Number);
}

/** The innermost descendant on the line of only children: the program behind wrappers such as bwrap. */
export function innermostChild(pid: number, depth: number): number | undefined {
  let current = pid;
  for (let level = 0; level < depth; level++) {
    const [child] = childrenOf(current);
    if (child === undefined) return undefined;
    current = child;
  }
  return current;
}

/** Memory of one process, in bytes. */
export interface ProcessMemory {
  /**
   * Heap, buffers, stacks and shared memory. Not files that are mapped in, of which the runtime's own are most.
   */
  readonly pageBytes: number;
  /** Of its page tables: reading a little of much address space fills them without taking a page. */
  readonly tableBytes: number;
}

export function readMemory(pid: number): ProcessMemory | undefined {
  const text = readProc(`/proc/${pid}/status`);
  const pageBytes = sumOfKilobytes(text, /^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm);
  if (pageBytes === undefined) return undefined;
  return { pageBytes, tableBytes: sumOfKilobytes(text, /^VmPTE:\s+(\d+) kB$/gm) ?? 0 };
}

/** Its pages, with what several processes share counted in parts. Costs milliseconds for a large process. */
export function proportionalPageBytes(pid: number): number | undefined {
  return sumOfKilobytes(readProc(`/proc/${pid}/smaps_rollup`), /^Pss_(?:Anon|Shmem):\s+(\d+) kB$/gm);
}

function sumOfKilobytes(text: string | undefined, lines: RegExp): number | undefined {
  if (text === undefined) return undefined;
  let sum: number | undefined;
  for (const [, kilobytes] of text.matchAll(lines)) sum = (sum ?? 0) + Number(kilobytes) * 1_024;
  return sum;
}

/** What a process, and the children that it waited for, sent to disks; not what it wrote into memory. */
export function writtenBytesOf(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readProc(`/proc/${pid}/io`) ?? "")?.[1] ?? 0);
}

/** How many descriptors a process has open; `undefined` when that cannot be read. */
export function descriptorsOf(pid: number): number | undefined {
  try {
    // Since Linux 6.2 the folder's size is their number.
    const { size } = Deno.statSync(`/proc/${pid}/fd`);
    return size > 0 ? size : namesIn(`/proc/${pid}/fd`)?.length;
  } catch {
    return undefined;
  }
}

const nonblockingFlag = 0o4000;

/**
 * How a process has a file open that it writes to: as it was opened, so that a write waits for room; as a socket
 * of its event loop, be it now or before, so that it need not have waited; or not at all. `undefined` when that
 * cannot be read, because the process has ended or is about to.
 */
export function writerState(
  pid: number,
  device: number,
  inode: number,
): "as opened" | "as a socket" | "closed" | undefined {
  const names = namesIn(`/proc/${pid}/fd`) ?? [];
  const open = names.find((name) => {
    try {
      const { dev, ino } = Deno.statSync(`/proc/${pid}/fd/${name}`);
      return dev === device && ino === inode;
    } catch {
      return false; // closed meanwhile
    }
  });
  if (open === undefined) return names.length === 0 ? undefined : "closed";
  const [, flags = ""] = /^flags:\s+([0-7]+)$/m.exec(readProc(`/proc/${pid}/fdinfo/${open}`) ?? "") ?? [];
  if ((parseInt(flags, 8) & nonblockingFlag) !== 0) return "as a socket";
  // An event loop names what it watches, also where the flag was taken back.
  const watched = new RegExp(`^tfd:\\s+${open}\\s`, "m");
  return names.some((name) => watched.test(readProc(`/proc/${pid}/fdinfo/${name}`) ?? ""))
    ? "as a socket"
    : "as opened";
}

/** Where relative paths of a process begin. */
export function workingFolderOf(pid: number): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

/** Adds what names the sockets of a process. A socket that is open twice is one. */
export function addSocketsOf(pid: number, sockets: Set<string>): void {
  for (const name of namesIn(`/proc/${pid}/fd`) ?? []) {
    try {
      const target = Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
      if (target.startsWith("socket:")) sockets.add(target);
    } catch {
      // Closed meanwhile.
    }
  }
}

/** Of these, those that reach no further than this machine: the sockets of family `AF_UNIX`. */
export function localSockets(pid: number, sockets: ReadonlySet<string>): number {
  let found = 0;
  for (const line of (readProc(`/proc/${pid}/net/unix`) ?? "").split("\n")) {
    if (sockets.has(`socket:[${line.split(/\s+/)[6]}]`)) found++;
  }
  return found;
}

/** Files that a process holds open although they have no name any more: `device:inode` → bytes on disk. */
export function addUnnamedFilesOf(pid: number, files: Map<string, number>, device: number): void {
  for (const name of namesIn(`/proc/${pid}/fd`) ?? []) {
    try {
      const info = Deno.statSync(`/proc/${pid}/fd/${name}`);
      if (info.nlink === 0 && info.isFile && info.dev === device) {
        files.set(`${info.dev}:${info.ino}`, (info.blocks ?? 0) * 512);
      }
    } catch {
      // Closed meanwhile.
    }
  }
}

/** Of one file that has no name any more, one mapping in a process. */
export interface UnnamedMapping {
  readonly inode: string;
  /** In `/proc/PID/map_files`. */
  readonly range: string;
  /** Where in the file it ends. */
  readonly endBytes: number;
}

const deletedMapping = /^(([0-9a-f]+)-([0-9a-f]+)) \S+ ([0-9a-f]+) \S+ (\d+) +(\/.*) \(deleted\)$/gm;

/** Mappings of files that were in a folder. Reading them takes milliseconds where there are very many. */
export async function unnamedMappingsOf(pid: number, folder: string): Promise<UnnamedMapping[]> {
  const found: UnnamedMapping[] = [];
  try {
    const text = await Deno.readTextFile(`/proc/${pid}/maps`);
    for (const [, range = "", from, to, offset, inode = "", path = ""] of text.matchAll(deletedMapping)) {
      if (!path.startsWith(`${folder}/`)) continue;
      const endBytes = parseInt(`${to}`, 16) - parseInt(`${from}`, 16) + parseInt(`${offset}`, 16);
      found.push({ inode, range, endBytes });
    }
  } catch {
    // It has ended.
  }
  return found;
}

/** What a mapped file takes on the disk; `undefined` when that is for root alone. */
export function mappedFileBytes(pid: number, { range }: UnnamedMapping): number | undefined {
  try {
    return (Deno.statSync(`/proc/${pid}/map_files/${range}`).blocks ?? 0) * 512;
  } catch {
    return undefined;
  }
}

/** The program a process runs, or `undefined` when it is gone. */
export function programOf(pid: number): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

const closeOnExec = 0o2000000;

/**
 * Descriptors of this process, beside the standard three, that a program started by it would inherit. One of
 * `/dev/null` is of use to nobody, and not named.
 */
export function inheritableDescriptors(): number[] {
  const descriptors = (namesIn("/proc/self/fd") ?? []).map(Number).filter((descriptor) => descriptor > 2);
  return descriptors.filter((descriptor) => {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readProc(`/proc/self/fdinfo/${descriptor}`) ?? "")?.[1];
    if (flags === undefined || (parseInt(flags, 8) & closeOnExec) !== 0) return false;
    return Deno.readLinkSync(`/proc/self/fd/${descriptor}`) !== "/dev/null";
  }).sort((a, b) => a - b);
}

/** Files that the running program has mapped: its shared libraries and the loader among them. */
export function mappedLibraries(): string[] {
  const text = readProc("/proc/self/maps") ?? "";
  const files = text.split("\n").map((line) => line.split(/\s+/)[5] ?? "");
  return [...new Set(files)].filter((file) => /^\/.*\.so(\.[0-9]+)*$/.test(file)).sort();
}
