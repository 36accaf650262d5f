/**
 * The plugins table holds what the operator chose for each plugin: enabled or not, and how it should be.
 *
 * A plugin without a row is enabled and on demand. Rows outlive the package, so that a plugin the operator
 * disabled is still disabled when it is installed again.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";

export const desiredStates = ["on-demand", "stopped", "unloaded"] as const;
export type DesiredState = (typeof desiredStates)[number];

export interface PluginRow {
  readonly id: string;
  readonly enabled: boolean;
  readonly desired: DesiredState;
  readonly updatedAtMs: number;
}

export interface PluginsTable {
  /** Durable when it returns. */
  set(row: PluginRow): void;
  get(id: string): PluginRow | undefined;
  /** All rows, ascending by id; as many as there were plugins. */
  list(): PluginRow[];
}

const rowSchema = z.object({
  id: z.string(),
  enabled: z.literal([0, 1]),
  desired: z.enum(desiredStates),
  updated_at_ms: z.int(),
});

function parseRow(raw: unknown): PluginRow {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    enabled: row.enabled === 1,
    desired: row.desired,
    updatedAtMs: row.updated_at_ms,
  };
}

export function createPluginsTable(db: DatabaseSync): PluginsTable {
  const upsert = db.prepare(`
    INSERT INTO plugins (id, enabled, desired, updated_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
      enabled = excluded.enabled, desired = excluded.desired, updated_at_ms = excluded.updated_at_ms
  `);
  const select = db.prepare("SELECT * FROM plugins WHERE id = ?");
  const selectAll = db.prepare("SELECT * FROM plugins ORDER BY id");
  return {
    set(row) {
      upsert.run(row.id, row.enabled ? 1 : 0, row.desired, row.updatedAtMs);
    },
    get(id) {
      const raw = select.get(id);
      return raw && parseRow(raw);
    },
    list: () => selectAll.all().map(parseRow),
  };
}
