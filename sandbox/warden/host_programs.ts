/**
 * What this machine offers for containment, found once at start and by trying, not by guessing.
 *
 * @module
 */
import type { Isolation } from "../../schemas/capabilities.ts";
import { hiddenPaths, type HostRuntime, loaderPaths, nameServicePaths, programPaths } from "./bubblewrap.ts";
import { cellCommand, type CellFiles, type HostPrograms, posixDescriptorMax } from "./command_line.ts";
import { inheritableDescriptors, mappedLibraries } from "./proc.ts";

const probeTimeoutMs = 5_000;

/** The tier in force, and why, in words for the operator. */
export interface TierChoice {
  readonly tier: Isolation;
  readonly reason: string;
}

export function findProgram(name: string, searchPath: string): string | undefined {
  return searchPath.split(":").filter((folder) => folder.startsWith("/"))
    .map((folder) => `${folder}/${name}`)
    .find((file) => isFile(file));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

export function findHostPrograms(searchPath: string): HostPrograms {
  const deno = Deno.realPathSync(Deno.execPath());
  const bwrap = Deno.build.os === "linux" ? findProgram("bwrap", searchPath) : undefined;
  return {
    deno,
    standalone: Deno.build.standalone,
    ...shell(searchPath),
    arch: Deno.build.arch,
    setpriv: findProgram("setpriv", searchPath),
    setsid: findProgram("setsid", searchPath),
    mkfifo: findProgram("mkfifo", searchPath),
    sealed: bwrap === undefined ? undefined : sealedRuntime(bwrap, deno),
  };
}

/**
 * A shell that can close what was inherited: POSIX gives a script ten descriptors, only bash closes others. Where
 * there are others and no bash, `unclosed` names those that every cell inherits.
 */
function shell(searchPath: string): Pick<HostPrograms, "sh" | "inherited" | "unclosed"> {
  const inherited = inheritableDescriptors();
  const others = inherited.filter((descriptor) => descriptor > posixDescriptorMax);
  const sh = findProgram("sh", searchPath);
  if (others.length === 0) return { sh, inherited, unclosed: [] };
  const bash = findProgram("bash", searchPath);
  if (bash !== undefined) return { sh: bash, inherited, unclosed: [] };
  return {
    sh,
    inherited: inherited.filter((descriptor) => descriptor <= posixDescriptorMax),
    unclosed: others,
  };
}

function sealedRuntime(bwrap: string, deno: string): HostRuntime {
  const rootLinks: Record<string, string> = {};
  for (const path of ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    try {
      rootLinks[path] = Deno.readLinkSync(path);
    } catch {
      // A folder, or absent: then it is bound, or nobody needs it.
    }
  }
  const isReal = (path: string) => exists(path) && !(path in rootLinks);
  return {
    bwrap,
    deno,
    libraries: [...mappedLibraries(), ...loaderPaths.filter(exists)],
    rootLinks,
    nameService: nameServicePaths.filter(exists),
    programRoots: programPaths.filter(isReal),
    hidden: hiddenPaths.filter(exists),
  };
}

/** Starts an empty sealed cell's shell, to see whether this machine lets us. */
export async function chooseTier(
  wanted: "auto" | Isolation,
  host: HostPrograms,
  files: CellFiles,
): Promise<TierChoice> {
  if (wanted === "process") return { tier: "process", reason: "the configuration asks for it" };
  const fault = await sealedFault(host, files);
  if (fault === undefined) return { tier: "sealed", reason: "bubblewrap works on this machine" };
  if (wanted === "sealed") throw new Error(`Cannot start in the sealed tier: ${fault}`);
  return { tier: "process", reason: fault };
}

async function sealedFault(host: HostPrograms, files: CellFiles): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "bubblewrap exists on Linux only";
  if (host.sealed === undefined) return "bwrap was not found (Debian: apt-get install bubblewrap)";
  const grants = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
  const limits = {
    ...{ memoryMb: 128, cpuPercent: 100, cpuMs: 1_000, wallMs: 1_000, fileMb: 1, fileDescriptors: 64 },
    ...{ connections: 0, diskMb: 1, files: 1, threads: 64, messagesPerSecond: 10, outputMb: 1 },
    logBytesPerSecond: 0,
  };
  const description = { cell: "probe", token: "0".repeat(64), packageDir: "/", dataDir: "/", grants, limits };
  const { program, args, env } = cellCommand(
    { ...description, tier: "sealed" },
    files,
    host,
    () => undefined,
  );
  // The same jail as a cell's, around `deno --version`.
  const jail = args.slice(0, args.lastIndexOf(host.deno) + 1);
  const { success, stderr } = await new Deno.Command(program, {
    args: [...jail, "--version"],
    env,
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(probeTimeoutMs),
  }).output();
  if (success) return undefined;
  const [line = ""] = new TextDecoder().decode(stderr).split("\n");
  return `bubblewrap does not work here: ${line || "it ended without a word"}`;
}
