/**
 * One thing done to a ledger in a process of its own, so that its time and its memory are those of a fresh start:
 *
 *     ledger_child.ts start|work|hash|verify FOLDER
 *
 * It prints one line of JSON, `ledgerChildSchema`.
 *
 * @module
 */
import { hash } from "node:crypto";
import { z } from "zod";
import { parseVerifierKey } from "../kernel/ledger/signed_note.ts";
import { verifyLedgerFolder } from "../kernel/ledger/verify/verify_folder.ts";
import { openLocalLedger } from "./local_ledger.ts";
import { quantile } from "./statistics.ts";

export const ledgerChildSchema = z.strictObject({
  /** Of the thing done, without the start of the process. */
  ms: z.number(),
  /** Read from files meanwhile. */
  readMb: z.number(),
  /** Before it, and the most there was. */
  idleMb: z.number(),
  peakMb: z.number(),
  proofP50Ms: z.number().optional(),
  proofP99Ms: z.number().optional(),
});
export type LedgerChild = z.infer<typeof ledgerChildSchema>;

const appends = 1_000;
const proofs = 100;

type Found = Pick<LedgerChild, "ms"> & Partial<LedgerChild>;

const tasks: Record<string, (folder: string) => Promise<Found>> = {
  async start(folder) {
    await using subject = await openLocalLedger(folder);
    return { ms: subject.openMs };
  },

  async work(folder) {
    await using subject = await openLocalLedger(folder);
    await subject.append(appends, 64);
    const timesMs: number[] = [];
    const { reader, size } = subject.ledger;
    for (let proof = 0; proof < proofs; proof++) {
      const startedMs = performance.now();
      await reader.inclusionProof(Math.floor(Math.random() * size));
      timesMs.push(performance.now() - startedMs);
    }
    return { ms: subject.openMs, proofP50Ms: quantile(timesMs, 0.5), proofP99Ms: quantile(timesMs, 0.99) };
  },

  async verify(folder) {
    const keys = [parseVerifierKey(Deno.readTextFileSync(`${folder}/key`))];
    const startedMs = performance.now();
    const { size } = await verifyLedgerFolder(`${folder}/ledger`, { keys });
    if (size === 0) throw new Error(`Cannot verify "${folder}": it has no records`);
    return { ms: performance.now() - startedMs };
  },

  /** The floor of a verification: each record read, and hashed twice. */
  hash(folder) {
    const startedMs = performance.now();
    const log = `${folder}/ledger/log`;
    let last = "";
    for (const { name } of [...Deno.readDirSync(log)].sort((a, b) => a.name < b.name ? -1 : 1)) {
      const bytes = Deno.readFileSync(`${log}/${name}`);
      for (let at = 0; at < bytes.length;) {
        const end = bytes.indexOf(0x0a, at);
        const line = bytes.subarray(at, end);
        last = hash("sha256", line, "hex");
        last = hash("sha256", line, "hex");
        at = end + 1;
      }
    }
    if (last === "") throw new Error(`Cannot hash "${log}": it has no records`);
    return Promise.resolve({ ms: performance.now() - startedMs });
  },
};

if (import.meta.main) {
  const [name = "", folder = ""] = Deno.args;
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
  if (task === undefined) throw new Error(`Cannot do "${name}": there are ${Object.keys(tasks).join(", ")}`);
  const idleMb = readMemory("VmRSS");
  const readBefore = readBytes();
  const found = await task(folder);
  const result: LedgerChild = {
    ...{ idleMb, readMb: (readBytes() - readBefore) / 1_048_576, peakMb: readMemory("VmHWM") },
    ...found,
  };
  console.log(JSON.stringify(result));
}

/** In MB, of this process. */
function readMemory(field: "VmRSS" | "VmHWM"): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1_024;
}

function readBytes(): number {
  return Number(/^rchar: (\d+)$/m.exec(Deno.readTextFileSync("/proc/self/io"))?.[1]);
}
