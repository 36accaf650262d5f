/**
 * The schedules table holds what is to become jobs again and again, and when next.
 *
 *     untold → in force → going → (no row)
 *
 * | state | `untold` | `next_at_ms` | in the ledger |
 * |---|---|---|---|
 * | untold | 1 | a time | `schedule.created`, perhaps |
 * | in force | 0 | a time, or null when there is none any more | `schedule.created` |
 * | going | 1 | null | `schedule.deleted`, perhaps |
 *
 * Each change of state names the state that it expects. Only schedules in force are seen by callers and make jobs.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { type ScheduleRequest, scheduleRequestSchema } from "../../schemas/job.ts";

export interface ScheduleRow {
  /** A ULID. */
  readonly id: string;
  readonly actor: string;
  readonly request: ScheduleRequest;
  readonly nextAtMs: number | null;
  /** When it last made a job, and which. */
  readonly lastAtMs: number | null;
  readonly lastJob: string | null;
  readonly createdAtMs: number;
}

/** Without its input. */
export type ScheduleSummary = Omit<ScheduleRow, "request"> & {
  readonly request: Omit<ScheduleRequest, "input">;
};

/** Writes are durable when the transaction is in which they are made. */
export interface SchedulesTable {
  /** As untold. */
  insert(row: Omit<ScheduleRow, "lastAtMs" | "lastJob"> & { nextAtMs: number }): void;
  /** untold → in force. RangeError otherwise. */
  enforce(id: string): void;
  /** Of one that is untold, whose entry there will never be. Does nothing where there is none. */
  discard(id: string): void;
  /** in force → going. Returns the row; undefined where it was not in force. */
  begone(id: string): ScheduleRow | undefined;
  /** Of one that is going. Does nothing where there is none. */
  delete(id: string): void;
  /** Of one in force: it made a job (`last`), or its time passed without one. RangeError where there is none. */
  passed(id: string, nextAtMs: number | null, last?: { atMs: number; job: string }): void;
  /** All there are, whatever their state. */
  count(): number;
  /** In force, with an id above `after`, ascending by id, which is by creation; without what is large. */
  list(after: string, limit: number): ScheduleSummary[];
  /** In force, and their time has come, but for those of `heldActors`; the one due first stands first. */
  due(nowMs: number, limit: number, heldActors: readonly string[]): ScheduleRow[];
  /** When the next of those in force is due. */
  nextAtMs(): number | undefined;
  /** What a crash left between a row and its entry. */
  untold(): ScheduleRow[];
  going(): ScheduleRow[];
}

const rowSchema = z.object({
  id: z.string(),
  actor: z.string(),
  request: z.string(),
  next_at_ms: z.int().nullable(),
  last_at_ms: z.int().nullable(),
  last_job: z.string().nullable(),
  created_at_ms: z.int(),
});

function parseRow(raw: unknown): ScheduleRow {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    actor: row.actor,
    request: scheduleRequestSchema.parse(JSON.parse(row.request)),
    nextAtMs: row.next_at_ms,
    lastAtMs: row.last_at_ms,
    lastJob: row.last_job,
    createdAtMs: row.created_at_ms,
  };
}

export function createSchedulesTable(db: DatabaseSync): SchedulesTable {
  const insert = db.prepare(`
    INSERT INTO schedules (id, actor, request, next_at_ms, created_at_ms, untold) VALUES (?, ?, ?, ?, ?, 1)
  `);
  const enforce = db.prepare(`
    UPDATE schedules SET untold = 0 WHERE id = ? AND untold = 1 AND next_at_ms IS NOT NULL
  `);
  const discard = db.prepare("DELETE FROM schedules WHERE id = ? AND untold = 1 AND next_at_ms IS NOT NULL");
  const begone = db.prepare(
    "UPDATE schedules SET untold = 1, next_at_ms = NULL WHERE id = ? AND untold = 0 RETURNING *",
  );
  const remove = db.prepare("DELETE FROM schedules WHERE id = ? AND untold = 1 AND next_at_ms IS NULL");
  const pass = db.prepare(`
    UPDATE schedules
    SET next_at_ms = ?, last_at_ms = coalesce(?, last_at_ms), last_job = coalesce(?, last_job)
    WHERE id = ? AND untold = 0
  `);
  const count = db.prepare("SELECT count(*) AS count FROM schedules");
  const selectPage = db.prepare(`
    SELECT id, actor, next_at_ms, last_at_ms, last_job, created_at_ms,
      json_remove(request, '$.input') AS request
    FROM schedules WHERE untold = 0 AND id > ? ORDER BY id LIMIT ?
  `);
  const selectDue = db.prepare(`
    SELECT * FROM schedules
    WHERE next_at_ms <= ? AND untold = 0 AND actor NOT IN (SELECT value FROM json_each(?))
    ORDER BY next_at_ms, id LIMIT ?
  `);
  const selectNext = db.prepare(`
    SELECT next_at_ms AS next FROM schedules WHERE next_at_ms IS NOT NULL AND untold = 0
    ORDER BY next_at_ms LIMIT 1
  `);
  const selectUntold = db.prepare(`
    SELECT * FROM schedules WHERE untold = 1 AND (next_at_ms IS NULL) = ? ORDER BY id
  `);

  function checkChanged(id: string, changes: number | bigint, verb: string): void {
    if (Number(changes) !== 1) throw new RangeError(`Cannot ${verb} schedule "${id}": wrong state`);
  }

  return {
    insert({ id, actor, request, nextAtMs, createdAtMs }) {
      insert.run(id, actor, JSON.stringify(request), nextAtMs, createdAtMs);
    },
    enforce: (id) => checkChanged(id, enforce.run(id).changes, "enforce"),
    discard: (id) => void discard.run(id),
    begone(id) {
      const raw = begone.get(id);
      return raw && parseRow(raw);
    },
    delete: (id) => void remove.run(id),
    passed(id, nextAtMs, last) {
      checkChanged(id, pass.run(nextAtMs, last?.atMs ?? null, last?.job ?? null, id).changes, "move on");
    },
    count: () => z.object({ count: z.int() }).parse(count.get()).count,
    list: (after, limit) => selectPage.all(after, limit).map(parseRow),
    due: (nowMs, limit, heldActors) => selectDue.all(nowMs, JSON.stringify(heldActors), limit).map(parseRow),
    nextAtMs: () => z.object({ next: z.int() }).optional().parse(selectNext.get())?.next,
    untold: () => selectUntold.all(0).map(parseRow),
    going: () => selectUntold.all(1).map(parseRow),
  };
}
