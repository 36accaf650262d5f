/**
 * The job events table holds what each job told, in order, as chunks of consecutive events.
 *
 * A row for each event would cost more than the event: a token is a few bytes. What the text of a chunk means is
 * known to `kernel/jobs/job_event_chunk.ts`; here it is only kept.
 *
 * A write is part of whichever transaction is open on the connection, and otherwise one of its own. It is as durable
 * as that connection's commits.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";

export interface JobEventsRow {
  /** `seq` of the job. */
  readonly job: number;
  /** Number of its first event, from 1. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly text: string;
}

export interface NewJobEventsRow extends JobEventsRow {
  /** What tokens and progress take of the text, in UTF-8. */
  readonly lightBytes: number;
}

export interface JobEventsTable {
  /** Throws where the job is not there, or has a chunk with this first number. */
  append(row: NewJobEventsRow): void;
  /**
   * Chunks with an event above `afterSeq`, ascending; the first one may begin before that. As many as reach
   * `bytesMax` UTF-16 units of text, and at least one if there is one.
   */
  read(job: number, afterSeq: number, bytesMax: number): JobEventsRow[];
  /** Number of the last event; 0 if there is none. */
  lastSeq(job: number): number;
  /** What tokens and progress take of all its text, in UTF-8. */
  lightBytes(job: number): number;
}

const rowSchema = z.object({ first_seq: z.int(), last_seq: z.int(), events: z.string() });
const lastSchema = z.object({ last_seq: z.int() });
const bytesSchema = z.object({ bytes: z.int() });

export function createJobEventsTable(db: DatabaseSync): JobEventsTable {
  const insert = db.prepare(
    "INSERT INTO job_events (job, first_seq, last_seq, events, light_bytes) VALUES (?, ?, ?, ?, ?)",
  );
  // Begins at the chunk that could hold the event after `afterSeq`: two searches, however many came before.
  const select = db.prepare(`
    SELECT first_seq, last_seq, events FROM job_events
    WHERE job = :job AND last_seq > :after AND first_seq >= coalesce(
      (SELECT first_seq FROM job_events WHERE job = :job AND first_seq <= :after ORDER BY first_seq DESC LIMIT 1), 0)
    ORDER BY first_seq
  `);
  const selectLast = db.prepare(
    "SELECT last_seq FROM job_events WHERE job = ? ORDER BY first_seq DESC LIMIT 1",
  );
  const selectBytes = db.prepare(
    "SELECT coalesce(sum(light_bytes), 0) AS bytes FROM job_events WHERE job = ?",
  );
  return {
    append({ job, firstSeq, lastSeq, text, lightBytes }) {
      insert.run(job, firstSeq, lastSeq, text, lightBytes);
    },
    read(job, afterSeq, bytesMax) {
      const rows: JobEventsRow[] = [];
      let bytes = 0;
      // Row by row: how large the next one is, is known when it is there.
      for (const raw of select.iterate({ job, after: afterSeq })) {
        const { first_seq, last_seq, events } = rowSchema.parse(raw);
        rows.push({ job, firstSeq: first_seq, lastSeq: last_seq, text: events });
        bytes += events.length;
        if (bytes >= bytesMax) break;
      }
      return rows;
    },
    lastSeq(job) {
      const raw = selectLast.get(job);
      return raw === undefined ? 0 : lastSchema.parse(raw).last_seq;
    },
    lightBytes: (job) => bytesSchema.parse(selectBytes.get(job)).bytes,
  };
}
