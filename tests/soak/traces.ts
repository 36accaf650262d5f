/**
 * What processes leave behind, seen from outside: descriptors, memory, folders, cgroups. Linux only.
 *
 * A process may end while it is looked at: what cannot be read any more is left out.
 *
 * @module
 */
import { equal, fail, ok } from "node:assert/strict";
import { type Airlock, serveCommand, until } from "../support/airlock.ts";
import { descendantsOf, isAlive } from "../support/processes.ts";

/** How many rounds: the word after `--`, else the few that every run of the tests has time for. */
export function roundsAsked(few: number): number {
  const rounds = Number(Deno.args[0] ?? few);
  ok(Number.isInteger(rounds) && rounds > 0, `Cannot run "${Deno.args[0]}" rounds: it is not a number`);
  return rounds;
}

/** Whether this is a long run, whose progress and figures somebody watches. */
export const isLongRun = Deno.args.length > 0;

/**
 * Airlock with a warden that collects all its garbage each time, and whose threads share one heap of `malloc`, set
 * by {@linkcode tightMemory}: its memory is then what it holds.
 */
export const serveCommandTight: readonly string[] = serveCommand.flatMap((word) =>
  word === "run" ? [word, "--v8-flags=--gc-global"] : [word]
);

/** Variables of the warden alone: the kernel gets none of them. */
export const tightMemory: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_TRIM_THRESHOLD_: "131072",
};

export function tell(line: string): void {
  if (isLongRun) Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** What the open descriptors of a process are, sorted; connections of HTTP are those of {@linkcode countTcp}. */
export function descriptorsOf(pid: number): string[] {
  const kinds = socketKinds(pid);
  return linksOf(pid).flatMap((link) => {
    const socket = /^socket:\[([0-9]+)\]$/.exec(link)?.[1];
    const kind = socket === undefined ? link.replaceAll(/[0-9]+/g, "N") : kinds.get(socket);
    return kind === "tcp" ? [] : [kind ?? "socket:other"];
  }).sort();
}

/** Connections of a process, and ports on which it listens. */
export function countTcp(pid: number): number {
  const kinds = socketKinds(pid);
  return linksOf(pid).filter((link) => kinds.get(/^socket:\[([0-9]+)\]$/.exec(link)?.[1] ?? "") === "tcp")
    .length;
}

function linksOf(pid: number): string[] {
  const links: string[] = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      links.push(Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Closed meanwhile.
    }
  }
  return links;
}

/** Of each socket of this network namespace, by inode. */
function socketKinds(pid: number): Map<string, string> {
  const kinds = new Map<string, string>();
  for (const [file, column, kind] of [["tcp", 9, "tcp"], ["tcp6", 9, "tcp"], ["unix", 6, "unix"]] as const) {
    for (const row of Deno.readTextFileSync(`/proc/${pid}/net/${file}`).trim().split("\n").slice(1)) {
      kinds.set(row.trim().split(/\s+/)[column] ?? "", kind);
    }
  }
  return kinds;
}

/** Memory that is the process's own, without mapped files. */
export function anonymousMb(pid: number): number {
  const match = /^RssAnon:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`));
  return Number(match?.[1] ?? NaN) / 1_024;
}

/** Every cgroup that Airlock could have made. */
export function ownCgroups(folder = "/sys/fs/cgroup", depth = 5): string[] {
  if (depth === 0) return [];
  try {
    return [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory).flatMap(({ name }) => {
      const path = `${folder}/${name}`;
      return [...(/airlock/.test(name) ? [path] : []), ...ownCgroups(path, depth - 1)];
    });
  } catch {
    return []; // there are none here, or it went meanwhile
  }
}

/** Live processes below the warden. */
export function processesOf(airlock: Airlock): number[] {
  return descendantsOf(airlock.pid).filter(isAlive);
}

/** What of an Airlock whose cells have all ended may stay. */
export interface Traces {
  readonly kernel: readonly string[];
  readonly warden: readonly string[];
  readonly data: readonly string[];
}

export async function tracesOf(airlock: Airlock): Promise<Traces> {
  const kernel = await airlock.kernelPid();
  return {
    kernel: descriptorsOf(kernel),
    warden: descriptorsOf(airlock.pid),
    data: [...filesBelow(airlock.dataDir)].filter((path) => !path.includes("/ledger/")).sort(),
  };
}

/** Fails unless all that is there now is in `expected`, and no process but the kernel is. */
export async function checkNothingLeft(
  airlock: Airlock,
  expected: Traces,
  temporaryDir: string,
): Promise<void> {
  const kernel = await airlock.kernelPid();
  await until("no process but the kernel", () => processesOf(airlock).every((pid) => pid === kernel));
  equal([...Deno.readDirSync(temporaryDir)].length, 1, "one run folder");
  // The pipes of audits are there for the next cells.
  const names = [...Deno.readDirSync(airlock.runFolder)].map(({ name }) => name).filter((name) =>
    name !== "audit"
  );
  equal(names.join(), "s", "nothing but the socket");
  equal(ownCgroups().filter((path) => path.includes(`${airlock.pid}`)).join("\n"), "", "no cgroup");
  // A descriptor is closed a turn of the event loop after the end of what it led to.
  let now = await tracesOf(airlock);
  const left = () =>
    (["kernel", "warden", "data"] as const).map((of) => surplus(now[of], expected[of], `${of}: `)).join("");
  await until(
    "the last descriptor closed",
    async () => left() === "" || (now = await tracesOf(airlock), false),
  )
    .catch(() => fail(`left over:\n${left()}`));
  // One to listen on, and at most those that this process has open to it.
  ok(countTcp(kernel) <= 1 + countTcp(Deno.pid), "connections of the kernel");
}

/** What is in `found` more often than in `expected`, a line each. */
function surplus(found: readonly string[], expected: readonly string[], label: string): string {
  const rest = [...expected];
  return found.filter((item) => {
    const at = rest.indexOf(item);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  }).map((item) => `${label}${item}\n`).join("");
}

function* filesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    yield path;
    if (isDirectory) yield* filesBelow(path);
  }
}

/**
 * By how many MB memory rose in a long run: from the highest of the first two fifths, in which a process takes
 * what it needs before its garbage is first collected, to the median of the last fifth.
 */
export function riseMb(series: readonly number[]): number {
  const warmUp = series.slice(0, Math.ceil(series.length * 2 / 5));
  const last = series.slice(Math.floor(series.length * 4 / 5)).toSorted((a, b) => a - b);
  return (last[Math.floor(last.length / 2)] ?? NaN) - Math.max(...warmUp);
}
