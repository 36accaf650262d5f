/**
 * Neighbours: calls over HTTP of a healthy plugin, with ten hostile ones beside it and without, in turns, through one
 * Airlock as an operator starts it.
 *
 * The quiet machine is the floor. The hostile plugins are at work for ten minutes in all, and while they are, what the
 * kernel and the warden hold and use is read in `/proc` from outside. Between two turns they are stopped by an
 * operator's order; each turn begins with a start of all, also of one that Airlock had given up meanwhile. The client that is measured shares the cores with all of it.
 *
 * @module
 */
import { Airlock, until } from "../tests/support/airlock.ts";
import { isAlive } from "../tests/support/processes.ts";
import { makeBenchFolder, startServer } from "./local_server.ts";
import type { AttackOrder, Tally } from "./neighbours_attackers.ts";
import { healthyId, type HostilePlugin, neighboursOn } from "./neighbours_plugins.ts";
import { type ProcessUse, readUse, UseSeries } from "./neighbours_use.ts";
import type { Outcome } from "./outcome.ts";
import { quantile, rounded } from "./statistics.ts";

export interface NeighboursPlan {
  readonly rounds: number;
  /** Of one client, and again of several, without the hostile plugins and with them. */
  readonly quietMs: number;
  readonly hostileMs: number;
  /** From the first hostile call to the first that is measured. */
  readonly settleMs: number;
}

/** Ten minutes of hostility, in twelve and a half. */
const fullPlan: NeighboursPlan = { rounds: 11, quietMs: 5_000, hostileMs: 27_000, settleMs: 1_000 };
const warmUpMs = 3_000;
const clients = 8;
const stopTimeoutMs = 30_000;
const sampleMs = 1_000;
const probeMs = 100;
/** Until then caches and heaps fill, also of a kernel that leaks nothing. */
const growthFromMs = 120_000;

type State = "quiet" | "hostile";

/** What one state came to, in all rounds or in one. */
interface Measured {
  /** Of one client. */
  readonly callMs: number[];
  /** Of `GET /healthz` beside it: how soon the kernel's event loop has its turn. */
  readonly probeMs: number[];
  /** Of all clients. */
  calls: number;
  ms: number;
  /** Calls of the healthy plugin that did not succeed. */
  failures: number;
}

export async function benchNeighbours(plan = fullPlan): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const bench = await Bench.start(resources);
  const rounds: Record<State, Measured>[] = [];
  await bench.measure(warmUpMs);
  for (let round = 0; round < plan.rounds; round++) {
    const quiet = await bench.measure(plan.quietMs);
    const hostile = await bench.underAttack(plan);
    rounds.push({ quiet, hostile });
  }
  return outcomeOf(plan, rounds, bench);
}

class Bench {
  readonly tally: Tally = {};
  readonly series = { kernel: new UseSeries(), warden: new UseSeries() };

  private constructor(
    private readonly airlock: Airlock,
    private readonly attackers: string,
    private readonly hostile: readonly HostilePlugin[],
    private readonly pids: Readonly<Record<"kernel" | "warden", number>>,
  ) {}

  static async start(resources: AsyncDisposableStack): Promise<Bench> {
    const folder = await makeBenchFolder(resources);
    const attackers = await startServer(resources, ["bench/neighbours_attackers.ts"]);
    const { plugins, grants, hostile } = neighboursOn(Number(new URL(attackers).port));
    const airlock = resources.use(
      await Airlock.start({ plugins, config: { grants }, dataDir: `${folder}/data`, detached: true }),
    );
    // In a session of its own it is neither told of a Ctrl-C nor ended with this process.
    const end = () => airlock.signal("SIGTERM");
    const interrupted = () => Deno.exit(130);
    globalThis.addEventListener("unload", end);
    Deno.addSignalListener("SIGINT", interrupted);
    resources.defer(() => {
      globalThis.removeEventListener("unload", end);
      Deno.removeSignalListener("SIGINT", interrupted);
    });
    await airlock.call(healthyId, "greet", { name: "world" });
    const pids = { kernel: await airlock.kernelPid(), warden: airlock.pid };
    return new Bench(airlock, attackers, hostile, pids);
  }

  /** With the hostile plugins at work from before its beginning to after its end. */
  async underAttack({ settleMs, hostileMs }: NeighboursPlan): Promise<Measured> {
    for (const { id } of this.hostile) await this.#order(id, "start");
    await this.#tellAttackers("start");
    const watching = this.#watch();
    await pause(settleMs);
    const measured = await this.measure(hostileMs);
    watching[Symbol.dispose]();
    for (const [id, codes] of Object.entries(await this.#tellAttackers("stop"))) {
      const all = this.tally[id] ??= {};
      for (const [code, count] of Object.entries(codes)) all[code] = (all[code] ?? 0) + count;
    }
    for (const { id } of this.hostile) await this.#order(id, "stop");
    return measured;
  }

  /** First one client, then several. */
  async measure(ms: number): Promise<Measured> {
    const measured: Measured = { callMs: [], probeMs: [], calls: 0, ms: 0, failures: 0 };
    const probing = new AbortController();
    const probe = this.#probe(measured, probing.signal);
    await this.#load(1, ms, measured, (callMs) => measured.callMs.push(callMs));
    probing.abort();
    await probe;
    const startedMs = performance.now();
    await this.#load(clients, ms, measured, () => measured.calls++);
    measured.ms = performance.now() - startedMs;
    return measured;
  }

  async #load(count: number, ms: number, measured: Measured, take: (callMs: number) => void): Promise<void> {
    const endsMs = performance.now() + ms;
    const { url, token } = this.airlock;
    const request = {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: '{"name":"world"}',
    };
    await Promise.all(Array.from({ length: count }, async () => {
      while (performance.now() < endsMs) {
        const startedMs = performance.now();
        const response = await fetch(`${url}/v1/plugins/${healthyId}/actions/greet`, request);
        await response.text();
        if (response.status === 200) take(performance.now() - startedMs);
        else measured.failures++;
      }
    }));
  }

  async #probe({ probeMs: times }: Measured, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startedMs = performance.now();
      await (await fetch(`${this.airlock.url}/healthz`)).text();
      times.push(performance.now() - startedMs);
      await pause(probeMs);
    }
  }

  /** Reads what the processes use until it is disposed. */
  #watch(): Disposable {
    const startedMs = performance.now();
    const before = this.#use();
    const sample = () => {
      if (!isAlive(this.pids.kernel)) return; // told at the end
      const nowMs = performance.now();
      for (const [name, { rssMb }] of Object.entries(this.#use()) as ["kernel" | "warden", ProcessUse][]) {
        this.series[name].add(nowMs - startedMs, rssMb);
      }
    };
    const timer = setInterval(sample, sampleMs);
    return {
      [Symbol.dispose]: () => {
        clearInterval(timer);
        if (!isAlive(this.pids.kernel)) throw new Error("Cannot measure neighbours: the kernel died of them");
        const after = this.#use();
        const ms = performance.now() - startedMs;
        for (const name of ["kernel", "warden"] as const) {
          this.series[name].end(ms, after[name].cpuMs - before[name].cpuMs);
        }
      },
    };
  }

  #use(): Record<"kernel" | "warden", ProcessUse> {
    return { kernel: readUse(this.pids.kernel), warden: readUse(this.pids.warden) };
  }

  async #tellAttackers(order: "start" | "stop"): Promise<Tally> {
    const { url, token } = this.airlock;
    const body: AttackOrder = { url, token, hostile: this.hostile };
    const response = await fetch(new URL(order, this.attackers), {
      method: "POST",
      ...(order === "start" ? { body: JSON.stringify(body) } : {}),
    });
    return await response.json();
  }

  /** Until it is so: a plugin that was given up is reset by its start. */
  async #order(id: string, order: "start" | "stop"): Promise<void> {
    await until(`"${id}" to ${order}`, async () => {
      const { status } = await this.airlock.request("POST", `/v1/plugins/${id}/${order}`);
      if (status === 200) return true;
      await this.airlock.request("POST", `/v1/plugins/${id}/reset`);
      return false;
    }, stopTimeoutMs);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function outcomeOf(
  plan: NeighboursPlan,
  rounds: readonly Record<State, Measured>[],
  { series, tally }: Pick<Bench, "series" | "tally">,
): Outcome {
  const figures: Record<string, number | null> = {};
  const table = [["neighbours", "p50 ms", "p99 ms", "most ms", "calls/s of 8", "healthz p99 ms", "failed"]];
  const quiet = summaryOf(rounds.map((round) => round.quiet));
  const hostile = summaryOf(rounds.map((round) => round.hostile));
  for (const [state, of] of [["quiet", quiet], ["hostile", hostile]] as const) {
    for (const [name, value] of Object.entries(of)) {
      figures[`${state}${name[0]?.toUpperCase()}${name.slice(1)}`] = rounded(value);
    }
    const { p50Ms, p99Ms, mostMs, callsPerSecond, healthzP99Ms, failures } = of;
    const times = [p50Ms, p99Ms, mostMs].map((ms) => ms.toFixed(2));
    table.push([state, ...times, callsPerSecond.toFixed(0), healthzP99Ms.toFixed(2), String(failures)]);
  }
  const ratios = {
    p50: hostile.p50Ms / quiet.p50Ms,
    p99: hostile.p99Ms / quiet.p99Ms,
    calls: hostile.callsPerSecond / quiet.callsPerSecond,
  };
  figures["p50ToQuiet"] = rounded(ratios.p50, 3);
  figures["p99ToQuiet"] = rounded(ratios.p99, 3);
  figures["throughputToQuiet"] = rounded(ratios.calls, 3);
  table.push(["hostile / quiet", ratios.p50.toFixed(2), ratios.p99.toFixed(2), "", ratios.calls.toFixed(3)]);
  const ratiosOfRounds = rounds.map((round) => {
    const [of, to] = [summaryOf([round.hostile]), summaryOf([round.quiet])];
    return `${(of.p99Ms / to.p99Ms).toFixed(1)} and ${(of.callsPerSecond / to.callsPerSecond).toFixed(2)}`;
  });
  const notes = [
    "Aims: p99 at most 3 x, throughput at least 0.5 x the quiet machine; the kernel's memory flat.",
    `p99 and throughput to quiet, of each round: ${ratiosOfRounds.join(", ")}.`,
    ...notesOfUse(series, figures),
    "How the hostile calls ended:",
    ...Object.entries(tally).map(([id, codes]) =>
      `  ${id}: ${Object.entries(codes).map(([code, count]) => `${code} ${count}`).join(", ")}`
    ),
  ];
  return { iterations: { ...plan, clients }, figures, table, notes };
}

function summaryOf(all: readonly Measured[]) {
  const callMs = all.flatMap((one) => one.callMs);
  const sum = (key: "calls" | "ms" | "failures") => all.reduce((total, one) => total + one[key], 0);
  return {
    p50Ms: quantile(callMs, 0.5),
    p99Ms: quantile(callMs, 0.99),
    mostMs: quantile(callMs, 1),
    callsPerSecond: 1_000 * sum("calls") / sum("ms"),
    healthzP99Ms: quantile(all.flatMap((one) => one.probeMs), 0.99),
    failures: sum("failures"),
  };
}

/** Adds their figures, too. */
function notesOfUse(series: Bench["series"], figures: Outcome["figures"]): string[] {
  return (["kernel", "warden"] as const).map((name) => {
    const { firstMb, lastMb, mostMb, growthMbPerMinute, cores } = series[name].summary(growthFromMs);
    Object.assign(figures, {
      [`${name}FirstMb`]: firstMb,
      [`${name}LastMb`]: lastMb,
      [`${name}MostMb`]: mostMb,
      [`${name}GrowthMbPerMinute`]: growthMbPerMinute,
      [`${name}Cores`]: cores,
    });
    return `${name}: RSS in each minute of hostility, MB: ${
      series[name].minutes().join(", ")
    }; most ${mostMb}; ` +
      `${growthMbPerMinute} MB a minute after two; ${cores} cores.`;
  });
}
