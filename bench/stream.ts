/**
 * Stream: tokens a second from a plugin, through its cell and the kernel, to readers of server-sent events.
 *
 * Immediate calls, where each reader has a call of its own, and one job that all readers watch. The floor is Hono
 * alone with its own helper for such streams, to as many readers, in the same run and in turns.
 *
 * @module
 */
import { type BenchPlugin, type JobsKernel, startKernel } from "./jobs_kernel.ts";
import { makeBenchFolder, startServer } from "./local_server.ts";
import type { Outcome } from "./outcome.ts";
import { median, rounded } from "./statistics.ts";

const tokensPerRound = 40_000;
const rounds = 5;
const warmUpTokens = 2_000;
const readerCounts = [1, 10] as const;
const charCounts = [8, 100] as const;

const plugin: BenchPlugin = {
  id: "bench",
  manifest: {
    limits: { wallMs: 600_000, messagesPerSecond: 1_000_000, cpuMs: 600_000, outputMb: 64 },
    actions: { speak: { concurrency: 64, stream: true } },
  },
  code: `export const actions = {
  async *speak({ tokens, chars }: { tokens: number; chars: number }) {
    const token = "t".repeat(chars);
    for (let count = 0; count < tokens; count++) yield token;
    return null;
  },
};
`,
};

type Subject = (tokens: number, chars: number, readers: number) => Promise<number>;

/** Tokens that all readers have read, a second. */
interface Found {
  readonly readers: number;
  readonly chars: number;
  readonly call: number[];
  readonly job: number[];
  readonly floor: number[];
}

export async function benchStream(): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const folder = await makeBenchFolder(resources);
  const kernel = await startKernel(resources, folder, plugin);
  const hono = await startServer(resources, ["bench/floor/stream.ts"]);
  const subjects: Record<"floor" | "call" | "job", Subject> = {
    floor: (tokens, chars, readers) =>
      readAll(tokens * readers, readers, () => fetch(`${hono}/?tokens=${tokens}&chars=${chars}`)),
    call: (tokens, chars, readers) =>
      readAll(tokens * readers, readers, () => callSpeak(kernel, tokens, chars)),
    job: (tokens, chars, readers) => readJob(kernel, tokens, chars, readers),
  };
  const found: Found[] = readerCounts.flatMap((readers) =>
    charCounts.map((chars) => ({ readers, chars, call: [], job: [], floor: [] }))
  );
  for (const run of Object.values(subjects)) await run(warmUpTokens, 8, 2);
  for (let round = 0; round < rounds; round++) {
    for (const level of found) {
      for (const [name, run] of Object.entries(subjects)) {
        const tokens = name === "job" ? tokensPerRound : Math.ceil(tokensPerRound / level.readers);
        const tokensPerSecond = await run(tokens, level.chars, level.readers);
        if (name === "floor" || name === "call" || name === "job") level[name].push(tokensPerSecond);
      }
    }
  }
  return outcomeOf(found);
}

function callSpeak(kernel: JobsKernel, tokens: number, chars: number): Promise<Response> {
  const body = JSON.stringify({ tokens, chars });
  return kernel.fetch("/v1/plugins/bench/actions/speak", body, { accept: "text/event-stream" });
}

/** From the request for the job, whose id the answer brings, to the end of it at the last reader. */
async function readJob(
  kernel: JobsKernel,
  tokens: number,
  chars: number,
  readers: number,
): Promise<number> {
  const startedMs = performance.now();
  const request = JSON.stringify({ plugin: "bench", action: "speak", input: { tokens, chars } });
  const id = idOf(await (await kernel.fetch("/v1/jobs", request)).json());
  const perSecond = await readAll(tokens * readers, readers, () => kernel.fetch(`/v1/jobs/${id}/events`));
  return Number.isNaN(perSecond) ? NaN : 1_000 * tokens * readers / (performance.now() - startedMs);
}

function idOf(job: unknown): string {
  if (typeof job === "object" && job !== null && "id" in job && typeof job.id === "string") return job.id;
  throw new Error("Cannot read a job's id: the answer has none");
}

/** Tokens a second, until the last reader is done. */
async function readAll(
  tokens: number,
  readers: number,
  open: () => Promise<Response>,
): Promise<number> {
  const startedMs = performance.now();
  const counts = await Promise.all(Array.from({ length: readers }, async () => countTokens(await open())));
  const seconds = (performance.now() - startedMs) / 1_000;
  const read = counts.reduce((sum, count) => sum + count, 0);
  if (read !== tokens) throw new Error(`Cannot measure a stream: ${read} of ${tokens} tokens came`);
  return tokens / seconds;
}

const lineFeed = 10;
const letterT = "t".charCodeAt(0);
const quote = '"'.charCodeAt(0);

/** Counted at the byte: a token's data ends in `t"` and a line feed, and nothing else that is sent does. */
async function countTokens(response: Response): Promise<number> {
  let count = 0;
  let [before, last] = [0, 0];
  for await (const bytes of response.body ?? []) {
    for (let at = bytes.indexOf(lineFeed); at !== -1; at = bytes.indexOf(lineFeed, at + 1)) {
      const one = at > 0 ? bytes[at - 1] : last;
      const two = at > 1 ? bytes[at - 2] : at === 1 ? last : before;
      if (one === quote && two === letterT) count++;
    }
    [before, last] = [bytes.at(-2) ?? last, bytes.at(-1) ?? last];
  }
  return count;
}

function outcomeOf(found: readonly Found[]): Outcome {
  const figures: Record<string, number> = {};
  const table = [["stream, tokens/s", "Hono", "call", "/ Hono", "job's events", "/ Hono"]];
  for (const { readers, chars, call, job, floor } of found) {
    const ratio = (of: readonly number[]) => median(of.map((value, round) => value / (floor[round] ?? NaN)));
    const name = `${readers}Readers${chars}Chars`;
    figures[`floor${name}TokensPerSecond`] = Math.round(median(floor));
    for (const [subject, of] of [["call", call], ["job", job]] as const) {
      figures[`${subject}${name}TokensPerSecond`] = Math.round(median(of));
      figures[`${subject}${name}ToFloor`] = rounded(ratio(of), 3);
    }
    table.push([
      `${readers === 1 ? "1 reader" : `${readers} readers`}, ${chars} characters`,
      median(floor).toFixed(0),
      median(call).toFixed(0),
      ratio(call).toFixed(3),
      median(job).toFixed(0),
      ratio(job).toFixed(3),
    ]);
  }
  return {
    iterations: { rounds, tokensPerRound },
    figures,
    table,
    notes: [
      "Aim: 0.3 x Hono.",
      "Ten readers have a call each, or watch one job; tokens are counted at every reader.",
    ],
  };
}
