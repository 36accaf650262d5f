/**
 * The machine and the state of the code that a figure belongs to: without them it says nothing.
 *
 * @module
 */

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMb: number;
  readonly kernel: string;
  readonly deno: string;
  /** Load averages over 1, 5 and 15 minutes: others may be at work on this machine. */
  readonly load: readonly number[];
}

export function describeMachine(): Machine {
  const cpuInfo = readText("/proc/cpuinfo");
  return {
    cpu: /^model name\s*:\s*(.+)$/m.exec(cpuInfo)?.[1] ?? Deno.build.arch,
    cores: navigator.hardwareConcurrency,
    memoryMb: Math.round(Deno.systemMemoryInfo().total / 1_048_576),
    kernel: `${Deno.build.os} ${Deno.osRelease()}`,
    deno: Deno.version.deno,
    load: Deno.loadavg(),
  };
}

/** The commit that is checked out, with `+` behind it when files differ from it. */
export async function describeCommit(): Promise<string> {
  const commit = await git(["rev-parse", "--short=12", "HEAD"]);
  const changes = await git(["status", "--porcelain", "--untracked-files=no"]);
  return commit === "" ? "unknown" : changes === "" ? commit : `${commit}+`;
}

async function git(args: string[]): Promise<string> {
  try {
    const cwd = new URL("..", import.meta.url);
    const { success, stdout } = await new Deno.Command("git", { args, cwd, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : "";
  } catch {
    return "";
  }
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
