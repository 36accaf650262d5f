/**
 * Control groups, version 2: where one is ours to divide, the system itself bounds each cell.
 *
 * It bounds memory (pages of files and of the system's kernel included), the number of threads, and the share
 * of CPU among busy cells. The warden's own watch goes on beside it: it has the figures of a plugin's limits, and
 * acts before the system does. Where no group is ours it is the only one.
 *
 * A group with controllers holds no processes but in groups below it. So the warden moves itself one down, and
 * with it the kernel that it starts. When other processes share its group it cannot be divided, and is left as
 * it was.
 *
 *     OWN/airlock-<pid>          the warden and the kernel
 *     OWN/airlock-<pid>.<cell>   one cell
 *
 * Formats are those of the system's `cgroup-v2.rst`.
 *
 * @module
 */

export interface CellGroupLimits {
  readonly memoryBytesMax: number;
  readonly threadsMax: number;
  readonly nice: number;
}

/** Its own place in the tree of version 2, from `/proc/self/cgroup` and `/proc/self/mountinfo`. */
export function findOwnGroup(cgroups: string, mounts: string): string | undefined {
  const path = /^0::(\/.*)$/m.exec(cgroups)?.[1];
  if (path === undefined) return undefined;
  for (const line of mounts.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    if (!after.startsWith("cgroup2 ")) continue;
    const [, , , root = "", point = ""] = before.split(" ");
    // What is mounted may begin further down than the tree does.
    if (root === "/") return path === "/" ? point : point + path;
    if (path === root || path.startsWith(`${root}/`)) return point + path.slice(root.length);
  }
  return undefined;
}

const controllers = ["memory", "pids", "cpu"];

export class CellGroups {
  private constructor(
    private readonly own: string,
    private readonly name: string,
    private readonly files: GroupFiles,
  ) {}

  /** Throws, with the reason in words, where no group can be divided. */
  static create(own: string, pid: number, files: GroupFiles = systemGroupFiles): CellGroups {
    const offered = files.read(`${own}/cgroup.controllers`)?.trim().split(" ") ?? [];
    const missing = controllers.filter((name) => !offered.includes(name));
    if (missing.length > 0) throw new Error(`its group has no controller ${missing.join(", ")}`);
    removeStale(own, files);
    const name = `airlock-${pid}`;
    const leaf = `${own}/${name}`;
    files.make(leaf);
    try {
      files.write(`${leaf}/cgroup.procs`, String(pid));
      try {
        files.write(`${own}/cgroup.subtree_control`, controllers.map((name) => `+${name}`).join(" "));
      } catch (error) {
        files.write(`${own}/cgroup.procs`, String(pid));
        throw error;
      }
    } catch (cause) {
      files.remove(leaf);
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`its group cannot be divided: ${reason}`, { cause });
    }
    return new CellGroups(own, name, files);
  }

  /** Throws when it cannot be made or bounded. */
  make(cell: string, limits: CellGroupLimits): CellGroup {
    const { files } = this;
    const path = `${this.own}/${this.name}.${cell}`;
    files.make(path);
    try {
      files.write(`${path}/memory.max`, String(limits.memoryBytesMax));
      files.write(`${path}/memory.oom.group`, "1");
      files.write(`${path}/pids.max`, String(limits.threadsMax));
    } catch (error) {
      files.remove(path);
      throw error;
    }
    // Not there where the system was built or started without swap.
    if (files.read(`${path}/memory.swap.max`) !== undefined) files.write(`${path}/memory.swap.max`, "0");
    const group = new CellGroup(path, files);
    group.setNice(limits.nice);
    return group;
  }
}

/** A warden cannot remove the group that it is in. The system refuses to remove one that is in use. */
function removeStale(own: string, files: GroupFiles): void {
  for (const name of files.names(own)) {
    if (!/^airlock-[0-9]+(?:\.|$)/.test(name)) continue;
    try {
      files.remove(`${own}/${name}`);
    } catch {
      // Another Airlock's.
    }
  }
}

/** The groups for the cells of this process, or why there are none, in words for the operator. */
export function openCellGroups(): { groups: CellGroups | undefined; reason: string } {
  const [cgroups = "", mounts = ""] = ["cgroup", "mountinfo"].map((name) =>
    systemGroupFiles.read(`/proc/self/${name}`)
  );
  const own = findOwnGroup(cgroups, mounts);
  if (own === undefined) return { groups: undefined, reason: "cgroup v2 is not mounted here" };
  try {
    return { groups: CellGroups.create(own, Deno.pid), reason: `cgroup v2, below ${own}` };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { groups: undefined, reason: `no cgroup v2 can be used: ${message}` };
  }
}

const removeTriesMax = 50;
const removePauseMs = 20;

/** The group of one cell. Everything that a process in it starts is in it, too. */
export class CellGroup {
  constructor(readonly path: string, private readonly files: GroupFiles) {}

  /** Nothing happens when the process has ended meanwhile. */
  add(pid: number): void {
    try {
      this.files.write(`${this.path}/cgroup.procs`, String(pid));
    } catch {
      // It has ended: its end is read elsewhere.
    }
  }

  holds(pid: number): boolean {
    return (this.files.read(`${this.path}/cgroup.procs`) ?? "").split("\n").includes(String(pid));
  }

  /** Takes the place of the threads' niceness, which counts within a group only. */
  setNice(nice: number): void {
    try {
      this.files.write(`${this.path}/cpu.weight.nice`, String(nice));
    } catch {
      // Without it the cell runs beside the others; all its limits hold.
    }
  }

  /** What the system refused or ended. */
  get crossed(): "LIMIT_MEMORY" | "LIMIT_THREADS" | undefined {
    if (this.#event("memory.events", "oom_kill") > 0) return "LIMIT_MEMORY";
    return this.#event("pids.events", "max") > 0 ? "LIMIT_THREADS" : undefined;
  }

  #event(file: string, name: string): number {
    const lines = (this.files.read(`${this.path}/${file}`) ?? "").split("\n");
    const line = lines.find((line) => line.startsWith(`${name} `));
    return line === undefined ? 0 : Number(line.slice(name.length + 1));
  }

  /** Kills what is left, and waits for a second until it is gone. Throws when it is not. */
  async remove(): Promise<void> {
    try {
      this.files.write(`${this.path}/cgroup.kill`, "1");
    } catch {
      // Older than Linux 5.14: bubblewrap's namespace has ended all of them.
    }
    for (let tries = 1;; tries++) {
      try {
        return this.files.remove(this.path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        if (tries === removeTriesMax) throw error;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      setTimeout(resolve, removePauseMs);
      await promise;
    }
  }
}

/** The files of the tree. */
export interface GroupFiles {
  names(path: string): string[];
  read(path: string): string | undefined;
  write(path: string, text: string): void;
  make(path: string): void;
  remove(path: string): void;
}

export const systemGroupFiles: GroupFiles = {
  names: (path) => Array.from(Deno.readDirSync(path), ({ name }) => name),
  read(path) {
    try {
      return Deno.readTextFileSync(path);
    } catch {
      return undefined;
    }
  },
  write: (path, text) => Deno.writeTextFileSync(path, text, { create: false }),
  make: (path) => Deno.mkdirSync(path),
  remove: (path) => Deno.removeSync(path),
};
