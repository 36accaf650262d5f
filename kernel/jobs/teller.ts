/**
 * The teller writes the ledger's entries of jobs, after their rows are on disk.
 *
 * A row says which of its entries are still to be written (`untold`). It is marked after the entry is durable, in a
 * transaction that does not wait for the disk: a crash in between leaves a row whose entry is there, and the next
 * start finds that in the ledger, see `job_traces.ts`. So each end of a job has exactly one entry.
 *
 * What is to be told stands in one line, and at most `underWayMax` entries are with the ledger at once, so that jobs
 * that end by the hundred thousand neither fill memory with their inputs nor shut others out of the ledger. Entries
 * of one job come in order.
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
  /** Runs `work` in the next turn of the event loop. */
  defer(work: () => void): void;
  track(work: Promise<unknown>): void;
  pause(ms: number): Promise<void>;
  fatal(error: Error): void;
}

export type Entry = "enqueued" | "ended";

/** An entry that the ledger does not have yet. What it tells of an end is that of then; the rest is read in its turn. */
interface Owed extends Pick<JobRow, "seq" | "state" | "attempt" | "errorCode" | "errorMessage"> {
  readonly entry: Entry;
  /** Made when somebody waits for it. */
  told: PromiseWithResolvers<Appended> | undefined;
  /** To the ledger, which did not refuse it. */
  isGiven: boolean;
}

const bits = { enqueued: untoldEnqueued, ended: untoldEnded } as const;
/** The ledger's queue was full: entries are owed, and tried again. */
const fullPauseMs = 50;
const underWayMax = 1_024;

export class Teller {
  /** By job and entry: the newest. */
  readonly #owed = new Map<string, Owed>();
  /** Those whose turn has not come, from `#at` on. */
  #line: Owed[] = [];
  #at = 0;
  /** Refused by a full ledger: they go before the line. */
  #refused: Owed[] = [];
  #underWay = 0;
  #isPaused = false;
  #told: { seq: number; bit: number }[] = [];
  #hasFailed = false;

  constructor(private readonly deps: TellerDeps) {}

  /** Writes an entry of the row, in its turn. */
  tell({ seq, state, attempt, errorCode, errorMessage }: JobRow, entry: Entry): void {
    const owed: Owed = {
      ...{ seq, state, attempt, errorCode, errorMessage, entry },
      ...{ told: undefined, isGiven: false },
    };
    const before = this.pending(seq, "ended") ??
      (entry === "ended" ? this.pending(seq, "enqueued") : undefined);
    this.#owed.set(keyOf(owed), owed);
    const take = () => {
      this.#line.push(owed);
      this.#pump();
    };
    if (before === undefined) take();
    else this.deps.track(before.then(take, take));
  }

  /** Resolves when the entry that is owed is durable; undefined when it is there already. */
  pending(seq: number, entry: Entry): Promise<Appended> | undefined {
    const owed = this.#owed.get(keyOf({ seq, entry }));
    return owed && toldOf(owed).promise;
  }

  /** Resolves when what the ledger is given from then on stands after the job's `job.enqueued`. Never rejects. */
  async preceded(seq: number): Promise<void> {
    const owed = this.#owed.get(keyOf({ seq, entry: "enqueued" }));
    if (owed === undefined) return;
    // The ledger keeps the order in which it is asked, and refuses at once.
    await null;
    if (!owed.isGiven) await Promise.allSettled([toldOf(owed).promise]);
  }

  /** The ledger has the entry. */
  marked(seq: number, entry: Entry): void {
    if (this.#told.push({ seq, bit: bits[entry] }) > 1) return;
    // A turn later than changes of jobs are committed: most marks go along with those.
    this.deps.defer(() => this.deps.defer(() => this.flush()));
  }

  /** Writes the marks with the transaction that is open. Returns how many. */
  writeMarks(table: Pick<JobsTable, "clearUntold">): number {
    const told = this.#told.splice(0);
    for (const { seq, bit } of told) table.clearUntold(seq, bit);
    return told.length;
  }

  /** Writes the marks. */
  flush(): void {
    const told = this.#told;
    if (told.length === 0 || this.#hasFailed) return;
    const { light, fatal } = this.deps;
    try {
      light.transact(() => {
        for (const { seq, bit } of told) light.table.clearUntold(seq, bit);
      });
    } catch (error) {
      this.#hasFailed = true;
      return fatal(error instanceof Error ? error : new Error(String(error)));
    }
    this.#told = [];
  }

  /** Resolves when no entry is owed. */
  async settled(): Promise<void> {
    // Also those that come meanwhile.
    for (const owed of this.#owed.values()) await Promise.allSettled([toldOf(owed).promise]);
    this.flush();
  }

  /** Gives the ledger what it has room for. */
  #pump(): void {
    while (!this.#isPaused && this.#underWay < underWayMax) {
      const owed = this.#refused.shift() ?? this.#next();
      if (owed === undefined) return;
      this.#underWay++;
      this.deps.track(this.#write(owed));
    }
  }

  #next(): Owed | undefined {
    const owed = this.#line[this.#at];
    if (owed === undefined) return undefined;
    this.#at++;
    // To shift a long array moves all of it.
    if (this.#at * 2 > this.#line.length) {
      this.#line.splice(0, this.#at);
      this.#at = 0;
    }
    return owed;
  }

  async #write(owed: Owed): Promise<void> {
    owed.isGiven = true;
    try {
      const appended = await this.deps.ledger.append(this.#eventOf(owed));
      // The mark of an end must not say that the next one was told.
      if (this.#owed.get(keyOf(owed)) === owed) {
        this.#owed.delete(keyOf(owed));
        this.marked(owed.seq, owed.entry);
      }
      owed.told?.resolve(appended);
    } catch (error) {
      if (error instanceof ProblemError && error.code === "QUEUE_FULL") return this.#refuse(owed);
      // It stays owed: whoever asks for it later is told too. The ledger takes nothing any more.
      toldOf(owed).reject(error);
      throw error;
    } finally {
      this.#underWay--;
      this.#pump();
    }
  }

  /** One pause for all of them. */
  #refuse(owed: Owed): void {
    owed.isGiven = false;
    this.#refused.push(owed);
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.deps.track(
      this.deps.pause(fullPauseMs).then(() => {
        this.#isPaused = false;
        this.#pump();
      }),
    );
  }

  #eventOf({ seq, entry, state, attempt, errorCode, errorMessage }: Owed): LedgerEventInput {
    const { table, nameOf } = this.deps;
    const row = table.get(seq);
    if (row === undefined) throw new TypeError(`Cannot tell of job ${seq}: there is none`);
    const { id: job, actor, action, schedule } = row;
    const plugin = row.plugin === null ? "" : nameOf(row.plugin);
    if (entry === "enqueued") {
      const parent = row.parent === null ? undefined : table.get(row.parent)?.id;
      const data = {
        job,
        ...(action === null ? {} : { action }),
        ...(parent === undefined ? {} : { parent }),
        ...(schedule === null ? {} : { schedule }),
      };
      return {
        type: "job.enqueued",
        actor,
        plugin,
        data,
        commit: { input: table.input(seq) ?? new Uint8Array() },
      };
    }
    if (state === "completed") return { type: "job.completed", actor, plugin, data: { job, attempt } };
    if (state === "cancelled") return { type: "job.cancelled", actor, plugin, data: { job, attempt } };
    const data = { job, attempt, code: errorCode ?? "INTERNAL" } as const;
    return { type: "job.failed", actor, plugin, data, commit: { detail: errorMessage ?? "" } };
  }
}

function keyOf({ seq, entry }: Pick<Owed, "seq" | "entry">): string {
  return `${seq}/${entry}`;
}

function toldOf(owed: Owed): PromiseWithResolvers<Appended> {
  if (owed.told === undefined) {
    owed.told = Promise.withResolvers();
    // The tracker is told of a failure; who waited may have gone.
    owed.told.promise.catch(() => {});
  }
  return owed.told;
}
