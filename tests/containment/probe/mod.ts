/**
 * The probe: a plugin that reaches for what it is told to, and reports what Deno says.
 *
 * Each action tries one thing. What it throws comes back as data, so that a test sees the error's class and
 * not that of the call. The same code runs as several plugins, with other grants each.
 *
 * @module
 */

/** What became of one attempt. */
export type Outcome =
  | { readonly done: true; readonly value: unknown }
  | { readonly done: false; readonly name: string; readonly message: string };

async function attempt(work: () => unknown): Promise<Outcome> {
  try {
    return { done: true, value: await work() ?? null };
  } catch (error) {
    const { name, message } = error instanceof Error
      ? error
      : { name: "not an Error", message: String(error) };
    return { done: false, name, message };
  }
}

async function output(
  program: string,
  args: string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Resolves with what a nested Worker says first, or the message of its error. */
async function nested(permissions: Deno.PermissionOptions, code: string): Promise<unknown> {
  const url = `data:text/javascript,${encodeURIComponent(code)}`;
  const worker = new Worker(url, { type: "module", deno: { permissions } });
  const { promise, resolve } = Promise.withResolvers<unknown>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    resolve(`error: ${event.message}`);
  };
  try {
    return await promise;
  } finally {
    worker.terminate();
  }
}

type Input = Record<string, string>;

const sysReads: Record<string, () => unknown> = {
  hostname: () => Deno.hostname(),
  osRelease: () => Deno.osRelease(),
  loadavg: () => Deno.loadavg(),
  networkInterfaces: () => Deno.networkInterfaces(),
  systemMemoryInfo: () => Deno.systemMemoryInfo(),
  uid: () => Deno.uid(),
};

export const actions = {
  fetch: ({ url = "" }: Input) => attempt(async () => await (await fetch(url)).text()),
  connect: ({ hostname = "", port }: Input) =>
    attempt(async () => (await Deno.connect({ hostname, port: Number(port) })).close()),
  listen: ({ port }: Input) =>
    attempt(() => Deno.listen({ hostname: "127.0.0.1", port: Number(port) }).close()),
  resolve: ({ name = "" }: Input) =>
    attempt(() => Deno.resolveDns(name, "A", { nameServer: { ipAddr: "127.0.0.1" } })),
  connectUnix: ({ path = "" }: Input) =>
    attempt(async () => (await Deno.connect({ transport: "unix", path })).close()),

  read: ({ path = "" }: Input) => attempt(() => Deno.readTextFile(path)),
  readByNode: ({ path = "" }: Input) =>
    attempt(async () => (await import("node:fs")).readFileSync(path, "utf-8")),
  list: ({ path = "" }: Input) => attempt(() => [...Deno.readDirSync(path)].map(({ name }) => name).sort()),
  stat: ({ path = "" }: Input) => attempt(() => Deno.statSync(path).size),
  write: ({ path = "", text = "" }: Input) => attempt(() => Deno.writeTextFile(path, text)),
  remove: ({ path = "" }: Input) => attempt(() => Deno.remove(path)),
  rename: ({ from = "", to = "" }: Input) => attempt(() => Deno.rename(from, to)),
  symlink: ({ target = "", path = "" }: Input) => attempt(() => Deno.symlink(target, path)),
  link: ({ target = "", path = "" }: Input) => attempt(() => Deno.link(target, path)),
  chmod: ({ path = "" }: Input) => attempt(() => Deno.chmod(path, 0o777)),

  run: ({ program = "", args = "[]" }: Input) => attempt(() => output(program, JSON.parse(args))),
  runByNode: ({ program = "" }: Input) =>
    attempt(async () => (await import("node:child_process")).execFileSync(program).toString()),
  signal: ({ pid }: Input) => attempt(() => Deno.kill(Number(pid), "SIGCONT")),
  signalByNode: ({ pid }: Input) => attempt(async () => (await import("node:process")).kill(Number(pid), 0)),

  env: ({ name = "" }: Input) => attempt(() => Deno.env.get(name)),
  allEnv: () => attempt(() => Deno.env.toObject()),
  sys: ({ kind = "" }: Input) => attempt(() => sysReads[kind]?.()),
  dlopen: ({ path = "" }: Input) =>
    attempt(() => Deno.dlopen(path, { cos: { parameters: ["f64"], result: "f64" } }).symbols.cos(0)),

  // As text that is built at run time: the analysis of a module's imports must not be what stops it.
  import: ({ specifier = "" }: Input) => attempt(async () => Object.keys(await import(specifier))),
  evaluate: ({ code = "" }: Input) => attempt(() => (0, eval)(code)),
  construct: ({ code = "" }: Input) => attempt(() => new Function(`return ${code}`)()),
  backtrack: ({ text = "" }: Input) => attempt(() => /^(a+)+$/.test(text)),

  readStdin: () => attempt(() => Deno.stdin.readSync(new Uint8Array(16))),
  nestedWorker: ({ permissions = "{}", code = "" }: Input) =>
    attempt(() => nested(JSON.parse(permissions), code)),
  permission: ({ descriptor = "" }: Input) =>
    attempt(() => Deno.permissions.requestSync(JSON.parse(descriptor)).state),
};
