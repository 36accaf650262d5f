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

  /** There are two dozen of them at most. */
  function statement(sql: string): StatementSync {
    return statements.getOrInsertComputed(sql, () => db.prepare(sql));
  }

  return ({ state, plugin, parent, after, limit }) => {
    // One index leads to what is looked at, in order; what else is asked for is looked for in that.
    const [index, leading, other] = parent !== undefined
      ? ["INDEXED BY jobs_children", { parent }, { state, plugin }]
      : state !== undefined
      ? ["INDEXED BY jobs_state", { state }, { plugin }]
      : ["NOT INDEXED", {}, { plugin }];
    const looked = conditionsOf(leading);
    if (after !== undefined) {
      looked.texts.push("seq <= coalesce((SELECT seq FROM jobs WHERE id < ? ORDER BY id DESC LIMIT 1), 0)");
      looked.values.push(after);
    }
    const chosen = conditionsOf(other);
    const window = `FROM jobs ${index} ${where(looked.texts)} ORDER BY seq DESC LIMIT ${rowsLookedAtMax}`;
    const rows = statement(`SELECT * FROM (SELECT * ${window}) ${where(chosen.texts)} LIMIT ?`)
      .all(...looked.values, ...chosen.values, limit + 1).map(parseJobRow);
    const items = rows.slice(0, limit);
    if (rows.length > limit) return { rows: items, next: items.at(-1)?.id ?? null };
    if (chosen.texts.length === 0) return { rows: items, next: null };
    const lookedAt = z.object({ seq: z.int().nullable(), count: z.int() }).parse(
      statement(`SELECT min(seq) AS seq, count(*) AS count FROM (SELECT seq ${window})`).get(
        ...looked.values,
      ),
    );
    if (lookedAt.seq === null || lookedAt.count < rowsLookedAtMax) return { rows: items, next: null };
    return { rows: items, next: lastSchema.parse(selectIdAt.get(lookedAt.seq)).id };
  };
}

function conditionsOf(filter: Record<string, SQLInputValue | undefined>) {
  const texts: string[] = [];
  const values: SQLInputValue[] = [];
  for (const [column, value] of Object.entries(filter)) {
    if (value === undefined) continue;
    texts.push(`${column} = ?`);
    values.push(value);
  }
  return { texts, values };
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
}
