/**
 * The audit table holds the resources that each plugin's code asked Deno for: granted or refused, how often, since
 * when. How many rows a plugin may have is for `kernel/trust/audit.ts` to say; what it does not tell apart is a
 * count. `audit_plugins` has a row for each plugin that has any, so that a start need not read the rows of all.
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
  /** Adds to rows at `atMs`, or makes them. In one transaction; durable when it returns. */
  add(uses: readonly AuditUse[], untold: ReadonlyMap<string, number>, atMs: number): void;
  /** Rows of a plugin above `after`, ascending; at most `limit`. */
  list(plugin: string, page: AuditPage): AuditRow[];
  /** Refused checks of the plugin that no row counts. */
  untold(plugin: string): number;
  /** Whether anything is kept of the plugin. */
  has(plugin: string): boolean;
  /** Drops what is of plugins that are not installed, by their ids, and not to be kept. */
  prune(installed: { has(id: string): boolean }, kept: KeptAudits): void;
}

/** Which audits stay of plugins that are not installed. */
export interface KeptAudits {
  /** Those written since. */
  readonly sinceMs: number;
  /** Of as many plugins, those written last. */
  readonly pluginsMax: number;
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
const pluginSchema = z.object({ plugin: z.string(), atMs: z.int() });
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
  const upsertPlugin = db.prepare(`
    INSERT INTO audit_plugins (plugin, untold, written_at_ms) VALUES (?, ?, ?)
    ON CONFLICT (plugin) DO UPDATE SET untold = untold + excluded.untold,
      written_at_ms = max(written_at_ms, excluded.written_at_ms)
  `);
  const select = db.prepare("SELECT * FROM audit WHERE plugin = ? AND seq > ? ORDER BY seq LIMIT ?");
  const selectOutcome = db.prepare(
    "SELECT * FROM audit WHERE plugin = ? AND seq > ? AND outcome = ? ORDER BY seq LIMIT ?",
  );
  const selectUntold = db.prepare("SELECT untold AS count FROM audit_plugins WHERE plugin = ?");
  const selectPlugins = db.prepare(
    "SELECT plugin, written_at_ms AS atMs FROM audit_plugins ORDER BY written_at_ms DESC, plugin",
  );
  const removeRows = db.prepare("DELETE FROM audit WHERE plugin = ?");
  const removePlugin = db.prepare("DELETE FROM audit_plugins WHERE plugin = ?");
  const counted = (raw: unknown) => countSchema.parse(raw)?.count ?? 0;
  return {
    count: (key) => counted(selectCount.get(...columnsOf(key))),
    rows: (plugin, outcome) => counted(countRows.get(plugin, outcome)),
    add(uses, untold, atMs) {
      const plugins = new Set([...uses.map(({ plugin }) => plugin), ...untold.keys()]);
      transact(() => {
        for (const use of uses) upsert.run(...columnsOf(use), use.count, use.firstAtMs, use.lastAtMs);
        for (const plugin of plugins) upsertPlugin.run(plugin, untold.get(plugin) ?? 0, atMs);
      });
    },
    list(plugin, { after = 0, limit, outcome }) {
      const rows = outcome === undefined
        ? select.all(plugin, after, limit)
        : selectOutcome.all(plugin, after, outcome, limit);
      return rows.map(parseRow);
    },
    untold: (plugin) => counted(selectUntold.get(plugin)),
    has: (plugin) => selectUntold.get(plugin) !== undefined,
    prune(installed, { sinceMs, pluginsMax }) {
      const plugins = z.array(pluginSchema).parse(selectPlugins.all());
      const gone = plugins.filter(({ plugin }) => !installed.has(plugin));
      const dropped = gone.filter(({ atMs }, at) => at >= pluginsMax || atMs < sinceMs);
      if (dropped.length === 0) return;
      transact(() => {
        for (const { plugin } of dropped) {
          removeRows.run(plugin);
          removePlugin.run(plugin);
        }
      });
    },
  };
}
