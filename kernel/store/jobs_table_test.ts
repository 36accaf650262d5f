import assert from "node:assert/strict";
import { openJobsFile } from "./testing_jobs_file.ts";

function plan(sql: string): string {
  const folder = Deno.makeTempDirSync();
  const db = openJobsFile(`${folder}/jobs.db`, "normal");
  try {
    return db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => String(detail)).join("; ");
  } finally {
    db.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

// What waits may be a million rows: no look at who is next may read, or sort, more than the one it wants.
const looks = {
  head:
    "SELECT seq FROM jobs WHERE wait = 'turn' AND plugin IS ? AND action IS ? ORDER BY priority DESC, seq LIMIT 1",
  headOfKey:
    "SELECT seq FROM jobs WHERE wait = 'key' AND plugin = ? AND action = ? AND concurrency_key = ? " +
    "ORDER BY priority DESC, seq LIMIT 1",
  due: "SELECT seq FROM jobs WHERE wait = 'time' AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ?",
  nextDue: "SELECT min(due_at_ms) FROM jobs WHERE wait = 'time'",
  nextExpiry: "SELECT min(expires_at_ms) FROM jobs WHERE wait IS NOT NULL AND expires_at_ms IS NOT NULL",
  after: "SELECT seq FROM jobs WHERE id < ? ORDER BY id DESC LIMIT 1",
};

for (const [name, sql] of Object.entries(looks)) {
  Deno.test(`jobs_table: ${name} is one search in an index, without a sort`, () => {
    const text = plan(sql);
    assert.match(text, /^SEARCH jobs USING (COVERING )?INDEX \S+/);
    assert.doesNotMatch(text, /TEMP B-TREE|SCAN/);
  });
}
