/**
 * Start: from the request for a cell to its plugin, in TypeScript, being ready for a call.
 *
 * The floor is a bare Deno process with one Worker: from spawn to the first message of a Worker whose code
 * is a TypeScript module. It has `-A`, a warm cache, and nothing around it.
 *
 * @module
 */
import type { Isolation } from "../schemas/capabilities.ts";
import { LocalCells } from "./local_cells.ts";
import type { Outcome } from "./outcome.ts";
import { median, quantile, rounded } from "./statistics.ts";

const warmUpRounds = 5;
const rounds = 80;

type Subject = Isolation | "floor";

export async function benchStart(): Promise<Outcome> {
  await using cells = new LocalCells();
  const { tiers, reason } = await cells.tiers();
  const subjects: readonly Subject[] = ["floor", ...tiers];
  const timesMs: Record<Subject, number[]> = { floor: [], process: [], sealed: [] };
  for (let round = -warmUpRounds; round < rounds; round++) {
    // Each in turn in each place, so that what one leaves behind falls on all.
    for (let place = 0; place < subjects.length; place++) {
      const subject = subjects[(Math.max(0, round) + place) % subjects.length] ?? "floor";
      const timeMs = subject === "floor" ? await startFloor() : await startCell(cells, subject);
      if (round >= 0) timesMs[subject].push(timeMs);
    }
  }
  return outcomeOf(subjects, timesMs, reason);
}

async function startCell(cells: LocalCells, tier: Isolation): Promise<number> {
  const askedAtMs = performance.now();
  const started = await cells.start(tier);
  const timeMs = performance.now() - askedAtMs;
  await started.stop();
  return timeMs;
}

/** The process prints the Worker's first message, and ends. */
export async function startFloor(): Promise<number> {
  const entry = new URL("floor/start.js", import.meta.url).pathname;
  const askedAtMs = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-config", "--no-lock", "-A", entry],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const timeMs = performance.now() - askedAtMs;
  await reader.cancel();
  await child.status;
  return timeMs;
}

function outcomeOf(
  subjects: readonly Subject[],
  timesMs: Record<Subject, number[]>,
  reason: string,
): Outcome {
  const floorMs = median(timesMs.floor);
  const figures: Record<string, number | null> = {};
  const table = [["start", "p50 ms", "p95 ms", "best ms", "p50 / floor"]];
  for (const subject of ["floor", "process", "sealed"] as const) {
    const isMeasured = subjects.includes(subject);
    const [p50, p95, best] = [0.5, 0.95, 0].map((q) => rounded(quantile(timesMs[subject], q)));
    const ratio = rounded(median(timesMs[subject]) / floorMs, 3);
    figures[`${subject}P50Ms`] = isMeasured ? p50 ?? null : null;
    figures[`${subject}P95Ms`] = isMeasured ? p95 ?? null : null;
    if (subject !== "floor") figures[`${subject}ToFloor`] = isMeasured ? ratio : null;
    if (isMeasured) {
      table.push([
        subject,
        ...[p50, p95, best].map((ms) => (ms ?? NaN).toFixed(1)),
        ratio.toFixed(2),
      ]);
    }
  }
  return {
    iterations: { rounds, warmUpRounds },
    figures,
    table,
    notes: ["Aim: sealed at most 1.4 x floor, and its p95 below 50 ms.", `Sealed tier: ${reason}.`],
  };
}
