/**
 * Command lines: the only programs the warden starts, and exactly how. Pure.
 *
 * The kernel never names a program or a flag; what it asks for is a {@linkcode CellDescription}, and this
 * file turns it into a command.
 *
 * @module
 */
import type { Grants } from "../../schemas/capabilities.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import { processFlags } from "../permissions.ts";
import {
  auditDescriptor,
  bubblewrapArguments,
  type HostRuntime,
  sealedTemporaryDir,
  seccompDescriptor,
} from "./bubblewrap.ts";
import { descriptorsMax, heapMbMax } from "./cell_watch.ts";
import { seccompFile } from "./seccomp.ts";

/** The programs found on this machine. A missing one weakens what the process tier can promise. */
export interface HostPrograms {
  readonly deno: string;
  /** In a compiled binary the program is itself, without `run` and flags. */
  readonly standalone: boolean;
  /** Sets limits, and opens the filter: Deno hands no descriptor to a child. */
  readonly sh: string | undefined;
  /** Descriptors that whoever started the warden left open, and that its children would inherit. */
  readonly inherited: readonly number[];
  /** Those of them that no shell here can close. */
  readonly unclosed: readonly number[];
  readonly setpriv: string | undefined;
  readonly setsid: string | undefined;
  /** Without it there is no audit of what plugins ask for. */
  readonly mkfifo: string | undefined;
  readonly sealed: HostRuntime | undefined;
  /** Of the processor: `x86_64`, `aarch64`. */
  readonly arch: string;
}

/** Whether what cells ask Deno for is told; a compiled binary does not read the variable that asks for it. */
export function isAudited({ mkfifo, standalone }: HostPrograms): boolean {
  return mkfifo !== undefined && !standalone;
}

export interface Command {
  readonly program: string;
  readonly args: string[];
  /** All of the program's environment. Values an operator granted are here and never in `args`. */
  readonly env: Record<string, string>;
  /** Whether it makes itself the leader of a session; otherwise whoever spawns it must. */
  readonly ownSession: boolean;
  /** How many wrappers stay alive above the program. */
  readonly depth: number;
}

const megabyte = 1_048_576;
/** POSIX: the last that a script can redirect. */
export const posixDescriptorMax = 9;
/** POSIX: the unit of `ulimit -f`. */
const fileBlockBytes = 512;

/** Flags that hold for every cell. `--no-config` and the like: nothing outside the package decides. */
function cellFlags(heapMb: number, isEvalGranted: boolean): string[] {
  const v8 = [
    `--max-old-space-size=${heapMb}`,
    // A pattern that backtracks without end falls back to an engine that runs in linear time.
    "--enable-experimental-regexp-engine-on-excessive-backtracks",
    ...(isEvalGranted ? [] : ["--disallow-code-generation-from-strings"]),
  ];
  return [
    "--quiet",
    "--no-config",
    "--no-lock",
    "--no-prompt",
    "--no-remote",
    "--no-npm",
    "--cached-only",
    "--no-code-cache",
    "--unstable-worker-options",
    "--deny-import",
    `--v8-flags=${v8.join(",")}`,
  ];
}

export interface CellFiles {
  /** Holds the bundles of `sandbox/build_cell.ts`. */
  readonly bundleDir: string;
  readonly socket: string;
  /** Private to this cell; outside the sealed tier only. */
  readonly temporaryDir: string;
  /** A named pipe, into which Deno tells of permission checks. */
  readonly auditPipe: string | undefined;
}

/** Throws when the description asks for what this machine or its tier cannot give. */
export function cellCommand(
  cell: CellDescription,
  files: CellFiles,
  host: HostPrograms,
  environment: (name: string) => string | undefined,
): Command {
  const { grants, limits, tier } = cell;
  // A compiled binary carries the bundles inside.
  const needs = { readable: host.standalone ? [] : [files.bundleDir], socket: files.socket };
  const temporaryDir = tier === "sealed" ? sealedTemporaryDir : files.temporaryDir;
  const env: Record<string, string> = {
    // A cache serves nothing that starts once. Where there can be none Deno keeps what it must in memory, and
    // starts 1 to 3 ms sooner; but without the second variable it tries for 150 ms to store what it transpiled.
    DENO_DIR: "/proc/none",
    DENO_EMIT_CACHE_MODE: "disable",
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
    HOME: temporaryDir,
    TMPDIR: temporaryDir,
    PATH: "/usr/local/bin:/usr/bin:/bin",
    ...grantedEnvironment(grants, environment),
    // Last: a variable of this name is not the plugin's to be given.
    ...(files.auditPipe === undefined ? {} : { DENO_AUDIT_PERMISSIONS: files.auditPipe }),
  };
  const program = host.standalone ? [host.deno, "cell"] : [
    host.deno,
    "run",
    ...cellFlags(heapMbMax(limits), grants.eval),
    ...processFlags(grants, needs),
    `${files.bundleDir}/cell.js`,
  ];
  // A session of its own, out of reach of a terminal's Ctrl-C. A wrapper has it in less than 1 ms; Deno, asked
  // for it, must fork where it could vfork, which takes 3 ms and more, the larger the warden is.
  const session = host.setsid === undefined ? [] : [host.setsid];
  const ownSession = host.setsid !== undefined;
  if (tier === "sealed") {
    if (host.sealed === undefined || host.sh === undefined) {
      throw new Error("Cannot start a sealed cell: bubblewrap does not work here");
    }
    const filter = host.standalone ? undefined : `${files.bundleDir}/${seccompFile(host.arch)}`;
    const jail = bubblewrapArguments(cell, host.sealed, {
      ...needs,
      auditPipe: files.auditPipe,
      hasFilter: filter !== undefined,
    });
    const sealed = [host.sealed.bwrap, ...jail, "--", ...program];
    return {
      ...command([...session, ...bounded(host, limits, filter, files.auditPipe), ...sealed]),
      env,
      ownSession,
      depth: 2,
    };
  }
  if (grants.run.length > 0 || grants.ffi.length > 0) {
    throw new Error(
      "Cannot start a cell in the process tier: run and ffi are granted in the sealed tier only",
    );
  }
  // The kernel's death signal reaches a suspended cell too, which cannot see its socket close, and one that waits for
  // a reader of its audit.
  const tied = host.setpriv === undefined ? [] : [host.setpriv, "--pdeathsig=KILL", "--no-new-privs", "--"];
  const limited = bounded(host, limits);
  return { ...command([...session, ...tied, ...limited, ...program]), env, ownSession, depth: 0 };
}

/**
 * A shell that sees whether the warden still lives (it may have died before the death signal was asked for), closes
 * what is not the cell's, sets what the system itself limits, opens `filter` and `auditPipe` for bubblewrap, and
 * becomes that or the program. The pipe is opened to be read, so that nobody waits for ever for its reader: a warden
 * that was killed will not come.
 */
function bounded(
  { sh, inherited }: HostPrograms,
  limits: CellDescription["limits"],
  filter?: string,
  auditPipe?: string,
): string[] {
  if (sh === undefined) return [];
  const isBash = inherited.some((descriptor) => descriptor > posixDescriptorMax);
  const blocks = limits.fileMb * megabyte / fileBlockBytes;
  const amounts = [String(Deno.pid), String(blocks), String(descriptorsMax(limits))];
  const opened: string[] = [];
  if (auditPipe !== undefined) {
    const path = `"$${amounts.push(auditPipe)}"`;
    // To read alone, which must not wait either: for a moment it is its own writer.
    opened.push(`exec ${seccompDescriptor}<>${path} ${auditDescriptor}<${path} ${seccompDescriptor}<&-`);
  }
  if (filter !== undefined) opened.push(`exec ${seccompDescriptor}<"$${amounts.push(filter)}"`);
  const steps = [
    'test "$PPID" -eq "$1"',
    ...inherited.map((descriptor) => `exec ${descriptor}<&-`),
    ...opened,
    ...["ulimit -c 0", 'ulimit -f "$2"', 'ulimit -n "$3"'],
    `shift ${amounts.length}`,
    // Bash adds to the environment.
    isBash ? 'exec env -u SHLVL -u _ "$@"' : 'exec "$@"',
  ];
  // It counts in units of its own, too, unless it is asked for POSIX's.
  return [sh, ...isBash ? ["--posix"] : [], "-c", steps.join(" && "), "sh", ...amounts];
}

function grantedEnvironment(grants: Grants, environment: (name: string) => string | undefined) {
  const granted: Record<string, string> = {};
  for (const name of grants.env) {
    const value = environment(name);
    if (value !== undefined) granted[name] = value;
  }
  return granted;
}

function command([program = "", ...args]: string[]): Pick<Command, "program" | "args"> {
  return { program, args };
}

export interface KernelFolders {
  readonly main: string;
  readonly config: string;
  readonly dataDir: string;
  readonly readable: readonly string[];
  /** Holds the socket, and the temporary folders of cells in the process tier. */
  readonly runFolder: string;
  readonly socket: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The kernel's flags, each with its reason. There is no `--allow-run`, `--allow-ffi`, `--allow-sys` or
 * `--allow-env`, and no host but its own address.
 */
export function kernelCommand(folders: KernelFolders, host: HostPrograms): Command {
  const { dataDir, readable, runFolder, socket, port } = folders;
  const address = folders.host.includes(":") ? `[${folders.host}]` : folders.host;
  const flags = [
    "--quiet",
    "--no-prompt", // a question nobody answers would hang the service
    `--config=${folders.config}`, // the import map
    "--cached-only", // the kernel's own code never comes from the network
    "--no-remote",
    "--unstable-no-legacy-abort", // a request's signal aborts only when its caller went away
    "--ignore-env", // libraries look for NODE_ENV and the like: there is none, and no refusal
    `--allow-net=${address}:${port},unix:${socket}`, // listen for HTTP, and for cells
    `--allow-read=${[dataDir, runFolder, ...readable].join(",")}`, // state, packages, the API reader's files
    `--allow-write=${dataDir},${runFolder}`, // state; binding a socket is a write
  ];
  const args = host.standalone ? ["kernel"] : ["run", ...flags, folders.main, "kernel"];
  return { program: host.deno, args, env: {}, ownSession: false, depth: 0 };
}
