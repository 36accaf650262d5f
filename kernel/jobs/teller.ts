/**
 * The teller writes the ledger's entries of jobs, after their rows are on disk.
 *
 * A row says which of its entries are still to be written (`untold`). It is marked after the entry is durable, in a
 * transaction that does not wait for the disk: a crash in between leaves a row whose entry is there, and the next
 * start finds that in the ledger, see `job_traces.ts`. So each end of a job has exactly one entry.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { Appended, Ledger, LedgerEventInput } from "../ledger/ledger.ts";
import type { Transact } from "../store/database.ts";
import { type JobRow, untoldEnded, untoldEnqueued } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";

export interface TellerDeps {
  readonly ledger: Pick<Ledger, "append">;
  readonly table: Pick<JobsTable, "get" | "input">;
  /** Statements over a connection that does not wait for the disk. */
  readonly light: { readonly transact: Transact; readonly table: Pick<JobsTable, "clearUntold"> };
  /** `id@version`, as it stands in the ledger. */
  nameOf(plugin: string): string;
  defer(work: () => void): void;
  track(work: Promise<unknown>): void;
  pause(ms: number): Promise<void>;
}

export type Entry = "enqueued" | "ended";

const bits = { enqueued: untoldEnqueued, ended: untoldEnded } as const;
/** The ledger's queue was full: the entry is owed, and tried again. */
const fullPauseMs = 50;

export class Teller {
  readonly #underWay = new Map<string, Promise<Appended>>();
  #told: { seq: number; bit: number }[] = [];

  constructor(private readonly deps: TellerDeps) {}

  /** Writes an entry of the row; resolves when it is durable. */
  tell(row: JobRow, entry: Entry): Promise<Appended> {
    const key = `${row.seq}/${entry}`;
    const told = this.#append(this.#eventOf(row, entry)).then((appended) => {
      this.marked(row.seq, entry);
      return appended;
    }).finally(() => {
      if (this.#underWay.get(key) === told) this.#underWay.delete(key);
    });
    this.#underWay.set(key, told);
    this.deps.track(told);
    return told;
  }

  /** The entry that is being written; undefined when it is there already. */
  pending(seq: number, entry: Entry): Promise<Appended> | undefined {
    return this.#underWay.get(`${seq}/${entry}`);
  }

  /** The ledger has the entry. */
  marked(seq: number, entry: Entry): void {
    if (this.#told.push({ seq, bit: bits[entry] }) === 1) this.deps.defer(() => this.flush());
  }

  /** Writes the marks. */
  flush(): void {
    const told = this.#told;
    if (told.length === 0) return;
    this.#told = [];
    const { light } = this.deps;
    light.transact(() => {
      for (const { seq, bit } of told) light.table.clearUntold(seq, bit);
    });
  }

  /** Resolves when no entry is being written. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay.values());
    this.flush();
  }

  async #append(event: LedgerEventInput): Promise<Appended> {
    for (;;) {
      try {
        return await this.deps.ledger.append(event);
      } catch (error) {
        if (!(error instanceof ProblemError && error.code === "QUEUE_FULL")) throw error;
      }
      await this.deps.pause(fullPauseMs);
    }
  }

  #eventOf(row: JobRow, entry: Entry): LedgerEventInput {
    const { id: job, attempt, actor } = row;
    const plugin = row.plugin === null ? "" : this.deps.nameOf(row.plugin);
    if (entry === "enqueued") {
      const parent = row.parent === null ? undefined : this.deps.table.get(row.parent)?.id;
      const data = {
        job,
        ...(row.action === null ? {} : { action: row.action }),
        ...(parent === undefined ? {} : { parent }),
        ...(row.schedule === null ? {} : { schedule: row.schedule }),
      };
      const input = this.deps.table.input(row.seq) ?? new Uint8Array();
      return { type: "job.enqueued", actor, plugin, data, commit: { input } };
    }
    if (row.state === "completed") return { type: "job.completed", actor, plugin, data: { job, attempt } };
    if (row.state === "cancelled") return { type: "job.cancelled", actor, plugin, data: { job, attempt } };
    const data = { job, attempt, code: row.errorCode ?? "INTERNAL" } as const;
    return { type: "job.failed", actor, plugin, data, commit: { detail: row.errorMessage ?? "" } };
  }
}
