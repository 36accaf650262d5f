/**
 * A run of git: a child process that reads one repository and is bounded in time and in what it says.
 *
 * The repository is not trusted, its configuration least of all: git can be told there to start programs
 * (pagers, hooks, file system monitors, signature checks, transports). Each such way is closed by an option
 * or a variable, which win over the configuration. What is left is bounded by the walls around the cell.
 *
 * Invariant: when a run has settled, its process has ended.
 *
 * @module
 */
import { dirname, resolve } from "node:path";

/** What one run may write to its standard output. */
export const outputBytesMax = 4_194_304;

const messageBytesMax = 4_096;

/** Where git is looked for: the cell has no environment of its own to say so. */
const searchPath = "/usr/local/bin:/usr/bin:/bin";

const overrides = [
  "safe.directory=*", // inside the sandbox the files seem to be another user's
  "core.fsmonitor=false",
  "core.hooksPath=/dev/null",
  "core.pager=cat",
  "diff.external=",
  "log.showSignature=false",
  "protocol.allow=never",
];

/** The whole environment of git for `repository`. */
function environmentFor(repository: string): Record<string, string> {
  return {
    PATH: searchPath,
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_CEILING_DIRECTORIES: dirname(repository), // the folder named, or none: not one above it
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
    GIT_NO_LAZY_FETCH: "1",
    GIT_ALLOW_PROTOCOL: "none",
  };
}

/** The standard output of git, run in `repository`. Throws a message for the caller if there is none. */
export async function runGit(
  repository: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<Uint8Array> {
  signal.throwIfAborted();
  const stop = new AbortController(); // SIGTERM, which ends git at once
  const child = spawnGit(repository, args, AbortSignal.any([signal, stop.signal]));
  try {
    const [output, message, status] = await Promise.all([
      readUpTo(child.stdout, outputBytesMax, () => stop.abort()),
      readUpTo(child.stderr, messageBytesMax, () => {}),
      child.status,
    ]);
    signal.throwIfAborted();
    if (stop.signal.aborted) {
      throw new Error(
        `Cannot log "${repository}": its log is above ${outputBytesMax} bytes; ask for fewer commits`,
      );
    }
    if (!status.success) {
      throw new Error(`Cannot log "${repository}": ${describeFailure(message, status)}`);
    }
    return output;
  } finally {
    stop.abort();
    await child.status;
  }
}

function spawnGit(repository: string, args: readonly string[], signal: AbortSignal): Deno.ChildProcess {
  const top = resolve(repository);
  try {
    return new Deno.Command("git", {
      args: [...overrides.flatMap((override) => ["-c", override]), "-C", top, ...args],
      clearEnv: true,
      env: environmentFor(top),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new Error(
        `Cannot log "${repository}": NotCapable, the operator has not granted git; ` +
          `add its path, such as "/usr/bin/git", to "run" in the grants of "git-log"`,
        { cause: error },
      );
    }
    if (error instanceof Deno.errors.NotFound) {
      // In the sealed tier a program that was not granted does not exist.
      throw new Error(
        `Cannot log "${repository}": there is no git in ${searchPath}; where it is installed, NotCapable: ` +
          `add its path, such as "/usr/bin/git", to "run" in the grants of "git-log"`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** The first `bytesMax` bytes of `stream`. Reads on to the end, so that its writer does not wait for ever. */
async function readUpTo(
  stream: ReadableStream<Uint8Array>,
  bytesMax: number,
  onExcess: () => void,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    if (length < bytesMax) chunks.push(chunk.subarray(0, bytesMax - length));
    length += chunk.length;
    if (length > bytesMax) onExcess();
  }
  const bytes = new Uint8Array(Math.min(length, bytesMax));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** What git said, on one line; its first line is the one that names the cause. */
function describeFailure(message: Uint8Array, status: Deno.CommandStatus): string {
  const line = new TextDecoder().decode(message).trim().split("\n", 1)[0] ?? "";
  if (line !== "") return line.replace(/^fatal: /, "");
  return status.signal === null ? `git ended with code ${status.code}` : `git was ended by ${status.signal}`;
}
