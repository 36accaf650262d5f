/**
 * Durable appends to a ledger, and their floor: the same bytes in the same batches, each written to a file and
 * synced with fdatasync, without a thread or a turn of the event loop between.
 *
 * @module
 */
import { openLocalLedger } from "./local_ledger.ts";
import { median, quantile } from "./statistics.ts";

export interface AppendLevel {
  readonly inFlight: number;
  readonly rounds: number;
  readonly recordsPerRound: number;
}

export interface AppendsFound {
  readonly inFlight: number;
  readonly recordsPerSecond: number;
  readonly floorPerSecond: number;
  /** Median of the ratios of each round. */
  readonly toFloor: number;
  readonly batchP50: number;
}

/** Each round of a level: so many appends, and then the floor with the batches that they came in. */
export async function measureAppends(
  folder: string,
  levels: readonly AppendLevel[],
): Promise<AppendsFound[]> {
  let batches: number[] = [];
  await using subject = await openLocalLedger(folder, (entries) => batches.push(entries));
  await subject.append(20_000, 64);
  using file = Deno.openSync(`${folder}/floor`, { append: true, create: true });
  const bytesPerRecord = await lastLineBytes(subject.ledger);
  const found: AppendsFound[] = [];
  for (const { inFlight, rounds, recordsPerRound } of levels) {
    const rates: { subject: number; floor: number }[] = [];
    const sizes: number[] = [];
    for (let round = 0; round < rounds; round++) {
      batches = [];
      const subjectMs = await timed(() => subject.append(recordsPerRound, inFlight));
      const floorMs = await timed(() => writeBatches(file, batches, bytesPerRecord));
      sizes.push(...batches);
      rates.push({ subject: 1_000 * recordsPerRound / subjectMs, floor: 1_000 * recordsPerRound / floorMs });
    }
    found.push({
      inFlight,
      recordsPerSecond: median(rates.map((rate) => rate.subject)),
      floorPerSecond: median(rates.map((rate) => rate.floor)),
      toFloor: median(rates.map((rate) => rate.subject / rate.floor)),
      batchP50: quantile(sizes, 0.5),
    });
  }
  return found;
}

function writeBatches(file: Deno.FsFile, batches: readonly number[], bytesPerRecord: number): void {
  const line = new TextEncoder().encode(`${"x".repeat(bytesPerRecord - 1)}\n`);
  const lines = new Uint8Array(Math.max(...batches) * bytesPerRecord);
  for (let at = 0; at < lines.length; at += bytesPerRecord) lines.set(line, at);
  for (const entries of batches) {
    const batch = lines.subarray(0, entries * bytesPerRecord);
    if (file.writeSync(batch) !== batch.length) throw new Error("Cannot measure the floor: a short write");
    file.syncDataSync();
  }
}

/** With its newline. */
async function lastLineBytes({ reader, size }: Awaited<ReturnType<typeof openLocalLedger>>["ledger"]) {
  const { items: [entry] } = await reader.entries({ after: size - 2, limit: 1 });
  if (entry === undefined) throw new Error("Cannot measure the floor: the ledger has no entry");
  return new TextEncoder().encode(entry.line).length + 1;
}

async function timed(work: () => void | Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}
