import assert from "node:assert/strict";
import { createEndedJobs } from "./ended_jobs.ts";
import { createJobEventsTable } from "./job_events_table.ts";
import { insertJobs, openJobsFile } from "./testing_jobs_file.ts";

Deno.test("EndedJobs.trimEvents() deletes the oldest events of one job, about as much as is asked, never the newest", () => {
  const folder = Deno.makeTempDirSync();
  const db = openJobsFile(`${folder}/jobs.db`, "normal");
  try {
    insertJobs(db, 1, 2);
    const events = createJobEventsTable(db);
    const ended = createEndedJobs(db);
    const text = `T"${"x".repeat(95)}"\n`;
    for (const job of [1, 2]) {
      for (let at = 1; at <= 10; at++) {
        events.append({ job, firstSeq: at, lastSeq: at, text, lightBytes: 99 });
      }
    }
    const before = ended.bytes(1);
    assert.equal(before >= 990, true);
    assert.equal(ended.trimEvents(1, 250), 297);
    assert.deepEqual(events.read(1, 0, 1).map(({ firstSeq }) => firstSeq), [4]);
    assert.equal(ended.bytes(1), before - 297);
    assert.deepEqual([ended.trimEvents(1, 1_000_000), ended.trimEvents(1, 1_000_000)], [594, 0]);
    assert.deepEqual([events.lastSeq(1), events.read(2, 0, 1)[0]?.firstSeq], [10, 1]);
    assert.equal(ended.trimEvents(3, 1), 0);
  } finally {
    db.close();
    Deno.removeSync(folder, { recursive: true });
  }
});
