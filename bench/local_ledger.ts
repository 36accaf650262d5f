/**
 * A local ledger: the kernel's ledger and commitments as production opens them, in a folder of a bench.
 *
 * @module
 */
import { getRandomValues } from "node:crypto";
import { configSchema } from "../schemas/config.ts";
import { type Ledger, openLedger } from "../kernel/ledger/ledger.ts";
import { openCommitments } from "../kernel/store/commitments_table.ts";

export interface LocalLedger extends AsyncDisposable {
  readonly ledger: Ledger;
  /** How long it took to open, without the commitments. */
  readonly openMs: number;
  /** Appends `count` records, `inFlight` at once. */
  append(count: number, inFlight: number): Promise<void>;
}

const input = new TextEncoder().encode('{"name":"world"}');

/** `committed` is told of the size of each batch. */
export async function openLocalLedger(
  folder: string,
  committed?: (entries: number) => void,
): Promise<LocalLedger> {
  const { origin: _, ...limits } = configSchema.parse({}).ledger;
  const commitments = openCommitments({
    file: `${folder}/commitments.db`,
    rowsMax: limits.commitmentsMax,
  });
  const startedMs = performance.now();
  const ledger = await openLedger({ folder: `${folder}/ledger`, ...limits }, {
    nowMs: Date.now,
    randomBytes: (count) => getRandomValues(new Uint8Array(count)),
    commitments,
    fatal: (error) => {
      throw error;
    },
    committed: ({ entries }) => committed?.(entries),
  });
  return {
    ledger,
    openMs: performance.now() - startedMs,
    async append(count, inFlight) {
      let asked = 0;
      await Promise.all(Array.from({ length: inFlight }, async () => {
        while (asked++ < count) await ledger.append(createEvent());
      }));
    },
    async [Symbol.asyncDispose]() {
      await ledger[Symbol.asyncDispose]();
      commitments[Symbol.dispose]();
    },
  };
}

/** What a call writes first, and the larger of its two records. */
function createEvent() {
  return {
    type: "call.accepted",
    actor: "token:01JABCDEFGHJKMNPQRSTVWXYZ1",
    plugin: "hello@1.0.0",
    data: { action: "greet", request: "01JABCDEFGHJKMNPQRSTVWXYZ0" },
    commit: { input },
  } as const;
}
