/**
 * An Airlock of `bench/plugins.ts`: the program as an operator starts it, over a data folder that outlives it, and
 * what its processes take of the machine. Linux only.
 *
 * @module
 */
import type { PluginView } from "../schemas/api.ts";
import { descendantsOf } from "../tests/support/processes.ts";
import { startServer } from "./local_server.ts";
import type { ManyPlugins } from "./many_plugins.ts";

const pollMs = 5;
const [sleepTimeoutMs, backTimeoutMs] = [20_000, 30_000];
/** Linux counts CPU time in hundredths of a second, whatever the machine. */
const tickMs = 10;

const callBody = JSON.stringify({ text: "the quick brown fox jumps over the lazy dog" });

export interface ProcessUse {
  /** What the process alone has touched, and what it shares with others. */
  readonly rssMb: number;
  /** Shared memory counted by its share. */
  readonly pssMb: number;
}

export class PluginsKernel implements AsyncDisposable {
  readonly #resources = new AsyncDisposableStack();
  url = "";
  /** From the start of the program to its ready line. */
  startMs = 0;
  pid = 0;
  wardenPid = 0;
  #token = "";

  constructor(readonly plugins: ManyPlugins, readonly data: string) {}

  /** Begins another life over the same data folder. */
  async start(): Promise<void> {
    const serve = ["main.ts", "serve", "--port", "0", "--data", this.data, "--plugins", this.plugins.folder];
    const startedMs = performance.now();
    this.url = await startServer(this.#resources, serve);
    this.startMs = performance.now() - startedMs;
    this.#token = (await Deno.readTextFile(`${this.data}/admin.token`)).trim();
    this.pid = (await (await this.fetch("/healthz")).json()).pid;
    this.wardenPid = Number(/^PPid:\t(\d+)$/m.exec(Deno.readTextFileSync(`/proc/${this.pid}/status`))?.[1]);
  }

  /** Kills the kernel; milliseconds until the next one, which the warden starts, answers on the same port. */
  async timeRestart(): Promise<number> {
    const before = this.pid;
    const killedAtMs = performance.now();
    Deno.kill(before, "SIGKILL");
    for (const deadlineMs = killedAtMs + backTimeoutMs; performance.now() < deadlineMs;) {
      try {
        this.pid = (await (await this.fetch("/healthz")).json()).pid;
        if (this.pid !== before) return performance.now() - killedAtMs;
      } catch {
        // Nobody listens between two lives.
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`Cannot measure a restart: the kernel was not back within ${backTimeoutMs} ms`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  /** The answer to a request that succeeded; its body is for the caller to read. */
  async fetch(path: string, body?: string): Promise<Response> {
    const response = await fetch(`${this.url}${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body }),
    });
    if (!response.ok) throw new Error(`Cannot use "${path}": ${response.status} ${await response.text()}`);
    return response;
  }

  /** Milliseconds from a request to the last byte of its answer. */
  async time(path: string, body?: string): Promise<number> {
    const askedAtMs = performance.now();
    await (await this.fetch(path, body)).text();
    return performance.now() - askedAtMs;
  }

  /** The same of a call of a plugin. */
  async timeCall(plugin: string): Promise<number> {
    return await this.time(`/v1/plugins/${plugin}/actions/run`, callBody);
  }

  /** Waits until the plugin has no process; one that was never called has none either. */
  async asleep(plugin: string): Promise<void> {
    for (const deadlineMs = performance.now() + sleepTimeoutMs; performance.now() < deadlineMs;) {
      const { state, pid }: PluginView = await (await this.fetch(`/v1/plugins/${plugin}`)).json();
      if ((state === "sleeping" || state === "loaded") && pid === null) return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`Cannot measure a wake: "${plugin}" is still awake`);
  }

  /** Every plugin of the list that is not as it should be; the bundled ones included. */
  async faults(): Promise<string[]> {
    const { items, next }: { items: PluginView[]; next: string | null } =
      await (await this.fetch("/v1/plugins?limit=1000")).json();
    const rest: { items: PluginView[] } = next === null
      ? { items: [] }
      : await (await this.fetch(`/v1/plugins?limit=1000&after=${next}`)).json();
    const all = [...items, ...rest.items];
    const faults = all.filter(({ status }) => status !== "ready").map(({ id, lastError }) =>
      `${id}: ${lastError?.message}`
    );
    const known = new Set(all.map(({ id }) => id));
    const missing = [...this.plugins.others, ...this.plugins.sleepers].filter((id) => !known.has(id));
    return [...faults, ...missing.map((id) => `${id}: it is not listed`)];
  }

  /** Of all cells that are alive, with all their processes. */
  cellsPssMb(): number {
    const others = descendantsOf(this.wardenPid).filter((pid) => pid !== this.pid);
    return others.reduce((sum, pid) => sum + (useOf(pid)?.pssMb ?? 0), 0);
  }
}

/** Nothing where the process has just ended. */
export function useOf(pid: number): ProcessUse | undefined {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
    const mb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) / 1_024;
    return { rssMb: mb("Rss"), pssMb: mb("Pss") };
  } catch {
    return undefined;
  }
}

/** CPU time of all its threads so far. */
export function cpuMsOf(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}
