/**
 * Ended jobs: what retention finds, measures and deletes.
 *
 * A pipeline is deleted before its parts, so that it cannot be tried again when some of them are gone; until the last
 * part is, it is named in `pipelines_deleted`.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";

export interface EndedJob {
  readonly seq: number;
  readonly endedAtMs: number;
  readonly kind: "action" | "pipeline";
  /** The ledger owes an entry of it. */
  readonly isOwed: boolean;
}

export interface EndedJobs {
  /** Jobs that are no part of a pipeline and ended before `beforeMs`, the oldest first, after the one given. */
  list(after: { endedAtMs: number; seq: number }, beforeMs: number, limit: number): EndedJob[];
  /** Those that are no part of a pipeline. Looks at all of them. */
  count(): number;
  /** About what the job takes of the file. */
  bytes(seq: number): number;
  /** Deletes the oldest events, about `bytesMax` of them, but not the newest ones. Returns the bytes. */
  trimEvents(seq: number, bytesMax: number): number;
  markDeleted(pipeline: number): void;
  /** Pipelines that are gone and have parts that are not, above `after`. */
  deleted(after: number): number | undefined;
  /** Parts of a pipeline, above `after`, ascending; `isEnded`: and owed nothing. */
  parts(pipeline: number, after: number, limit: number): { seq: number; isEnded: boolean }[];
  clearDeleted(pipeline: number): void;
}

const rowSchema = z.object({
  seq: z.int(),
  ended_at_ms: z.int(),
  kind: z.enum(["action", "pipeline"]),
  untold: z.int(),
});
const numberSchema = z.object({ value: z.int().nullable() });
const partSchema = z.object({ seq: z.int(), ended_at_ms: z.int().nullable(), untold: z.int() });
const chunkSchema = z.object({ first_seq: z.int(), bytes: z.int() });
/** What a row takes beside its data, about. */
const rowBytes = 1_024;

export function createEndedJobs(db: DatabaseSync): EndedJobs {
  const topmost = "ended_at_ms IS NOT NULL AND parent IS NULL";
  const select = db.prepare(
    `SELECT seq, ended_at_ms, kind, untold FROM jobs INDEXED BY jobs_ended
     WHERE ${topmost} AND (ended_at_ms, seq) > (?, ?) AND ended_at_ms <= ? ORDER BY ended_at_ms, seq LIMIT ?`,
  );
  const selectCount = db.prepare(`SELECT count(*) AS value FROM jobs INDEXED BY jobs_ended WHERE ${topmost}`);
  const selectBytes = db.prepare(
    `SELECT coalesce((SELECT octet_length(input) + coalesce(octet_length(output), 0) FROM job_data WHERE seq = :seq), 0)
       + coalesce((SELECT sum(octet_length(events)) FROM job_events WHERE job = :seq), 0)
       + coalesce((SELECT sum(octet_length(text) + 64) FROM job_logs WHERE job = :seq), 0) AS value`,
  );
  const selectChunks = db.prepare(
    "SELECT first_seq, octet_length(events) AS bytes FROM job_events WHERE job = ? ORDER BY first_seq",
  );
  const deleteChunks = db.prepare("DELETE FROM job_events WHERE job = ? AND first_seq < ?");
  const insertDeleted = db.prepare("INSERT OR IGNORE INTO pipelines_deleted VALUES (?)");
  const selectDeleted = db.prepare(
    "SELECT pipeline AS value FROM pipelines_deleted WHERE pipeline > ? ORDER BY pipeline LIMIT 1",
  );
  const selectParts = db.prepare(
    `SELECT seq, ended_at_ms, untold FROM jobs INDEXED BY jobs_children WHERE parent = ? AND seq > ?
     ORDER BY seq LIMIT ?`,
  );
  const removeDeleted = db.prepare("DELETE FROM pipelines_deleted WHERE pipeline = ?");
  const value = (raw: unknown) => numberSchema.parse(raw).value;
  return {
    list: ({ endedAtMs, seq }, beforeMs, limit) =>
      select.all(endedAtMs, seq, beforeMs, limit).map((raw) => {
        const row = rowSchema.parse(raw);
        return { seq: row.seq, endedAtMs: row.ended_at_ms, kind: row.kind, isOwed: row.untold !== 0 };
      }),
    count: () => value(selectCount.get()) ?? 0,
    bytes: (seq) => rowBytes + (value(selectBytes.get({ seq })) ?? 0),
    trimEvents(seq, bytesMax) {
      let [bytes, before, last] = [0, 0, 0];
      for (const raw of selectChunks.iterate(seq)) {
        const { first_seq: firstSeq, bytes: size } = chunkSchema.parse(raw);
        // Of what was seen all but this one goes: the numbers of events go on from the newest.
        before = firstSeq;
        bytes += last;
        if (bytes >= bytesMax) break;
        last = size;
      }
      deleteChunks.run(seq, before);
      return bytes;
    },
    markDeleted: (pipeline) => void insertDeleted.run(pipeline),
    deleted(after) {
      const raw = selectDeleted.get(after);
      return raw === undefined ? undefined : value(raw) ?? undefined;
    },
    parts: (pipeline, after, limit) =>
      selectParts.all(pipeline, after, limit).map((raw) => {
        const { seq, ended_at_ms: endedAtMs, untold } = partSchema.parse(raw);
        return { seq, isEnded: endedAtMs !== null && untold === 0 };
      }),
    clearDeleted: (pipeline) => void removeDeleted.run(pipeline),
  };
}
