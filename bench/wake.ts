/**
 * Wake: a call over HTTP to a plugin that sleeps, from the request to its answer, through an Airlock as an
 * operator starts it: ledger, warden and all.
 *
 * Before each call the plugin is asleep by itself, after its `idleMs`: its state says so and its process is
 * gone from `/proc`. Beside it, in turns, stand the floor of `bench/start.ts`, a bare Deno process with one
 * Worker, and the same call to the same plugin while it is awake.
 *
 * @module
 */
import { Airlock, isSealedAvailable, manifest, until } from "../tests/support/airlock.ts";
import { descendantsOf, isAlive } from "../tests/support/processes.ts";
import type { Outcome } from "./outcome.ts";
import { startFloor } from "./start.ts";
import { median, quantile, rounded } from "./statistics.ts";

const warmUpRounds = 5;
const rounds = 120;
const idleMs = 100;
const sleepTimeoutMs = 10_000;

const subjects = ["floor", "awake", "process", "sealed"] as const;
type Subject = (typeof subjects)[number];

export async function benchWake(): Promise<Outcome> {
  const isSealedHere = await isSealedAvailable();
  const measured = subjects.filter((subject) => subject !== "sealed" || isSealedHere);
  await using airlock = await startAirlock();
  const timesMs: Record<Subject, number[]> = { floor: [], awake: [], process: [], sealed: [] };
  for (let round = -warmUpRounds; round < rounds; round++) {
    // Each in turn in each place, so that what one leaves behind falls on all.
    for (let place = 0; place < measured.length; place++) {
      const subject = measured[(Math.max(0, round) + place) % measured.length] ?? "floor";
      const timeMs = subject === "floor" ? await startFloor() : await timeCall(airlock, subject);
      if (round >= 0) timesMs[subject].push(timeMs);
    }
  }
  return outcomeOf(measured, timesMs);
}

/** The bundled plugin `hello` under three names: two that sleep soon, in a tier each, and one that does not. */
async function startAirlock(): Promise<Airlock> {
  const source = await Deno.readTextFile(new URL("../plugins/hello/mod.ts", import.meta.url));
  const plugin = (id: string, more: Record<string, unknown>) => ({
    "plugin.jsonc": manifest(id, { actions: { greet: {} }, ...more }),
    "mod.ts": source,
  });
  return await Airlock.start({
    plugins: {
      awake: plugin("awake", { idleMs: 3_600_000 }),
      process: plugin("process", { idleMs }),
      sealed: plugin("sealed", { idleMs }),
    },
    config: { cells: { lower: ["process"] } },
  });
}

async function timeCall(airlock: Airlock, plugin: Exclude<Subject, "floor">): Promise<number> {
  if (plugin === "awake") await airlock.call("awake", "greet", { name: "world" });
  else await untilAsleep(airlock, plugin);
  const askedAtMs = performance.now();
  await airlock.call(plugin, "greet", { name: "world" });
  return performance.now() - askedAtMs;
}

/** The warden's children are then the kernel and the cell of `awake`, at most. */
async function untilAsleep(airlock: Airlock, plugin: string): Promise<void> {
  await until(`"${plugin}" asleep`, async () => {
    const { state, pid } = await airlock.plugin(plugin);
    // Before its first call it is not asleep, and has no process either.
    return (state === "sleeping" || state === "loaded") && pid === null;
  }, sleepTimeoutMs);
  const awakePid = (await airlock.plugin("awake")).pid;
  const expected = new Set([await airlock.kernelPid(), ...(awakePid === null ? [] : [awakePid])]);
  await until(`no process of "${plugin}"`, () => {
    const others = descendantsOf(airlock.pid).filter((pid) => isAlive(pid) && !expected.has(pid));
    return others.every((pid) => awakePid !== null && descendantsOf(pid).includes(awakePid));
  }, sleepTimeoutMs);
}

function outcomeOf(measured: readonly Subject[], timesMs: Record<Subject, number[]>): Outcome {
  const floorMs = median(timesMs.floor);
  const figures: Record<string, number | null> = {};
  const table = [["wake", "p50 ms", "p95 ms", "p99 ms", "best ms", "p50 / floor"]];
  for (const subject of subjects) {
    const isMeasured = measured.includes(subject);
    const [p50 = NaN, p95 = NaN, p99 = NaN, best = NaN] = [0.5, 0.95, 0.99, 0].map((q) =>
      rounded(quantile(timesMs[subject], q))
    );
    for (const [name, ms] of Object.entries({ P50: p50, P95: p95, P99: p99 })) {
      figures[`${subject}${name}Ms`] = isMeasured ? ms : null;
    }
    const ratio = rounded(median(timesMs[subject]) / floorMs, 3);
    if (subject !== "floor") figures[`${subject}ToFloor`] = isMeasured ? ratio : null;
    if (isMeasured) {
      table.push([
        subject,
        ...[p50, p95, p99, best].map((ms) => ms.toFixed(1)),
        ratio.toFixed(2),
      ]);
    }
  }
  return {
    iterations: { rounds, warmUpRounds, idleMs },
    figures,
    table,
    notes: [
      "Aim: p95 below 50 ms, in both tiers.",
      ...(measured.includes("sealed")
        ? []
        : ["The sealed tier was not measured: bubblewrap does not work here."]),
    ],
  };
}
