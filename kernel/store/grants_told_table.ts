/**
 * The table of told grants holds what the ledger says is in force for each plugin, so that every change of it has
 * an entry, also one that came about between two lives of the kernel.
 *
 * A row is `pending` while the entries are being written: after a crash in there, the ledger says the one or the other.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { type OperatorGrants, operatorGrantsSchema } from "../../schemas/capabilities.ts";

const scopesSchema = z.record(z.string(), z.array(z.string()));
/** By permission; what is empty is left out. */
export type Scopes = z.infer<typeof scopesSchema>;

export interface GrantsToldRow {
  readonly plugin: string;
  /** What the operator had written when these were computed. */
  readonly operator: OperatorGrants;
  readonly granted: Scopes;
  readonly pending: Scopes | null;
}

export interface GrantsToldTable {
  /** Durable when it returns. */
  set(row: GrantsToldRow): void;
  get(plugin: string): GrantsToldRow | undefined;
  delete(plugin: string): void;
  /** All rows, ascending by plugin; as many as there are plugins. */
  list(): GrantsToldRow[];
}

const rowSchema = z.object({
  plugin: z.string(),
  operator: z.string(),
  granted: z.string(),
  pending: z.string().nullable(),
});

function parseRow(raw: unknown): GrantsToldRow {
  const { plugin, operator, granted, pending } = rowSchema.parse(raw);
  return {
    plugin,
    operator: operatorGrantsSchema.parse(JSON.parse(operator)),
    granted: scopesSchema.parse(JSON.parse(granted)),
    pending: pending === null ? null : scopesSchema.parse(JSON.parse(pending)),
  };
}

export function createGrantsToldTable(db: DatabaseSync): GrantsToldTable {
  const upsert = db.prepare(
    "INSERT OR REPLACE INTO grants_told (plugin, operator, granted, pending) VALUES (?, ?, ?, ?)",
  );
  const select = db.prepare("SELECT * FROM grants_told WHERE plugin = ?");
  const selectAll = db.prepare("SELECT * FROM grants_told ORDER BY plugin");
  const remove = db.prepare("DELETE FROM grants_told WHERE plugin = ?");
  return {
    set({ plugin, operator, granted, pending }) {
      const pendingText = pending === null ? null : JSON.stringify(pending);
      upsert.run(plugin, JSON.stringify(operator), JSON.stringify(granted), pendingText);
    },
    get(plugin) {
      const raw = select.get(plugin);
      return raw && parseRow(raw);
    },
    delete(plugin) {
      remove.run(plugin);
    },
    list: () => selectAll.all().map(parseRow),
  };
}
