/**
 * The jobs table holds every job that was accepted and not yet deleted, with its input and output.
 *
 * Its methods are statements: they run in whichever transaction is open. Which change is allowed when is not
 * decided here, see `kernel/jobs/`.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { z } from "zod";
import { type JobState, jobStateSchema } from "../../schemas/job.ts";
import { createJobRelations, type JobRelations, type KeptRelations } from "./job_relations.ts";
import { columnNames, type JobRow, type NewJobRow, parseJobRow, rowValues } from "./job_row.ts";
import { KeptRows } from "./kept_rows.ts";

/** What the claim must know of the job that is next. */
export interface Head {
  readonly seq: number;
  readonly priority: number;
  readonly concurrencyKey: string | null;
  readonly concurrencyMax: number | null;
}

/** A job that waits for the time. */
export interface Due {
  readonly seq: number;
  readonly dueAtMs: number;
  /** It began before. */
  readonly isRetry: boolean;
}

/** Jobs of one action that wait for their turn. */
export interface LaneCount {
  readonly plugin: string | null;
  readonly action: string | null;
  readonly count: number;
}

export interface JobsTable extends JobRelations {
  /** Gives the row its number. */
  insert(row: NewJobRow, input: Uint8Array): JobRow;
  /**
   * Writes what may change of a row; what is indexed only where it differs from `before`, which the row is on disk.
   * The output only where it is given.
   */
  save(row: JobRow, given?: { before?: JobRow; output?: Uint8Array | undefined }): void;
  get(seq: number): JobRow | undefined;
  state(seq: number): JobState | undefined;
  find(id: string): JobRow | undefined;
  findByKey(actor: string, key: string): JobRow | undefined;
  input(seq: number): Uint8Array<ArrayBuffer> | undefined;
  output(seq: number): Uint8Array<ArrayBuffer> | undefined;
  /** The first in line of an action; of the pipelines, where both are null. */
  head(plugin: string | null, action: string | null): Head | undefined;
  /** The first of those that wait for their key. */
  headOfKey(plugin: string, action: string, key: string): number | undefined;
  lanes(): LaneCount[];
  /** Numbers, at most `limit`. */
  due(nowMs: number, limit: number): number[];
  nextDueMs(): number | undefined;
  expired(nowMs: number, limit: number): number[];
  nextExpiryMs(): number | undefined;
  /** Pending jobs of each actor who has some. */
  waiting(): { actor: string; count: number }[];
  /** Ascending, above `after`. */
  running(after: number, limit: number): JobRow[];
  untold(after: number, limit: number): JobRow[];
  /** Failed jobs that are no part of a pipeline, the oldest first. */
  failed(
    filter: { plugin?: string | undefined; action?: string | undefined; code?: string | undefined },
    limit: number,
  ): JobRow[];
  clearUntold(seq: number, bit: number): void;
  /** Jobs that wait for the time, ascending by it, after the one given: also those that never began. */
  waitForTime(after: { dueAtMs: number; seq: number }, limit: number): Due[];
  setDue(seq: number, dueAtMs: number): void;
  delete(seq: number): void;
}

const stateSchema = z.object({ state: jobStateSchema });
const seqSchema = z.object({ seq: z.int() });
const headSchema = z.object({
  seq: z.int(),
  priority: z.int(),
  concurrency_key: z.string().nullable(),
  concurrency_max: z.int().nullable(),
});
const laneSchema = z.object({
  plugin: z.string().nullable(),
  action: z.string().nullable(),
  count: z.int(),
});
const waitingSchema = z.object({ actor: z.string(), count: z.int() });
const dueSchema = z.object({ seq: z.int(), due_at_ms: z.int(), attempt: z.int() });
const blobSchema = z.object({ value: z.instanceof(Uint8Array).nullable() });
const numberSchema = z.object({ value: z.int().nullable() });

/** What may change of a row, in the order of `columnNames`. */
const fixed = new Set<string>([
  ...["seq", "id", "kind", "plugin", "action", "actor", "parent", "step", "schedule", "idempotency_key"],
  ...["request_sha256", "priority", "deadline_ms", "retry", "concurrency_key", "concurrency_max"],
  ...["input_sha256", "plan_sha256", "created_at_ms"],
]);
const writable = columnNames.slice(1);
/** An index is written anew for each of its columns that an update names, changed or not. */
const indexed = new Set<string>([
  ...["state", "wait", "due_at_ms", "expires_at_ms", "untold", "cancel_requested", "ended_at_ms"],
]);
const indexedAt = new Set(writable.keys().filter((at) => indexed.has(writable[at] ?? "")));
const changingAt = writable.keys().filter((at) => !fixed.has(writable[at] ?? "")).toArray();

/** `rows`: of the file, for all its connections. */
export function createJobsTable(db: DatabaseSync, rows = new KeptRows()): JobsTable {
  const { inserted, deleted, ...relations } = createJobRelations(db);
  return {
    ...createWrites(db, rows, { inserted, deleted }),
    ...createReads(db, rows),
    ...createQueues(db),
    ...relations,
  };
}

function createWrites(
  db: DatabaseSync,
  rows: KeptRows,
  kept: KeptRelations,
): Pick<JobsTable, "insert" | "save" | "setDue" | "clearUntold" | "delete"> {
  const insertRow = db.prepare(
    `INSERT INTO jobs (${writable.join()}) VALUES (${writable.map(() => "?").join()})`,
  );
  const insertData = db.prepare("INSERT INTO job_data (seq, input) VALUES (?, ?)");
  // At most one for each set of the columns that are indexed; about as many as there are changes of a job.
  const updates = new Map<string, StatementSync>();
  const updateOf = (at: number[]) =>
    updates.getOrInsertComputed(
      at.join(),
      () => db.prepare(`UPDATE jobs SET ${at.map((each) => `${writable[each]} = ?`).join()} WHERE seq = ?`),
    );
  const updateOutput = db.prepare("UPDATE job_data SET output = ? WHERE seq = ?");
  const clear = db.prepare("UPDATE jobs SET untold = untold & ~? WHERE seq = ?");
  const updateDue = db.prepare("UPDATE jobs SET due_at_ms = ? WHERE seq = ?");
  const remove = db.prepare("DELETE FROM jobs WHERE seq = ?");
  return {
    insert(row, input) {
      const seq = Number(insertRow.run(...rowValues(row)).lastInsertRowid);
      insertData.run(seq, input);
      kept.inserted(seq);
      // Not kept: it may wait for long, and a claim is to cost the same however many do.
      return { seq, ...row };
    },
    save(row, { before, output } = {}) {
      const values = rowValues(row);
      const old = before === undefined ? [] : rowValues(before);
      const at = changingAt.filter((each) => !indexedAt.has(each) || values[each] !== old[each]);
      updateOf(at).run(...at.map((each) => values[each] ?? null), row.seq);
      if (output !== undefined) updateOutput.run(output, row.seq);
      rows.put(row);
    },
    clearUntold(seq, bit) {
      clear.run(bit, seq);
      rows.change(seq, ({ untold }) => ({ untold: untold & ~bit }));
    },
    setDue(seq, dueAtMs) {
      updateDue.run(dueAtMs, seq);
      rows.change(seq, () => ({ dueAtMs }));
    },
    delete(seq) {
      remove.run(seq);
      rows.forget(seq);
      kept.deleted(seq);
    },
  };
}

type Reads =
  | ("get" | "state" | "find" | "findByKey" | "input" | "output" | "failed")
  | ("running" | "untold");

function createReads(db: DatabaseSync, rows: KeptRows): Pick<JobsTable, Reads> {
  const select = db.prepare("SELECT * FROM jobs WHERE seq = ?");
  const selectState = db.prepare("SELECT state FROM jobs WHERE seq = ?");
  const selectId = db.prepare("SELECT * FROM jobs WHERE id = ?");
  const selectKey = db.prepare("SELECT * FROM jobs WHERE actor = ? AND idempotency_key = ?");
  const selectInput = db.prepare("SELECT input AS value FROM job_data WHERE seq = ?");
  const selectOutput = db.prepare("SELECT output AS value FROM job_data WHERE seq = ?");
  const selectRunning = db.prepare(
    "SELECT * FROM jobs WHERE state = 'running' AND seq > ? ORDER BY seq LIMIT ?",
  );
  const selectUntold = db.prepare("SELECT * FROM jobs WHERE untold <> 0 AND seq > ? ORDER BY seq LIMIT ?");
  const selectFailed = db.prepare(
    `SELECT * FROM jobs WHERE state = 'failed' AND parent IS NULL AND plugin IS coalesce(?, plugin)
       AND action IS coalesce(?, action) AND error_code IS coalesce(?, error_code) ORDER BY seq LIMIT ?`,
  );
  const row = (raw: unknown) => raw === undefined ? undefined : parseJobRow(raw);
  const blob = (raw: unknown) => {
    const value = raw === undefined ? null : blobSchema.parse(raw).value;
    return value === null ? undefined : new Uint8Array(value);
  };
  return {
    get(seq) {
      const known = rows.get(seq);
      if (known !== undefined) return known;
      const read = row(select.get(seq));
      return read && rows.put(read);
    },
    state(seq) {
      const known = rows.get(seq);
      if (known !== undefined) return known.state;
      const raw = selectState.get(seq);
      return raw === undefined ? undefined : stateSchema.parse(raw).state;
    },
    find: (id) => row(selectId.get(id)),
    findByKey: (actor, key) => row(selectKey.get(actor, key)),
    input: (seq) => blob(selectInput.get(seq)),
    output: (seq) => blob(selectOutput.get(seq)),
    running: (after, limit) => selectRunning.all(after, limit).map(parseJobRow),
    untold: (after, limit) => selectUntold.all(after, limit).map(parseJobRow),
    failed: ({ plugin = null, action = null, code = null }, limit) =>
      selectFailed.all(plugin, action, code, limit).map(parseJobRow),
  };
}

type Queues =
  | "head"
  | "headOfKey"
  | "lanes"
  | "due"
  | "nextDueMs"
  | "expired"
  | "nextExpiryMs"
  | "waiting"
  | "waitForTime";

function createQueues(db: DatabaseSync): Pick<JobsTable, Queues> {
  const order = "ORDER BY priority DESC, seq LIMIT 1";
  const selectHead = db.prepare(
    `SELECT seq, priority, concurrency_key, concurrency_max FROM jobs
     WHERE wait = 'turn' AND plugin IS ? AND action IS ? ${order}`,
  );
  const selectKeyHead = db.prepare(
    `SELECT seq FROM jobs WHERE wait = 'key' AND plugin = ? AND action = ? AND concurrency_key = ? ${order}`,
  );
  const selectLanes = db.prepare(
    "SELECT plugin, action, count(*) AS count FROM jobs WHERE wait = 'turn' GROUP BY plugin, action",
  );
  const selectDue = db.prepare(
    "SELECT seq FROM jobs WHERE wait = 'time' AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ?",
  );
  const selectNextDue = db.prepare("SELECT min(due_at_ms) AS value FROM jobs WHERE wait = 'time'");
  const waitsToExpire = "wait IS NOT NULL AND expires_at_ms IS NOT NULL";
  const selectExpired = db.prepare(
    `SELECT seq FROM jobs WHERE ${waitsToExpire} AND expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?`,
  );
  const selectNextExpiry = db.prepare(`SELECT min(expires_at_ms) AS value FROM jobs WHERE ${waitsToExpire}`);
  const countPending = db.prepare(
    "SELECT actor, count(*) AS count FROM jobs WHERE state = 'pending' GROUP BY actor",
  );
  const selectTimes = db.prepare(
    `SELECT seq, due_at_ms, attempt FROM jobs INDEXED BY jobs_time WHERE wait = 'time'
       AND (due_at_ms, seq) > (?, ?) ORDER BY due_at_ms, seq LIMIT ?`,
  );
  const numbers = (rows: unknown[]) => rows.map((raw) => seqSchema.parse(raw).seq);
  const value = (raw: unknown) => numberSchema.parse(raw).value ?? undefined;
  return {
    head(plugin, action) {
      const raw = selectHead.get(plugin, action);
      if (raw === undefined) return undefined;
      const { concurrency_key: concurrencyKey, concurrency_max: concurrencyMax, ...head } = headSchema.parse(
        raw,
      );
      return { ...head, concurrencyKey, concurrencyMax };
    },
    headOfKey: (plugin, action, key) => numbers(selectKeyHead.all(plugin, action, key))[0],
    lanes: () => selectLanes.all().map((raw) => laneSchema.parse(raw)),
    due: (nowMs, limit) => numbers(selectDue.all(nowMs, limit)),
    nextDueMs: () => value(selectNextDue.get()),
    expired: (nowMs, limit) => numbers(selectExpired.all(nowMs, limit)),
    nextExpiryMs: () => value(selectNextExpiry.get()),
    waiting: () => countPending.all().map((raw) => waitingSchema.parse(raw)),
    waitForTime: ({ dueAtMs, seq }, limit) =>
      selectTimes.all(dueAtMs, seq, limit).map((raw) => {
        const due = dueSchema.parse(raw);
        return { seq: due.seq, dueAtMs: due.due_at_ms, isRetry: due.attempt > 0 };
      }),
  };
}
