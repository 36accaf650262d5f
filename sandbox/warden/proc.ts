/**
 * What the warden reads of other processes in `/proc`. Linux only; elsewhere every answer is `undefined`.
 *
 * A process may end at any moment: an unreadable file means that it is gone.
 *
 * @module
 */

function readProc(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/** Process ids of the children of `pid`, the oldest first. */
export function childrenOf(pid: number): number[] {
  const text = readProc(`/proc/${pid}/task/${pid}/children`) ?? "";
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

/** Anonymous memory in bytes: heap, buffers and stacks, without files that are mapped in. */
export function anonymousBytes(pid: number): number | undefined {
  const match = /^RssAnon:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? "");
  return match === null ? undefined : Number(match[1]) * 1_024;
}

/** The program a process runs, or `undefined` when it is gone. */
export function programOf(pid: number): string | undefined {
  try {
    return Deno.readLinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/** Files that the running program has mapped: its shared libraries and the loader among them. */
export function mappedLibraries(): string[] {
  const text = readProc("/proc/self/maps") ?? "";
  const files = text.split("\n").map((line) => line.split(/\s+/)[5] ?? "");
  return [...new Set(files)].filter((file) => /^\/.*\.so(\.[0-9]+)*$/.test(file)).sort();
}
