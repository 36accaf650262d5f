import assert from "node:assert/strict";
import { createJobEventsTable } from "./job_events_table.ts";
import { insertJobs, openJobsFile } from "./testing_jobs_file.ts";

function createTable() {
  const folder = Deno.makeTempDirSync();
  const db = openJobsFile(`${folder}/jobs.db`, "normal");
  insertJobs(db, 1, 2);
  return {
    db,
    table: createJobEventsTable(db),
    [Symbol.dispose]() {
      db.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

const row = (
  job: number,
  firstSeq: number,
  lastSeq: number,
  text = "T1\n".repeat(lastSeq + 1 - firstSeq),
) => ({
  ...{ job, firstSeq, lastSeq, text },
});

Deno.test("JobEventsTable.read() begins in the chunk that holds the next event, or after a gap", () => {
  using temporary = createTable();
  const { table } = temporary;
  const rows = [row(1, 1, 3), row(1, 4, 4), row(1, 1_004, 1_005)];
  for (const one of [...rows, row(2, 1, 9)]) table.append({ ...one, lightBytes: 0 });
  const first = (after: number) => table.read(1, after, 1)[0];
  assert.deepEqual([0, 2, 3, 4, 500, 1_003, 1_004].map(first), [
    ...[rows[0], rows[0], rows[1], rows[2], rows[2], rows[2], rows[2]],
  ]);
  assert.deepEqual(
    [table.read(1, 1_005, 1), table.read(1, Number.MAX_SAFE_INTEGER, 1), table.read(3, 0, 1)],
    [
      ...[[], [], []],
    ],
  );
  assert.deepEqual(table.read(1, 0, 1_000), rows);
  assert.deepEqual(table.read(1, 0, 10), rows.slice(0, 2));
  assert.deepEqual([1, 2, 3].map((job) => table.lastSeq(job)), [1_005, 9, 0]);
});

Deno.test("JobEventsTable.read() leaves nothing open that would hold up the WAL", () => {
  using temporary = createTable();
  temporary.table.append({ ...row(1, 1, 1), lightBytes: 0 });
  temporary.table.append({ ...row(1, 2, 2), lightBytes: 0 });
  assert.equal(temporary.table.read(1, 0, 1).length, 1);
  assert.equal(temporary.db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy, 0);
});

Deno.test("JobEventsTable.lightBytes() sums what was said of it, and rows go with their job", () => {
  using temporary = createTable();
  const { db, table } = temporary;
  table.append({ ...row(1, 1, 1, 'T"ä€"\n'), lightBytes: 9 });
  table.append({ ...row(1, 2, 2, "Q1\n"), lightBytes: 0 });
  table.append({ ...row(2, 1, 2), lightBytes: 6 });
  assert.deepEqual([1, 2, 3].map((job) => table.lightBytes(job)), [9, 6, 0]);
  db.exec("DELETE FROM jobs");
  assert.deepEqual([1, 2].map((job) => table.read(job, 0, 1)), [[], []]);
});

Deno.test("JobEventsTable.append() refuses a job that is not there, and a number that is taken", () => {
  using temporary = createTable();
  const append = (one: ReturnType<typeof row>) => temporary.table.append({ ...one, lightBytes: 0 });
  append(row(1, 1, 1));
  for (const one of [row(3, 1, 1), row(1, 1, 1)]) assert.throws(() => append(one));
});
