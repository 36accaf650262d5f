import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { createEndedJobs } from "./ended_jobs.ts";
import { createJobsList } from "./jobs_list.ts";
import { createJobsTable } from "./jobs_table.ts";
import { insertJobs, openJobsFile } from "./testing_jobs_file.ts";

/** A file, and the statements that are prepared over it, with how often each was run. */
function createRecorded() {
  const folder = Deno.makeTempDirSync();
  const file = openJobsFile(`${folder}/jobs.db`, "normal");
  const runs = new Map<string, number>();
  const db: DatabaseSync = new Proxy(file, {
    get(target, name) {
      if (name !== "prepare") return Reflect.get(target, name).bind(target);
      return (sql: string) => {
        runs.set(sql, 0);
        return new Proxy(target.prepare(sql), {
          get(statement, member) {
            const value = Reflect.get(statement, member);
            return (...terms: unknown[]) => {
              runs.set(sql, (runs.get(sql) ?? 0) + 1);
              return Reflect.apply(value, statement, terms);
            };
          },
        });
      };
    },
  });
  const plan = (sql: string) =>
    file.prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => String(detail));
  return {
    ...{ db, runs, plan },
    [Symbol.dispose]() {
      file.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** Run once in the life of a kernel, or over what is few. */
const scans = [
  /^SELECT plugin, action, count/,
  /count\(\*\)/,
  /^SELECT max\(seq\)/,
  /FROM pipeline_redrives/,
  /FROM pipelines_deleted/,
];

// What waits, ended or is a part of a pipeline may be a million rows: nothing may read or sort more than it wants.
Deno.test("jobs_table, ended_jobs: each statement is a search in an index or by number, without a sort", () => {
  using recorded = createRecorded();
  createJobsTable(recorded.db);
  createEndedJobs(recorded.db);
  const selects = [...recorded.runs.keys()].filter((sql) => !sql.startsWith("INSERT"));
  assert(selects.length > 40);
  for (const sql of selects) {
    if (scans.some((pattern) => pattern.test(sql))) continue;
    const steps = recorded.plan(sql);
    for (const step of steps) {
      assert.doesNotMatch(step, /TEMP B-TREE|^SCAN (?!CONSTANT)/, `${sql}: ${steps.join("; ")}`);
    }
  }
});

const lists = {
  "": /^SEARCH jobs USING INTEGER PRIMARY KEY|^SCAN jobs$/,
  state: /^SEARCH jobs USING (COVERING )?INDEX jobs_state/,
  parent: /^SEARCH jobs USING (COVERING )?INDEX jobs_children/,
};

Deno.test("jobs_list: each filter is led by one index, in order, whatever else it asks for", () => {
  using recorded = createRecorded();
  insertJobs(recorded.db, ...Array.from({ length: 3 }, (_, at) => at + 1));
  const list = createJobsList(recorded.db);
  for (const parent of [undefined, 1]) {
    for (const state of [undefined, "pending" as const]) {
      for (const plugin of [undefined, "p"]) {
        for (const after of [undefined, "job 9"]) {
          recorded.runs.clear();
          list({ state, plugin, parent, after, limit: 5 });
          const led = lists[parent !== undefined ? "parent" : state !== undefined ? "state" : ""];
          for (const sql of recorded.runs.keys()) {
            const steps = recorded.plan(sql);
            assert(steps.some((step) => led.test(step)), `${sql}: ${steps.join("; ")}`);
            assert(!steps.some((step) => step.includes("TEMP B-TREE")), `${sql}: ${steps.join("; ")}`);
            // What the index does not lead to is looked for outside of the rows that are counted.
            const window = /\(SELECT .* FROM jobs .* LIMIT 10000\)/.exec(sql)?.[0] ?? "";
            assert.equal(window.includes("plugin ="), false);
            if (parent !== undefined) assert.equal(window.includes("state ="), false);
          }
          assert(recorded.runs.size >= 1);
        }
      }
    }
  }
});

Deno.test("JobsTable reads the dependencies of a job and its pipeline's id once, and those of a new job never", () => {
  using recorded = createRecorded();
  const { db, runs } = recorded;
  const table = createJobsTable(db);
  insertJobs(db, 1, 2, 3);
  const { seq: _, ...row } = table.get(1)!;
  const fresh = table.insert({ ...row, id: "fresh" }, new Uint8Array());
  table.depend(2, 1);
  const count = (pattern: RegExp) =>
    [...runs].reduce((sum, [sql, times]) => pattern.test(sql) ? sum + times : sum, 0);
  const before = count(/FROM job_dependencies/);
  for (let times = 0; times < 3; times++) {
    assert.deepEqual([fresh.seq, 2, 3].map((seq) => table.dependencyIds(seq)), [[], ["job 1"], []]);
    assert.equal(table.idOf(3), "job 3");
  }
  assert.equal(count(/FROM job_dependencies/) - before, 2);
  assert.equal(count(/^SELECT id FROM jobs/), 1);
  table.delete(1);
  table.delete(3);
  assert.deepEqual([table.dependencyIds(2), table.idOf(3)], [[], undefined]);
});
