/**
 * What a test sees of processes from outside, in `/proc`; and programs that are expected to end. Linux only.
 *
 * @module
 */
import { serveCommand } from "./airlock.ts";

const endTimeoutMs = 20_000;

function procFile(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${path}`);
  } catch {
    return undefined;
  }
}

/** The fields of `/proc/PID/stat` behind the name: state, parent, group, session, … */
function statFields(pid: number): string[] | undefined {
  const text = procFile(`${pid}/stat`);
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** False also for a process that has ended and that its parent has not asked about. */
export function isAlive(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state !== undefined && state !== "Z" && state !== "X";
}

export function sessionOf(pid: number): number {
  return Number(statFields(pid)?.[3]);
}

export function commandLineOf(pid: number): string[] {
  return (procFile(`${pid}/cmdline`) ?? "").split("\0").slice(0, -1);
}

/** Variables that a process was started with. */
export function environmentOf(pid: number): Record<string, string> {
  const lines = (procFile(`${pid}/environ`) ?? "").split("\0").filter((line) => line !== "");
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** Every process below `pid`. */
export function descendantsOf(pid: number): number[] {
  const children = (procFile(`${pid}/task/${pid}/children`) ?? "").split(" ").filter((text) => text !== "")
    .map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

/** Sockets on which a process listens: `127.0.0.1:8787`, or a path. */
export function listeningSocketsOf(pid: number): string[] {
  const inodes = new Set<string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[([0-9]+)\]$/.exec(Deno.readLinkSync(`/proc/${pid}/fd/${name}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // Closed meanwhile.
    }
  }
  const rows = (file: string) =>
    (procFile(`${pid}/net/${file}`) ?? "").trim().split("\n").slice(1).map((row) => row.trim().split(/\s+/));
  const internet = ["tcp", "tcp6", "udp", "udp6"].flatMap((file) =>
    rows(file)
      .filter((row) => inodes.has(row[9] ?? "") && (file.startsWith("udp") || row[3] === "0A"))
      .map((row) => addressOf(row[1] ?? ""))
  );
  const unix = rows("unix")
    .filter((row) => inodes.has(row[6] ?? "") && (Number.parseInt(row[3] ?? "", 16) & 0x10000) !== 0)
    .map((row) => row[7] ?? "");
  return [...internet, ...unix];
}

/** `0100007F:2253` → `127.0.0.1:8787`; an IPv6 address stays as it is. */
function addressOf(hex: string): string {
  const [host = "", port = ""] = hex.split(":");
  const name = host.length === 8
    ? host.match(/../g)!.reverse().map((byte) => Number.parseInt(byte, 16)).join(".")
    : host;
  return `${name}:${Number.parseInt(port, 16)}`;
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; kills it when that takes too long. */
export async function runToEnd(
  [program = "", ...args]: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> {
  const child = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), endTimeoutMs);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Starts Airlock with settings that it must refuse. */
export function runServe(
  flags: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> {
  return runToEnd([...serveCommand, ...flags], options);
}

/** Whether a program can be started here. */
export function hasProgram(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}
