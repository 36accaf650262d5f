/**
 * A server for a bench: a Deno program in a process of its own, that prints its address, and the folder for its data.
 * Both go with the bench.
 *
 * @module
 */

const root = new URL("..", import.meta.url).pathname;
const readyTimeoutMs = 30_000;

/** A folder on the disk that holds this checkout: the system's temporary one may be in memory. */
export async function makeBenchFolder(resources: AsyncDisposableStack): Promise<string> {
  const data = `${root}data`;
  await Deno.mkdir(data, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: data, prefix: "bench-" });
  resources.defer(() => Deno.remove(folder, { recursive: true }));
  return folder;
}

/** Starts a Deno program that prints its address, and returns that. */
export async function startServer(resources: AsyncDisposableStack, args: readonly string[]): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--cached-only", ...args],
    cwd: root,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  resources.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), readyTimeoutMs);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  resources.defer(() => reader.cancel());
  for (let printed = "";;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot start "${args.join(" ")}": it ended`);
    printed += value;
    const address = /http:\/\/127\.0\.0\.1:\d+/.exec(printed)?.[0];
    if (address === undefined) continue;
    clearTimeout(timer);
    return address;
  }
}
