/**
 * Ledger: durable appends, proofs, start and verification of the kernel's own ledger, on the disk that holds this
 * checkout.
 *
 * Floors: for appends, the same bytes in the same batches written and synced; for verification, the same records
 * read and hashed twice. The logs of 10 k, 100 k and a million records are made by appending.
 *
 * @module
 */
import { type AppendLevel, type AppendsFound, measureAppends } from "./ledger_appends.ts";
import { type LedgerChild, ledgerChildSchema } from "./ledger_child.ts";
import { openLocalLedger } from "./local_ledger.ts";
import type { Outcome } from "./outcome.ts";
import { median, rounded } from "./statistics.ts";

const levels: readonly AppendLevel[] = [
  { inFlight: 1, rounds: 7, recordsPerRound: 1_000 },
  { inFlight: 64, rounds: 7, recordsPerRound: 20_000 },
  { inFlight: 256, rounds: 7, recordsPerRound: 40_000 },
];
const sizes = { "10k": 10_000, "100k": 100_000, "1m": 1_000_000 } as const;
const sizeNames = ["10k", "100k", "1m"] as const;
type SizeName = (typeof sizeNames)[number];

const starts = 5;
const verifications = 3;

interface LogFound {
  readonly buildSeconds: number;
  readonly start: LedgerChild;
  readonly startWithoutTiles: LedgerChild;
  readonly work: LedgerChild;
  readonly verify: LedgerChild;
  readonly hash: LedgerChild;
  readonly verifyToHash: number;
}

export async function benchLedger(): Promise<Outcome> {
  // The system's temporary folder may be in memory.
  const data = new URL("../data", import.meta.url).pathname;
  await Deno.mkdir(data, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: data, prefix: "bench-" });
  try {
    await Deno.mkdir(`${folder}/appends`);
    const appends = await measureAppends(`${folder}/appends`, levels);
    const logs = new Map<SizeName, LogFound>();
    for (const name of sizeNames) logs.set(name, await measureLog(`${folder}/${name}`, sizes[name]));
    return outcomeOf(appends, logs);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function measureLog(folder: string, size: number): Promise<LogFound> {
  await Deno.mkdir(folder);
  const buildSeconds = await build(folder, size);
  const started: LedgerChild[] = [];
  for (let round = 0; round < starts; round++) started.push(await runChild("start", folder));
  const verified: { verify: LedgerChild; hash: LedgerChild }[] = [];
  for (let round = 0; round < verifications; round++) {
    verified.push({ verify: await runChild("verify", folder), hash: await runChild("hash", folder) });
  }
  const work = await runChild("work", folder);
  await Deno.remove(`${folder}/ledger/tiles`, { recursive: true });
  const startWithoutTiles = await runChild("start", folder);
  return {
    ...{ buildSeconds, work, startWithoutTiles },
    start: middle(started),
    verify: middle(verified.map(({ verify }) => verify)),
    hash: middle(verified.map(({ hash }) => hash)),
    verifyToHash: median(verified.map(({ verify, hash }) => hash.ms / verify.ms)),
  };
}

async function build(folder: string, size: number): Promise<number> {
  const startedMs = performance.now();
  await using subject = await openLocalLedger(folder);
  await subject.append(size - subject.ledger.size, 256);
  await Deno.writeTextFile(`${folder}/key`, subject.ledger.verifierKeys.join());
  return (performance.now() - startedMs) / 1_000;
}

function middle(found: readonly LedgerChild[]): LedgerChild {
  const ms = median(found.map((one) => one.ms));
  const chosen = found.find((one) => one.ms === ms);
  if (chosen === undefined) throw new Error("Cannot choose among runs: there are none");
  return chosen;
}

async function runChild(task: "start" | "work" | "hash" | "verify", folder: string): Promise<LedgerChild> {
  const entry = new URL("ledger_child.ts", import.meta.url).pathname;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--cached-only", entry, task, folder],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot ${task} "${folder}": the process failed`);
  return ledgerChildSchema.parse(JSON.parse(new TextDecoder().decode(stdout)));
}

function outcomeOf(appends: readonly AppendsFound[], logs: ReadonlyMap<SizeName, LogFound>): Outcome {
  const figures: Record<string, number> = {};
  const table = [["ledger", "", "", "floor", "ratio"]];
  for (const { inFlight, recordsPerSecond, floorPerSecond, toFloor, batchP50 } of appends) {
    const name = `appends${inFlight}`;
    Object.assign(figures, {
      [`${name}PerSecond`]: Math.round(recordsPerSecond),
      [`${name}FloorPerSecond`]: Math.round(floorPerSecond),
      [`${name}ToFloor`]: rounded(toFloor, 3),
      [`${name}BatchRecords`]: batchP50,
    });
    table.push([
      `appends/s, ${inFlight} in flight`,
      recordsPerSecond.toFixed(0),
      `batch ${batchP50}`,
      floorPerSecond.toFixed(0),
      toFloor.toFixed(3),
    ]);
  }
  for (const [name, log] of logs) {
    Object.assign(figures, figuresOf(name, log));
    table.push(...rowsOf(name, log));
  }
  return {
    iterations: {
      ...{ starts, verifications },
      ...Object.fromEntries(levels.map(({ inFlight, rounds }) => [`rounds${inFlight}`, rounds])),
    },
    figures,
    table,
    notes: [
      "Aims: 0.6 x floor at 256 in flight; verification 0.5 x floor; a proof below 5 ms and a start below 2 s " +
      "with a million records; memory the same at 10 k and a million.",
    ],
  };
}

function figuresOf(name: SizeName, log: LogFound): Record<string, number> {
  const perSecond = (ms: number) => Math.round(1_000 * sizes[name] / ms);
  return {
    [`build${name}Seconds`]: rounded(log.buildSeconds, 3),
    [`start${name}Ms`]: rounded(log.start.ms),
    [`start${name}ReadMb`]: rounded(log.start.readMb),
    [`startWithoutTiles${name}Ms`]: rounded(log.startWithoutTiles.ms),
    [`proof${name}P50Ms`]: rounded(log.work.proofP50Ms ?? NaN),
    [`proof${name}P99Ms`]: rounded(log.work.proofP99Ms ?? NaN),
    [`idle${name}Mb`]: rounded(log.work.idleMb),
    [`work${name}PeakMb`]: rounded(log.work.peakMb),
    [`startWithoutTiles${name}PeakMb`]: rounded(log.startWithoutTiles.peakMb),
    [`verify${name}PeakMb`]: rounded(log.verify.peakMb),
    [`verify${name}PerSecond`]: perSecond(log.verify.ms),
    [`verify${name}FloorPerSecond`]: perSecond(log.hash.ms),
    [`verify${name}ToFloor`]: rounded(log.verifyToHash, 3),
  };
}

function rowsOf(name: SizeName, log: LogFound): string[][] {
  const { start, startWithoutTiles, work, verify, hash } = log;
  const perSecond = ({ ms }: LedgerChild) => (1_000 * sizes[name] / ms).toFixed(0);
  const mb = (value: number) => `${value.toFixed(0)} MB`;
  return [
    [`${name}: start`, `${start.ms.toFixed(0)} ms`, `reads ${start.readMb.toFixed(1)} MB`, "", ""],
    [
      `${name}: start without tiles`,
      `${startWithoutTiles.ms.toFixed(0)} ms`,
      mb(startWithoutTiles.peakMb),
      "",
      "",
    ],
    [
      `${name}: proof p50, p99`,
      `${work.proofP50Ms?.toFixed(2)} ms`,
      `${work.proofP99Ms?.toFixed(2)} ms`,
      "",
      "",
    ],
    [`${name}: memory before, peak`, mb(work.idleMb), mb(work.peakMb), "", ""],
    [
      `${name}: verified/s`,
      perSecond(verify),
      mb(verify.peakMb),
      perSecond(hash),
      log.verifyToHash.toFixed(3),
    ],
  ];
}
