/**
 * Plugins: what a thousand installed plugins cost that sleep, and fifty that are awake.
 *
 * Two installations stand beside each other in the same run, each an Airlock as an operator starts it, over a data
 * folder on disk: one with a thousand plugins, the other, the floor, with ten. Starts, requests and calls are made in
 * turns. A first start takes every package on; a second one finds them all in the store, as does the kernel that the
 * warden starts after one was killed.
 *
 * A wake is a call over HTTP to a plugin that has no process. Its own floor is that of `bench/start.ts`: a bare Deno
 * process with one Worker.
 *
 * @module
 */
import { type ManyPlugins, writeManyPlugins } from "./many_plugins.ts";
import { makeBenchFolder } from "./local_server.ts";
import type { Outcome } from "./outcome.ts";
import { cpuMsOf, PluginsKernel, type ProcessUse, useOf } from "./plugins_kernel.ts";
import { startFloor } from "./start.ts";
import { median, quantile, rounded } from "./statistics.ts";

const [fewCount, manyCount, awakeCount] = [10, 1_000, 50];
const sleepersCount = 5;
const startRounds = 3;
const wakeRounds = 60;
const requestRounds = 100;
const warmUpRounds = 5;
/** Timers of an idle kernel show within it. */
const idleWatchMs = 5_000;

/** What was measured of each installation, by name. */
interface Found {
  readonly firstStartMs: number[];
  readonly secondStartMs: number[];
  readonly secondStartCpuMs: number[];
  readonly restartMs: number[];
  readonly kernelMb: number[];
  readonly kernelPssMb: number[];
  readonly wakeMs: number[];
  readonly wakeAmongAwakeMs: number[];
  readonly callMs: number[];
  readonly pageMs: number[];
  readonly wholeListMs: number[];
  readonly metricsMs: number[];
  readonly idleCpuMsPerSecond: number[];
}

type Name = "few" | "many";
type Pair<T> = Record<Name, T>;
const names = ["few", "many"] as const;

interface Awake {
  readonly kernel: ProcessUse;
  readonly warden: ProcessUse;
  readonly cellsPssMb: number;
}

export async function benchPlugins(): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const folder = await makeBenchFolder(resources);
  const plugins: Pair<ManyPlugins> = {
    few: await writeManyPlugins(`${folder}/few`, fewCount, sleepersCount),
    many: await writeManyPlugins(`${folder}/many`, manyCount, sleepersCount),
  };
  const found: Pair<Found> = { few: nothing(), many: nothing() };
  const floorMs: number[] = [];
  await measureStarts(folder, plugins, found);
  const kernels: Pair<PluginsKernel> = {
    few: resources.use(new PluginsKernel(plugins.few, `${folder}/few-data-0`)),
    many: resources.use(new PluginsKernel(plugins.many, `${folder}/many-data-0`)),
  };
  for (const name of names) await kernels[name].start();
  await measureIdle(kernels, found);
  await measureRequests(kernels, found);
  await measureWakes(kernels, (name) => found[name].wakeMs, floorMs);
  for (const id of plugins.many.others.slice(0, awakeCount)) await kernels.many.timeCall(id);
  await measureWakes(kernels, (name) => found[name].wakeAmongAwakeMs, floorMs);
  const awake = awakeOf(kernels.many);
  return outcomeOf(found, floorMs, awake);
}

/** Each round over a new data folder; the last ones are started once more for the rest. */
async function measureStarts(folder: string, plugins: Pair<ManyPlugins>, found: Pair<Found>): Promise<void> {
  for (let round = startRounds - 1; round >= 0; round--) {
    for (const kind of ["firstStartMs", "secondStartMs"] as const) {
      for (const name of inTurn(round)) {
        await using kernel = new PluginsKernel(plugins[name], `${folder}/${name}-data-${round}`);
        await kernel.start();
        found[name][kind].push(kernel.startMs);
        if (kind === "secondStartMs") found[name].secondStartCpuMs.push(cpuMsOf(kernel.pid));
        const faults = await kernel.faults();
        if (faults.length > 0) throw new Error(`Cannot measure: ${faults.length} plugins, ${faults[0]}`);
        if (kind === "firstStartMs") continue;
        const use = useOf(kernel.pid);
        found[name].kernelMb.push(use?.rssMb ?? NaN);
        found[name].kernelPssMb.push(use?.pssMb ?? NaN);
        found[name].restartMs.push(await kernel.timeRestart());
      }
    }
  }
}

/** What a kernel does that nobody asks anything: its timers, and its warden's. */
async function measureIdle(kernels: Pair<PluginsKernel>, found: Pair<Found>): Promise<void> {
  const pids = (name: Name) => [kernels[name].pid, kernels[name].wardenPid];
  const cpuMs = (name: Name) => pids(name).reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const before: Pair<number> = { few: cpuMs("few"), many: cpuMs("many") };
  await new Promise((resolve) => setTimeout(resolve, idleWatchMs));
  for (const name of names) {
    found[name].idleCpuMsPerSecond.push((cpuMs(name) - before[name]) / idleWatchMs * 1_000);
  }
}

async function measureRequests(kernels: Pair<PluginsKernel>, found: Pair<Found>): Promise<void> {
  for (let round = -warmUpRounds; round < requestRounds; round++) {
    for (const name of inTurn(round)) {
      const kernel = kernels[name];
      const callMs = await kernel.timeCall(kernel.plugins.others[0] ?? "");
      const pageMs = await kernel.time("/v1/plugins?limit=10");
      const wholeListMs = await kernel.time("/v1/plugins?limit=1000");
      const metricsMs = await kernel.time("/metrics");
      if (round < 0) continue;
      found[name].metricsMs.push(metricsMs);
      found[name].callMs.push(callMs);
      found[name].pageMs.push(pageMs);
      found[name].wholeListMs.push(wholeListMs);
    }
  }
}

async function measureWakes(
  kernels: Pair<PluginsKernel>,
  into: (name: Name) => number[],
  floorMs: number[],
): Promise<void> {
  for (let round = -warmUpRounds; round < wakeRounds; round++) {
    const subjects = [...inTurn(round), "floor"] as const;
    for (let place = 0; place < subjects.length; place++) {
      const subject = subjects[(round + warmUpRounds + place) % subjects.length] ?? "floor";
      const timeMs = subject === "floor" ? await startFloor() : await timeWake(kernels[subject], round);
      if (round >= 0) (subject === "floor" ? floorMs : into(subject)).push(timeMs);
    }
  }
}

async function timeWake(kernel: PluginsKernel, round: number): Promise<number> {
  const { sleepers } = kernel.plugins;
  // None of the others is falling asleep meanwhile.
  for (const sleeper of sleepers) await kernel.asleep(sleeper);
  return await kernel.timeCall(sleepers[(round + warmUpRounds) % sleepers.length] ?? "");
}

function awakeOf(kernel: PluginsKernel): Awake {
  const unknown = { rssMb: NaN, pssMb: NaN };
  return {
    kernel: useOf(kernel.pid) ?? unknown,
    warden: useOf(kernel.wardenPid) ?? unknown,
    cellsPssMb: kernel.cellsPssMb(),
  };
}

function inTurn(round: number): readonly Name[] {
  return round % 2 === 0 ? names : ["many", "few"];
}

function nothing(): Found {
  return {
    ...{
      firstStartMs: [],
      secondStartMs: [],
      secondStartCpuMs: [],
      restartMs: [],
      kernelMb: [],
      kernelPssMb: [],
    },
    ...{
      wakeMs: [],
      wakeAmongAwakeMs: [],
      callMs: [],
      pageMs: [],
      wholeListMs: [],
      metricsMs: [],
      idleCpuMsPerSecond: [],
    },
  };
}

function outcomeOf(found: Pair<Found>, floorMs: number[], awake: Awake): Outcome {
  const figures: Record<string, number> = {};
  const table = [["plugins", `${fewCount} installed`, `${manyCount} installed`, "many / few"]];
  const row = (text: string, name: string, key: keyof Found, unit: string, q = 0.5) => {
    const [few, many] = names.map((which) => quantile(found[which][key], q));
    if (few === undefined || many === undefined) return;
    figures[`few${name}`] = rounded(few);
    figures[`many${name}`] = rounded(many);
    table.push([
      text,
      `${few.toFixed(1)} ${unit}`,
      `${many.toFixed(1)} ${unit}`,
      few > 0 ? (many / few).toFixed(2) : "",
    ]);
  };
  row("first start, median", "FirstStartMs", "firstStartMs", "ms");
  row("second start, median", "SecondStartMs", "secondStartMs", "ms");
  row("second start, slowest", "SecondStartWorstMs", "secondStartMs", "ms", 1);
  row("kernel's CPU time of a second start", "SecondStartCpuMs", "secondStartCpuMs", "ms");
  row("kernel killed, until it answers", "RestartMs", "restartMs", "ms");
  row("kernel after a second start, RSS", "KernelRssMb", "kernelMb", "MB");
  row("kernel after a second start, PSS", "KernelPssMb", "kernelPssMb", "MB");
  row("kernel and warden idle, CPU a second", "IdleCpuMsPerSecond", "idleCpuMsPerSecond", "ms");
  row("call, awake, p50", "CallP50Ms", "callMs", "ms");
  row("call, awake, p95", "CallP95Ms", "callMs", "ms", 0.95);
  row("page of 10, p50", "PageP50Ms", "pageMs", "ms");
  row("page of 1,000, p50", "WholeListP50Ms", "wholeListMs", "ms");
  row("/metrics, p50", "MetricsP50Ms", "metricsMs", "ms");
  row("wake, p50", "WakeP50Ms", "wakeMs", "ms");
  row("wake, p95", "WakeP95Ms", "wakeMs", "ms", 0.95);
  const others = `${awakeCount} others awake among ${manyCount}`;
  row(`wake, ${others}, p50`, "WakeAmongAwakeP50Ms", "wakeAmongAwakeMs", "ms");
  row(`wake, ${others}, p95`, "WakeAmongAwakeP95Ms", "wakeAmongAwakeMs", "ms", 0.95);
  figures["floorP50Ms"] = rounded(median(floorMs));
  figures["floorP95Ms"] = rounded(quantile(floorMs, 0.95));
  figures["wakeAmongAwakeToFloor"] = rounded(median(found.many.wakeAmongAwakeMs) / median(floorMs), 3);
  const asleepKb = (median(found.many.kernelMb) - median(found.few.kernelMb)) / (manyCount - fewCount) *
    1_024;
  figures["asleepKb"] = rounded(asleepKb);
  figures["awakeKernelRssMb"] = rounded(awake.kernel.rssMb);
  figures["awakeKernelPssMb"] = rounded(awake.kernel.pssMb);
  figures["awakeWardenRssMb"] = rounded(awake.warden.rssMb);
  figures["awakeWardenPssMb"] = rounded(awake.warden.pssMb);
  figures["awakeCellPssMb"] = rounded(awake.cellsPssMb / awakeCount);
  table.push(
    [
      "bare process with a Worker, p50, p95",
      "",
      `${median(floorMs).toFixed(1)}, ${quantile(floorMs, 0.95).toFixed(1)} ms`,
      "",
    ],
    ["a plugin asleep, RSS", "", `${asleepKb.toFixed(0)} KB`, ""],
    [`${awakeCount} awake: kernel, RSS`, "", `${awake.kernel.rssMb.toFixed(0)} MB`, ""],
    [`${awakeCount} awake: warden, RSS`, "", `${awake.warden.rssMb.toFixed(0)} MB`, ""],
    [`${awakeCount} awake: a cell, PSS`, "", `${figures["awakeCellPssMb"].toFixed(1)} MB`, ""],
  );
  return {
    iterations: { startRounds, requestRounds, wakeRounds, warmUpRounds, idleWatchMs },
    figures,
    table,
    notes: [
      "Aims: kernel below 250 MB with 50 awake, less than 2 MB for each one asleep, wake p95 below 50 ms, start " +
      "below 5 s.",
      "A cell's memory is counted at the end of the wakes: those that were woken may have part in it.",
    ],
  };
}
