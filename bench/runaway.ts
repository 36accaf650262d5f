/**
 * Runaway: a plugin goes over a limit as fast as it can; how long until its process is gone.
 *
 * Judged from outside. This process looks into `/proc` every millisecond or two: the moment at which the cell
 * is seen above its limit, and the moment at which it is gone. The floor is the period at which the warden
 * looks, `cells.sampleIntervalMs`: it cannot know sooner. Half of the attacks are on a kernel whose loop is
 * busy, as busy as can be: it is stopped by SIGSTOP from the beginning of the attack to its end.
 *
 * The limit of memory is `memoryMb` and what the warden allows for the runtime itself, in anonymous memory. A
 * small heap is bounded by V8 before that: there it is where the cell's memory grows no more.
 *
 * @module
 */
import { Airlock, isSealedAvailable, manifest, until } from "../tests/support/airlock.ts";
import { isAlive } from "../tests/support/processes.ts";
import type { Problem } from "../schemas/problem.ts";
import { megabyte, runtimeOwn } from "../sandbox/warden/cell_watch.ts";
import type { Outcome } from "./outcome.ts";
import { quantile, rounded } from "./statistics.ts";

const rounds = 100;
const warmUpRounds = 2;
const memoryMb = 32;
const runtimeMb = runtimeOwn.memoryBytes / megabyte;
const cpuMs = 100;
const sampleIntervalMs = 50;
const attackTimeoutMs = 20_000;
/** A cell that was started again after its attack is asleep before its next turn. */
const idleMs = 500;

const source = `
const kept = [];
export const actions = {
  run: () => "awake",
  cpu() { for (;;); },
  heap() { for (;;) kept.push(Array.from({ length: 65536 }, (_, index) => index + 0.5)); },
  buffers() { for (;;) kept.push(new Uint8Array(1048576).fill(1)); },
  workers() {
    const script = "globalThis.kept = new Array(1048576).fill(0.5); onmessage = () => {};";
    const url = "data:text/javascript," + encodeURIComponent(script);
    for (;;) kept.push(new Worker(url, { type: "module" }));
  },
};
`;

const attacks = {
  cpu: "LIMIT_CPU",
  heap: "LIMIT_MEMORY",
  buffers: "LIMIT_MEMORY",
  workers: "LIMIT_MEMORY",
} as const;
type Attack = keyof typeof attacks;
const kernels = ["free", "stopped"] as const;

/** What one attack came to. */
interface Found {
  /** From the limit crossed to the process gone. */
  readonly overMs: number;
  /** Most anonymous memory that was seen. */
  readonly mostMb: number;
}

export async function benchRunaway(): Promise<Outcome> {
  const tiers = await isSealedAvailable() ? ["low", "high"] : ["low"];
  await using airlock = await startAirlock(tiers);
  const found = new Map<string, Found[]>();
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const attack of Object.keys(attacks) as Attack[]) {
      for (const kernel of kernels) {
        // The tiers in turns.
        const tier = tiers[Math.abs(round) % tiers.length] ?? "low";
        const one = await attackOnce(airlock, `${tier}-${attack}`, attack, kernel === "stopped");
        const key = `${attack} ${kernel}`;
        if (round >= 0) found.set(key, [...found.get(key) ?? [], one]);
      }
    }
  }
  return outcomeOf(found);
}

/** A plugin for each attack and tier: what is attacked is the one limit that is low. */
async function startAirlock(tiers: readonly string[]): Promise<Airlock> {
  const plugin = (id: string, attack: Attack) => {
    const limits = attack === "cpu" ? { cpuMs } : { memoryMb, threads: 256, fileDescriptors: 1_024 };
    const more = {
      actions: { run: {}, [attack]: {} },
      limits,
      idleMs,
      restart: { max: 1_000, windowMs: 1_000 },
    };
    return [id, { "mod.ts": source, "plugin.jsonc": manifest(id, more) }] as const;
  };
  const names = Object.keys(attacks) as Attack[];
  return await Airlock.start({
    plugins: Object.fromEntries(
      tiers.flatMap((tier) => names.map((attack) => plugin(`${tier}-${attack}`, attack))),
    ),
    config: {
      cells: {
        lower: names.map((attack) => `low-${attack}`),
        sampleIntervalMs,
        restartBackoffMs: 1,
        restartBackoffMaxMs: 1,
        breakerFailures: 1_000_000,
      },
    },
  });
}

async function attackOnce(
  airlock: Airlock,
  id: string,
  attack: Attack,
  isKernelStopped: boolean,
): Promise<Found> {
  await airlock.call(id, "run");
  const { pid } = await airlock.plugin(id);
  if (pid === null) throw new Error(`Cannot attack plugin "${id}": it has no process`);
  const kernel = await airlock.kernelPid();
  const before = await until("the cell in /proc", () => look(pid));
  const answer = airlock.fail(id, attack);
  const hasBegun = (now: Look) => now.cpuMs > before.cpuMs + 10 || now.memoryMb > before.memoryMb + 4;
  const seen: { now: Look; atMs: number }[] = [];
  let isStopped = false;
  try {
    const deadlineMs = performance.now() + attackTimeoutMs;
    for (let now: Look | undefined; (now = look(pid)) !== undefined; await pause()) {
      seen.push({ now, atMs: performance.now() });
      if (isKernelStopped && !isStopped && hasBegun(now)) {
        Deno.kill(kernel, "SIGSTOP");
        isStopped = true;
      }
      if (performance.now() > deadlineMs) throw new Error(`Cannot measure "${attack}": it was not stopped`);
    }
  } finally {
    if (isStopped) Deno.kill(kernel, "SIGCONT");
  }
  const goneAtMs = performance.now();
  check(attack, await answer);
  const mostMb = Math.max(...seen.map(({ now }) => now.memoryMb));
  const limitMb = Math.min(runtimeMb + memoryMb, attack === "heap" ? mostMb - 1 : Infinity);
  const over = seen.find(({ now }) =>
    attack === "cpu" ? now.cpuMs > before.cpuMs + cpuMs : now.memoryMb > limitMb
  );
  // One that was gone before it was seen above its limit was stopped at once.
  return { overMs: goneAtMs - (over?.atMs ?? goneAtMs), mostMb };
}

function check(attack: Attack, { code, detail }: Problem): void {
  if (code !== attacks[attack]) throw new Error(`Cannot measure "${attack}": it got ${code}, ${detail}`);
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

interface Look {
  /** Of all threads, since the process began. */
  readonly cpuMs: number;
  readonly memoryMb: number;
}

/** `undefined` when the process is gone, or only waits to be asked about. */
function look(pid: number): Look | undefined {
  try {
    const memory = /^RssAnon:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1];
    if (memory === undefined || !isAlive(pid)) return undefined;
    let cpuNs = 0;
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      cpuNs += Number.parseInt(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`));
    }
    return { cpuMs: cpuNs / 1e6, memoryMb: Number(memory) / 1_024 };
  } catch (error) {
    if (isAlive(pid)) return look(pid); // a thread has just ended
    if (error instanceof Deno.errors.NotFound || String(error).includes("os error 3")) return undefined;
    throw error;
  }
}

function outcomeOf(found: Map<string, Found[]>): Outcome {
  const figures: Record<string, number | null> = { sampleIntervalMs };
  const table = [["runaway", "kernel", "p50 ms", "p99 ms", "most ms", "most MB"]];
  for (const [key, all] of found) {
    const [attack = "", kernel = ""] = key.split(" ");
    const overMs = all.map((one) => one.overMs);
    const [p50 = NaN, p99 = NaN, most = NaN] = [0.5, 0.99, 1].map((q) => rounded(quantile(overMs, q)));
    const mostMb = rounded(Math.max(...all.map((one) => one.mostMb)));
    const name = kernel === "free" ? attack : `${attack}KernelStopped`;
    Object.assign(figures, { [`${name}P50Ms`]: p50, [`${name}P99Ms`]: p99, [`${name}MostMb`]: mostMb });
    table.push([attack, kernel, ...[p50, p99, most, mostMb].map((value) => value.toFixed(1))]);
  }
  return {
    iterations: { rounds, warmUpRounds },
    figures,
    table,
    notes: [
      `Aim: p99 at most 100 ms beyond the sampling period of ${sampleIntervalMs} ms.`,
      `Limits: ${cpuMs} ms of CPU; ${memoryMb} MB, and ${runtimeMb} MB for the runtime. Tiers in turns.`,
    ],
  };
}
