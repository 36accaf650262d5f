/**
 * The audit table holds the resources that each plugin's code asked Deno for: granted or refused, how often, since
 * when. How many rows a plugin may have is for `kernel/trust/audit.ts` to say; what it does not tell apart is a
 * count.
 *
 * `is_all` marks a check of everything there is: NULL would be equal to nothing, itself included.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { auditedPermissions, auditOutcomes } from "../../schemas/audit.ts";
import type { AuditedPermission, AuditOutcome } from "../../schemas/audit.ts";
import { createTransact } from "./database.ts";

export interface AuditKey {
  readonly plugin: string;
  readonly outcome: AuditOutcome;
  readonly permission: AuditedPermission;
  /** Null: all there are. */
  readonly resource: string | null;
}

/** Checks of one resource since the last write of it. */
export interface AuditUse extends AuditKey {
  readonly count: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
}

export interface AuditRow extends AuditUse {
  /** In the order of first checks, over all plugins. */
  readonly seq: number;
}

export interface AuditTable {
  /** How often the resource was checked so far; 0 where it has no row. */
  count(key: AuditKey): number;
  /** How many rows the plugin has of that outcome. */
  rows(plugin: string, outcome: AuditOutcome): number;
  /** Adds to rows, or makes them. In one transaction; durable when it returns. */
  add(uses: readonly AuditUse[], untold: ReadonlyMap<string, number>): void;
  /** Rows of a plugin above `after`, ascending; at most `limit`. */
  list(plugin: string, page: AuditPage): AuditRow[];
  /** Refused checks of the plugin that no row counts. */
  untold(plugin: string): number;
  /** Drops what is of plugins that `installed` has not, by id. */
  prune(installed: { has(id: string): boolean }): void;
}

export interface AuditPage {
  readonly after?: number | undefined;
  readonly limit: number;
  readonly outcome?: AuditOutcome | undefined;
}

const rowSchema = z.object({
  seq: z.int(),
  plugin: z.string(),
  outcome: z.enum(auditOutcomes),
  permission: z.enum(auditedPermissions),
  is_all: z.literal([0, 1]),
  resource: z.string(),
  count: z.int(),
  first_at_ms: z.int(),
  last_at_ms: z.int(),
});
const countSchema = z.object({ count: z.int() }).optional();

function parseRow(raw: unknown): AuditRow {
  const { is_all, resource, first_at_ms, last_at_ms, ...row } = rowSchema.parse(raw);
  return {
    ...row,
    resource: is_all === 1 ? null : resource,
    firstAtMs: first_at_ms,
    lastAtMs: last_at_ms,
  };
}

/** As the columns of the unique index. */
function columnsOf({ plugin, outcome, permission, resource }: AuditKey) {
  return [plugin, outcome, permission, resource === null ? 1 : 0, resource ?? ""] as const;
}

export function createAuditTable(db: DatabaseSync): AuditTable {
  const transact = createTransact(db);
  const selectCount = db.prepare(`
    SELECT count FROM audit WHERE plugin = ? AND outcome = ? AND permission = ? AND is_all = ? AND resource = ?
  `);
  const countRows = db.prepare("SELECT count(*) AS count FROM audit WHERE plugin = ? AND outcome = ?");
  const upsert = db.prepare(`
    INSERT INTO audit (plugin, outcome, permission, is_all, resource, count, first_at_ms, last_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (plugin, outcome, permission, is_all, resource) DO UPDATE SET
      count = count + excluded.count, last_at_ms = max(last_at_ms, excluded.last_at_ms)
  `);
  const upsertUntold = db.prepare(`
    INSERT INTO audit_untold (plugin, count) VALUES (?, ?)
    ON CONFLICT (plugin) DO UPDATE SET count = count + excluded.count
  `);
  const select = db.prepare("SELECT * FROM audit WHERE plugin = ? AND seq > ? ORDER BY seq LIMIT ?");
  const selectOutcome = db.prepare(
    "SELECT * FROM audit WHERE plugin = ? AND seq > ? AND outcome = ? ORDER BY seq LIMIT ?",
  );
  const selectUntold = db.prepare("SELECT count FROM audit_untold WHERE plugin = ?");
  const selectPlugins = db.prepare("SELECT plugin FROM audit UNION SELECT plugin FROM audit_untold");
  const removeRows = db.prepare("DELETE FROM audit WHERE plugin = ?");
  const removeUntold = db.prepare("DELETE FROM audit_untold WHERE plugin = ?");
  const counted = (raw: unknown) => countSchema.parse(raw)?.count ?? 0;
  return {
    count: (key) => counted(selectCount.get(...columnsOf(key))),
    rows: (plugin, outcome) => counted(countRows.get(plugin, outcome)),
    add(uses, untold) {
      transact(() => {
        for (const use of uses) upsert.run(...columnsOf(use), use.count, use.firstAtMs, use.lastAtMs);
        for (const [plugin, count] of untold) upsertUntold.run(plugin, count);
      });
    },
    list(plugin, { after = 0, limit, outcome }) {
      const rows = outcome === undefined
        ? select.all(plugin, after, limit)
        : selectOutcome.all(plugin, after, outcome, limit);
      return rows.map(parseRow);
    },
    untold: (plugin) => counted(selectUntold.get(plugin)),
    prune(installed) {
      const plugins = z.array(z.object({ plugin: z.string() })).parse(selectPlugins.all());
      transact(() => {
        for (const { plugin } of plugins) {
          if (installed.has(plugin)) continue;
          removeRows.run(plugin);
          removeUntold.run(plugin);
        }
      });
    },
  };
}
