/**
 * The grants table holds what an operator granted each plugin through the API, and who did.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { type OperatorGrants, operatorGrantsSchema } from "../../schemas/capabilities.ts";

export interface GrantsRow {
  readonly plugin: string;
  readonly grants: OperatorGrants;
  /** The actor, such as `token:0193…`. */
  readonly setBy: string;
  readonly setAtMs: number;
}

export interface GrantsTable {
  /** Replaces all grants of the plugin. Durable when it returns. */
  set(row: GrantsRow): void;
  get(plugin: string): GrantsRow | undefined;
  /** All rows, ascending by plugin; as many as there were plugins. */
  list(): GrantsRow[];
}

const rowSchema = z.object({
  plugin: z.string(),
  grants: z.string(),
  set_by: z.string(),
  set_at_ms: z.int(),
});

function parseRow(raw: unknown): GrantsRow {
  const row = rowSchema.parse(raw);
  return {
    plugin: row.plugin,
    grants: operatorGrantsSchema.parse(JSON.parse(row.grants)),
    setBy: row.set_by,
    setAtMs: row.set_at_ms,
  };
}

export function createGrantsTable(db: DatabaseSync): GrantsTable {
  const upsert = db.prepare(`
    INSERT INTO grants (plugin, grants, set_by, set_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (plugin) DO UPDATE SET
      grants = excluded.grants, set_by = excluded.set_by, set_at_ms = excluded.set_at_ms
  `);
  const select = db.prepare("SELECT * FROM grants WHERE plugin = ?");
  const selectAll = db.prepare("SELECT * FROM grants ORDER BY plugin");
  return {
    set(row) {
      upsert.run(row.plugin, JSON.stringify(row.grants), row.setBy, row.setAtMs);
    },
    get(plugin) {
      const raw = select.get(plugin);
      return raw && parseRow(raw);
    },
    list: () => selectAll.all().map(parseRow),
  };
}
