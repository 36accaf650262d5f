/**
 * Jobs: a no-op action enqueued over HTTP and run to its end, one by one and in batches, by a kernel as it is shipped.
 *
 * The floor writes the same rows in as few synced transactions as the kernel can have made, in the same run and in
 * turns with it. How long a job waits before it is claimed is measured beside 100 and 100,000 jobs that wait.
 *
 * @module
 */
import { measureClaims, measureStarts } from "./jobs_claim.ts";
import { runJobsFloor } from "./floor/jobs.ts";
import { type BenchPlugin, type JobsKernel, startKernel, wallMs } from "./jobs_kernel.ts";
import { makeBenchFolder } from "./local_server.ts";
import type { Outcome } from "./outcome.ts";
import { median, quantile, rounded } from "./statistics.ts";

interface Level {
  readonly name: string;
  readonly title: string;
  readonly clients: number;
  /** Jobs of one request; 0: a request that is no batch. */
  readonly batch: number;
  readonly jobs: number;
  /** A request is sent when fewer have not ended: else it would be the line that is measured. */
  readonly lineMax: number;
}

const levels: readonly Level[] = [
  { name: "one", title: "one by one, 1 client", clients: 1, batch: 0, jobs: 1_000, lineMax: 64 },
  { name: "clients32", title: "one by one, 32 clients", clients: 32, batch: 0, jobs: 4_000, lineMax: 64 },
  { name: "batch100", title: "batches of 100", clients: 1, batch: 100, jobs: 4_000, lineMax: 100 },
  { name: "batch1000", title: "batches of 1,000", clients: 1, batch: 1_000, jobs: 4_000, lineMax: 1_000 },
];
const rounds = 3;
/** `noop` tells when it began; `hold` keeps its place. */
export const benchPlugin: BenchPlugin = {
  id: "bench",
  manifest: {
    limits: { wallMs: 600_000 },
    actions: { noop: { concurrency: 64 }, hold: { concurrency: 1 } },
  },
  code: `export const actions = {
  noop() { return performance.timeOrigin + performance.now(); },
  hold(_input: unknown, { signal }: { signal: AbortSignal }) {
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(null)));
  },
};
`,
};

interface Round {
  readonly jobsPerSecond: number;
  readonly floorPerSecond: number;
  readonly toFloor: number;
  readonly jobsPerCommit: number;
  /** From the request to the action's first line, of each job. */
  readonly startMs: readonly number[];
}

export async function benchJobs(): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const folder = await makeBenchFolder(resources);
  const kernel = await startKernel(resources, `${folder}/kernel`, benchPlugin);
  const numbers = { next: 0 };
  await runLevel(kernel, { name: "", title: "", clients: 8, batch: 0, jobs: 500, lineMax: 64 }, numbers);
  const found = new Map<Level, Round[]>(levels.map((level) => [level, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [level, all] of found) {
      const file = `${folder}/floor-${level.name}-${round}.db`;
      all.push(await runRound(kernel, level, numbers, file));
    }
  }
  const claims = measureClaims(folder);
  const starts = await measureStarts(resources, folder, benchPlugin);
  return outcomeOf(found, claims, starts);
}

async function runRound(
  kernel: JobsKernel,
  level: Level,
  numbers: { next: number },
  floorFile: string,
): Promise<Round> {
  const { jobs } = level;
  const before = await kernel.commits();
  const { seconds, startMs } = await runLevel(kernel, level, numbers);
  const synced = await kernel.commits() - before;
  const floorPerSecond = runJobsFloor(floorFile, { jobs, transactions: synced });
  const jobsPerSecond = jobs / seconds;
  return {
    ...{ jobsPerSecond, floorPerSecond, startMs },
    toFloor: jobsPerSecond / floorPerSecond,
    jobsPerCommit: jobs / synced,
  };
}

/** Until the last job is over. */
async function runLevel(
  kernel: JobsKernel,
  { clients, batch, jobs, lineMax }: Level,
  numbers: { next: number },
): Promise<{ seconds: number; startMs: number[] }> {
  const first = numbers.next;
  const end = numbers.next + jobs;
  const sentMs = new Map<number, number>();
  const startedMs = performance.now();
  let room: Promise<void> | undefined;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (numbers.next < end) {
      // One look for all clients.
      room ??= kernel.fewer("noop", lineMax).finally(() => room = undefined);
      await room;
      if (numbers.next >= end) break;
      const count = Math.min(batch || 1, end - numbers.next);
      const requests = Array.from({ length: count }, () => {
        sentMs.set(numbers.next, 0);
        return { plugin: "bench", action: "noop", input: { n: numbers.next++ } };
      });
      const body = JSON.stringify(batch === 0 ? requests[0] : { jobs: requests });
      const nowMs = wallMs();
      for (const { input } of requests) sentMs.set(input.n, nowMs);
      await kernel.enqueue(body);
    }
  }));
  await kernel.fewer("noop");
  const seconds = (performance.now() - startedMs) / 1_000;
  const begunMs = kernel.outputs("noop");
  const startMs = Array.from(
    { length: jobs },
    (_, at) => (begunMs.get(first + at) ?? NaN) - (sentMs.get(first + at) ?? NaN),
  );
  if (startMs.some(Number.isNaN)) throw new Error("Cannot measure jobs: not all of them completed");
  return { seconds, startMs };
}

function outcomeOf(
  found: ReadonlyMap<Level, readonly Round[]>,
  claims: ReturnType<typeof measureClaims>,
  starts: Awaited<ReturnType<typeof measureStarts>>,
): Outcome {
  const figures: Record<string, number> = {};
  const table = [["jobs", "jobs/s", "floor", "ratio", "start p50 ms", "p99 ms", "jobs a commit"]];
  for (const [{ name, title }, all] of found) {
    const of = (key: Exclude<keyof Round, "startMs">) => median(all.map((round) => round[key]));
    const startMs = all.flatMap((round) => round.startMs);
    figures[`${name}PerSecond`] = Math.round(of("jobsPerSecond"));
    figures[`${name}FloorPerSecond`] = Math.round(of("floorPerSecond"));
    figures[`${name}ToFloor`] = rounded(of("toFloor"), 3);
    figures[`${name}StartP50Ms`] = rounded(median(startMs));
    figures[`${name}StartP99Ms`] = rounded(quantile(startMs, 0.99));
    figures[`${name}JobsPerCommit`] = rounded(of("jobsPerCommit"), 3);
    table.push([
      title,
      of("jobsPerSecond").toFixed(0),
      of("floorPerSecond").toFixed(0),
      of("toFloor").toFixed(3),
      median(startMs).toFixed(2),
      quantile(startMs, 0.99).toFixed(2),
      of("jobsPerCommit").toFixed(1),
    ]);
  }
  for (
    const [name, title, { few, many, ratio }] of [
      ["claim", "claim, 100,000 waiting / 100", claims],
      ["start", "start over HTTP, 100,000 waiting / 100", starts],
    ] as const
  ) {
    figures[`${name}100P50Ms`] = rounded(few);
    figures[`${name}100kP50Ms`] = rounded(many);
    figures[`${name}100kTo100`] = rounded(ratio, 3);
    table.push([title, `${many.toFixed(3)} ms`, `${few.toFixed(3)} ms`, ratio.toFixed(3), "", "", ""]);
  }
  return {
    iterations: { rounds, ...Object.fromEntries(levels.map(({ name, jobs }) => [`${name}Jobs`, jobs])) },
    figures,
    table,
    notes: [
      "Aims: 0.5 x floor; a claim with 100,000 waiting at most 1.2 x one with 100.",
      "The floor makes as many transactions as the kernel synced in the same run.",
    ],
  };
}
