import assert from "node:assert/strict";
import { createJobLogsTable, logRowBytes } from "./job_logs_table.ts";
import { insertJobs, openJobsFile } from "./testing_jobs_file.ts";

const line = (seq: number, text = "hello") => ({ seq, atMs: 5, attempt: 2, level: "info" as const, text });

Deno.test("JobLogsTable lists lines by number and page, counts them, and they go with their job", () => {
  const folder = Deno.makeTempDirSync();
  const db = openJobsFile(`${folder}/jobs.db`, "normal");
  try {
    insertJobs(db, 1, 2);
    const logs = createJobLogsTable(db);
    const lines = [line(1), line(2, "a\nb\u2028"), line(3, "")];
    logs.append(1, lines);
    logs.append(2, [line(1)]);
    logs.append(2, []);
    assert.deepEqual(logs.list(1, 0, 10), lines);
    assert.deepEqual(logs.list(1, 1, 1), lines.slice(1, 2));
    assert.deepEqual([logs.last(1), logs.last(3)], [lines[2], undefined]);
    assert.deepEqual([logs.bytes(1), logs.bytes(3)], [3 * logRowBytes + 5 + 6, 0]);
    assert.throws(() => logs.append(3, [line(1)]));
    assert.throws(() => logs.append(1, [line(3)]));
    db.exec("DELETE FROM jobs");
    assert.deepEqual([logs.last(1), logs.last(2)], [undefined, undefined]);
  } finally {
    db.close();
    Deno.removeSync(folder, { recursive: true });
  }
});
