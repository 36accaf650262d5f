/**
 * The quarantines table holds which plugins were given up and why, so that a crash loop does not begin again with
 * the next life of the kernel.
 *
 * A row is written before its entry in the ledger: a crash between the two leaves a row that is not `recorded`,
 * and the next start writes the entry. Rows outlive an unloaded package; a reset deletes them.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { problemCodeSchema } from "../../schemas/problem.ts";

const rowSchema = z.object({
  plugin: z.string(),
  digest: z.string(),
  code: problemCodeSchema,
  reason: z.string(),
  failures: z.int(),
  window_ms: z.int(),
  at_ms: z.int(),
  recorded: z.literal([0, 1]),
});

export interface QuarantineRow {
  readonly plugin: string;
  /** Of the package that failed. */
  readonly digest: string;
  /** Of the last failure, with its words. */
  readonly code: z.infer<typeof problemCodeSchema>;
  readonly reason: string;
  readonly failures: number;
  readonly windowMs: number;
  readonly atMs: number;
  /** The ledger tells of it. */
  readonly recorded: boolean;
}

export interface QuarantinesTable {
  /** Durable when it returns. */
  set(row: QuarantineRow): void;
  /** The ledger tells of it now. Does nothing where there is none. */
  setRecorded(plugin: string): void;
  get(plugin: string): QuarantineRow | undefined;
  /** Durable when it returns. */
  delete(plugin: string): void;
}

function parseRow(raw: unknown): QuarantineRow {
  const { window_ms: windowMs, at_ms: atMs, recorded, ...row } = rowSchema.parse(raw);
  return { ...row, windowMs, atMs, recorded: recorded === 1 };
}

export function createQuarantinesTable(db: DatabaseSync): QuarantinesTable {
  const upsert = db.prepare(`
    INSERT OR REPLACE INTO quarantines (plugin, digest, code, reason, failures, window_ms, at_ms, recorded)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  `);
  const update = db.prepare("UPDATE quarantines SET recorded = 1 WHERE plugin = ?");
  const select = db.prepare("SELECT * FROM quarantines WHERE plugin = ?");
  const remove = db.prepare("DELETE FROM quarantines WHERE plugin = ?");
  return {
    set({ plugin, digest, code, reason, failures, windowMs, atMs, recorded }) {
      upsert.run(plugin, digest, code, reason, failures, windowMs, atMs, recorded ? 1 : 0);
    },
    setRecorded(plugin) {
      update.run(plugin);
    },
    get(plugin) {
      const raw = select.get(plugin);
      return raw && parseRow(raw);
    },
    delete(plugin) {
      remove.run(plugin);
    },
  };
}
