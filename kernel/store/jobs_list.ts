/**
 * The list of jobs, newest first, page by page.
 *
 * A page looks at a bounded number of rows, so that a filter that few jobs pass does not hold the kernel: such a
 * page may be short, or empty, and still have a next one.
 *
 * @module
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { z } from "zod";
import type { JobState } from "../../schemas/job.ts";
import { type JobRow, parseJobRow } from "./job_row.ts";

export interface JobsFilter {
  readonly state?: JobState | undefined;
  readonly plugin?: string | undefined;
  /** `seq` of the pipeline. */
  readonly parent?: number | undefined;
  /** Id of a job: older ones follow. It may be gone. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface JobsPage {
  readonly rows: JobRow[];
  /** Id to go on after; null at the end. */
  readonly next: string | null;
}

const rowsLookedAtMax = 10_000;
const lastSchema = z.object({ id: z.string() });

export function createJobsList(db: DatabaseSync): (filter: JobsFilter) => JobsPage {
  const statements = new Map<string, StatementSync>();
  const selectIdAt = db.prepare("SELECT id FROM jobs WHERE seq = ?");

  /** There are eight of them at most. */
  function statement(sql: string): StatementSync {
    return statements.getOrInsertComputed(sql, () => db.prepare(sql));
  }

  return ({ state, plugin, parent, after, limit }) => {
    // What an index leads to narrows what is looked at; the plugin is looked for in that.
    const conditions = ["1"];
    const values: SQLInputValue[] = [];
    const narrow = (condition: string, value: SQLInputValue | undefined) => {
      if (value === undefined) return;
      conditions.push(condition);
      values.push(value);
    };
    narrow("parent = ?", parent);
    narrow("state = ?", state);
    narrow("seq <= coalesce((SELECT seq FROM jobs WHERE id < ? ORDER BY id DESC LIMIT 1), 0)", after);
    const window = `FROM jobs WHERE ${conditions.join(" AND ")} ORDER BY seq DESC LIMIT ${rowsLookedAtMax}`;
    const chosen = plugin === undefined ? "" : "WHERE plugin = ?";
    const chosenValues = plugin === undefined ? [] : [plugin];
    const rows = statement(`SELECT * FROM (SELECT * ${window}) ${chosen} LIMIT ?`)
      .all(...values, ...chosenValues, limit + 1).map(parseJobRow);
    const items = rows.slice(0, limit);
    if (rows.length > limit) return { rows: items, next: items.at(-1)?.id ?? null };
    if (plugin === undefined) return { rows: items, next: null };
    const lookedAt = z.object({ seq: z.int().nullable(), count: z.int() }).parse(
      statement(`SELECT min(seq) AS seq, count(*) AS count FROM (SELECT seq ${window})`).get(...values),
    );
    if (lookedAt.seq === null || lookedAt.count < rowsLookedAtMax) return { rows: items, next: null };
    return { rows: items, next: lastSchema.parse(selectIdAt.get(lookedAt.seq)).id };
  };
}
