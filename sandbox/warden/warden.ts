/**
 * The warden: the one process that may start programs. It starts the kernel and, at the kernel's word,
 * cells; it watches them, kills them, and brings back a kernel that died.
 *
 * It opens no socket, loads no npm code but zod, and parses nothing but the kernel's messages and its
 * companion's settings. What it must survive is a kernel that was taken over from the network, and cells
 * that were written to be hostile.
 *
 * If the warden itself dies: the kernel sees its stdin close, removes the run folder and ends; sealed
 * cells die with their parent, the others by their death signal or when their socket closes.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import { openCellGroups } from "./cgroup.ts";
import { isAudited } from "./command_line.ts";
import { chooseTier, findHostPrograms, type TierChoice } from "./host_programs.ts";
import { type KernelEnd, KernelProcess } from "./kernel_process.ts";
import type { ToWarden } from "../../schemas/warden_protocol.ts";

/** Where Airlock's own files are. */
export interface OwnFiles {
  readonly main: string;
  readonly configFile: string;
  readonly codeDir: string;
  readonly bundledPlugins: string;
  readonly docsDir: string;
  readonly bundleDir: string;
}

export interface WardenOptions {
  readonly config: Config;
  readonly files: OwnFiles;
  environment(name: string): string | undefined;
  print(text: string): void;
  log(message: string): void;
}

/** A kernel that exits with it must not be started again: its message says what to mend. */
export const kernelRefusesExitCode = 78;

const deaths = { backoffFirstMs: 50, backoffMaxMs: 2_000, forgottenAfterMs: 60_000 } as const;
const sameSignalMs = 1_000;
/** A drain takes as many of `cells.stopTimeoutMs` after its own time; see `Kernel.drain`. */
const stopsInDrain = 3;
const killAfterDrainMs = 5_000;
const kernelVariables = ["DENO_DIR", "HOME", "XDG_CACHE_HOME", "TZ"] as const;

/** Runs until a signal, or a kernel that refuses to start. Returns the process's exit code. */
export async function runWarden(options: WardenOptions): Promise<number> {
  checkFlagPath("code folder", options.files.codeDir);
  using folder = await openDataFolder(options.config.data);
  await using warden = new Warden(options, folder.path);
  return await warden.run();
}

class Warden implements AsyncDisposable {
  readonly #host;
  readonly #cellGroups = openCellGroups();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #onSignal: (name: Deno.Signal) => void;
  readonly #handlers: [Deno.Signal, () => void][];
  #kernel: KernelProcess | undefined;
  #isStopping = false;
  #firstSignal: { name: string; atMs: number } | undefined;
  #port: number;
  #announced = false;

  constructor(private readonly options: WardenOptions, private readonly dataDir: string) {
    this.#host = findHostPrograms(options.environment("PATH") ?? "");
    const { unclosed } = this.#host;
    if (unclosed.length > 0) {
      options.log(
        `Plugins inherit descriptor ${unclosed.join(", ")}, which whoever started Airlock left open: ` +
          "start it without, or install bash, which can close it",
      );
    }
    if (!isAudited(this.#host)) {
      const reason = this.#host.standalone ? "a compiled binary does not tell" : "mkfifo was not found";
      options.log(`What plugins ask Deno for is not audited: ${reason}`);
    }
    this.#port = options.config.port;
    this.#onSignal = (name) => this.#signalled(name);
    this.#handlers = (["SIGINT", "SIGTERM"] as const).map((name) => [name, () => this.#onSignal(name)]);
    for (const [name, handler] of this.#handlers) Deno.addSignalListener(name, handler);
  }

  async run(): Promise<number> {
    const tier = await this.#tier();
    let backoffMs: number = deaths.backoffFirstMs;
    while (!this.#isStopping) {
      const startedAtMs = performance.now();
      const end = await this.#live(tier);
      if (this.#isStopping) return end.drained ? 0 : 1;
      if (end.exitCode === kernelRefusesExitCode) return 1;
      const livedMs = performance.now() - startedAtMs;
      if (!this.#announced) {
        this.options.log(`The kernel ended before it listened (${words(end)}): giving up`);
        return 1;
      }
      if (livedMs > deaths.forgottenAfterMs) backoffMs = deaths.backoffFirstMs;
      this.options.log(
        `The kernel died after ${Math.round(livedMs)} ms (${words(end)}): back in ${backoffMs} ms`,
      );
      await this.#pause(backoffMs);
      backoffMs = Math.min(backoffMs * 2, deaths.backoffMaxMs);
    }
    return 0;
  }

  async #tier(): Promise<TierChoice> {
    const { bundleDir } = this.options.files;
    const files = { bundleDir, socket: "/dev/null", temporaryDir: "/tmp", auditPipe: undefined };
    return await chooseTier(this.options.config.cells.tier, this.#host, files);
  }

  async #live({ tier, reason }: TierChoice): Promise<KernelEnd> {
    const { config, files } = this.options;
    const env: Record<string, string> = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
    for (const name of kernelVariables) {
      const value = this.options.environment(name);
      if (value !== undefined) env[name] = value;
    }
    const pluginFolders = await Promise.all(config.plugins.map((folder) => pluginFolder(folder)));
    const runFolder = await makeRunFolder();
    await Deno.writeTextFile(`${this.dataDir}/run`, runFolder);
    this.#kernel = new KernelProcess({
      host: this.#host,
      main: files.main,
      configFile: files.configFile,
      bundleDir: files.bundleDir,
      config,
      boot: {
        dataDir: this.dataDir,
        bundledPlugins: files.bundledPlugins,
        pluginFolders,
        codeDir: files.codeDir,
        docsDir: files.docsDir,
        tier,
        tierReason: reason,
        audited: isAudited(this.#host),
      },
      runFolder,
      port: this.#port,
      groups: this.#cellGroups.groups,
      env,
      environment: (name) => this.options.environment(name),
      onListening: (message) => this.#announce(message, { tier, reason }),
      log: (message) => this.options.log(message),
    });
    // A signal that came while there was no kernel.
    if (this.#isStopping) this.#kernel.drain();
    return await this.#kernel.ended;
  }

  #announce(message: Extract<ToWarden, { type: "listening" }>, tier: TierChoice): void {
    this.#port = message.port;
    if (this.#announced) return;
    this.#announced = true;
    const { reason: groups } = this.#cellGroups;
    const { host, cells: { sampleIntervalMs } } = this.options.config;
    const limits = `a look every ${sampleIntervalMs} ms; ${groups}`;
    this.options.print(banner(message, { ...tier, limits, host, dataDir: this.dataDir }));
  }

  /** The same signal again within a second is one signal: a terminal and a parent both deliver it. */
  #signalled(name: string): void {
    const nowMs = performance.now();
    if (this.#firstSignal === undefined) {
      this.#firstSignal = { name, atMs: nowMs };
      this.#isStopping = true;
      this.#stopped.resolve();
      this.#kernel?.drain();
      const { http: { drainTimeoutMs }, cells: { stopTimeoutMs } } = this.options.config;
      const drainMs = drainTimeoutMs + stopsInDrain * stopTimeoutMs + killAfterDrainMs;
      Deno.unrefTimer(setTimeout(() => this.#kernel?.kill(), drainMs));
    } else if (name !== this.#firstSignal.name || nowMs - this.#firstSignal.atMs > sameSignalMs) {
      this.#kernel?.kill();
    }
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([promise, this.#stopped.promise]);
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, handler] of this.#handlers) Deno.removeSignalListener(name, handler);
    this.#kernel?.kill();
    await this.#kernel?.ended;
  }
}

function words({ exitCode, signal }: KernelEnd): string {
  return signal === null ? `exit code ${exitCode}` : signal;
}

async function pluginFolder(folder: string): Promise<string> {
  let path: string;
  try {
    path = await Deno.realPath(folder);
  } catch (cause) {
    throw new Error(`Cannot read plugin folder "${folder}": it does not exist`, { cause });
  }
  checkFlagPath("plugin folder", path);
  return path;
}

async function makeRunFolder(): Promise<string> {
  const path = await Deno.makeTempDir({ prefix: "airlock-" });
  try {
    checkFlagPath("temporary folder", path);
  } catch (error) {
    await Deno.remove(path);
    throw error;
  }
  return path;
}

function checkFlagPath(what: string, path: string): void {
  if (!path.includes(",")) return;
  throw new Error(
    `Cannot use ${what} "${path}": Deno's permission flags cannot name a path with a comma`,
  );
}

/**
 * Makes the data folder, takes its lock for the warden's life, and removes what a killed predecessor left.
 * A crash in here leaves an empty run folder in the system's temporary folder at most.
 */
async function openDataFolder(folder: string): Promise<{ path: string } & Disposable> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const path = await Deno.realPath(folder);
  checkFlagPath("data folder", path);
  const lock = await Deno.open(`${path}/warden.lock`, { create: true, write: true, mode: 0o600 });
  if (!await lock.tryLock(true)) {
    lock.close();
    throw new Error(`Cannot use data folder "${path}": another Airlock is running on it`);
  }
  await removeStaleRunFolder(path);
  return {
    path,
    [Symbol.dispose]() {
      lock.close();
    },
  };
}

async function removeStaleRunFolder(dataDir: string): Promise<void> {
  try {
    const stale = await Deno.readTextFile(`${dataDir}/run`);
    // The name is our own: nothing else is ever removed on the word of this file.
    if (/\/airlock-[0-9a-f]+$/.test(stale)) await Deno.remove(stale, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What an operator sees at start. */
function banner(
  { port, plugins, example, plural }: Extract<ToWarden, { type: "listening" }>,
  { tier, reason, limits, host, dataDir }: TierChoice & { limits: string; host: string; dataDir: string },
): string {
  const address = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const width = Math.max(8, ...plugins.map(({ id, version }) => id.length + version.length + 1));
  const rows = plugins.map(({ id, version, status }) => `  ${`${id} ${version}`.padEnd(width)}  ${status}`);
  const hidden = plural - plugins.length;
  return [
    `airlock listening on ${address}`,
    `token      ${dataDir}/admin.token`,
    `isolation  ${tier}: ${reason}`,
    `limits     ${limits}`,
    `plugins    ${plural}`,
    ...rows,
    ...(hidden > 0 ? [`  … and ${hidden} more: GET /v1/plugins`] : []),
    "try it",
    `  ${example.replaceAll("ADDRESS", address).replaceAll("DATA", dataDir)}`,
    "",
  ].join("\n");
}
