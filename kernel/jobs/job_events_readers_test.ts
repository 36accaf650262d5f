import assert from "node:assert/strict";
import fc from "fast-check";
import type { JobEventType } from "../../schemas/event.ts";
import type { Event, EventCursor } from "../bus/event_cursor.ts";
import { insertJobs, openJobsFile } from "../store/testing_jobs_file.ts";
import { createJobEventsTable } from "../store/job_events_table.ts";
import { parseChunk } from "./job_event_chunk.ts";
import { JobEvents } from "./job_events.ts";
import { createTestingJobEvents, readAll, tell } from "./testing_job_events.ts";

const jobs = [1, 2, 3];
const job = fc.constantFrom(...jobs);
const json = fc.oneof(fc.json({ maxDepth: 1 }), fc.constantFrom('"\\n"', '"\u2028"', "{\n}", '"C{}"'));
type Step =
  | { do: "stage"; job: number; type: JobEventType; json: string }
  | { do: "turn" | "commit" | "restart" }
  | { do: "pass"; ms: number }
  | { do: "skip"; job: number; count: number }
  | { do: "watch"; job: number; after: number }
  | { do: "read"; reader: number; bytesMax: number };
const types = fc.constantFrom<JobEventType>("JOB_TOKEN", "JOB_TOKEN", "JOB_PROGRESS", "JOB_STARTED");
const staged = fc.record({ do: fc.constant("stage" as const), job, type: types, json });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: staged },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("turn" as const, "commit" as const) }) },
    { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat(60) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("skip" as const), job, count: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("watch" as const), job, after: fc.nat(40) }) },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("read" as const), reader: fc.nat(9), bytesMax: fc.nat(600) }),
    },
  ),
  { maxLength: 80 },
);

interface Reader {
  readonly job: number;
  readonly after: number;
  cursor: EventCursor;
  readonly seen: Event[];
}

/** Carries the steps out, and returns what was staged of each job and what each reader saw. */
function carryOut(list: readonly Step[], tailBytesMax: number) {
  const testing = createTestingJobEvents({ tailBytesMax });
  const { clock } = testing;
  insertJobs(testing.full, ...jobs);
  let events = testing.events;
  const told = new Map<number, [string, string][]>(jobs.map((one) => [one, []]));
  const readers: Reader[] = [];
  const commit = () => {
    testing.transact(() => events.write());
    events.published();
  };
  for (const step of list) {
    if (step.do === "stage") {
      events.stage(step.job, step.type, step.json);
      told.get(step.job)?.push([step.type, step.json]);
    } else if (step.do === "turn") testing.turn();
    else if (step.do === "commit") commit();
    else if (step.do === "pass") clock.advance(step.ms);
    else if (step.do === "skip") events.skip(step.job, step.count);
    else if (step.do === "watch") {
      readers.push({ ...step, cursor: events.watch(step.job, step.after), seen: [] });
    } else if (step.do === "read") {
      const reader = readers[step.reader % Math.max(1, readers.length)];
      reader?.seen.push(...reader.cursor.read(step.bytesMax));
    } else {
      commit();
      events.close();
      events = new JobEvents(testing.deps);
      for (const reader of readers) {
        reader.cursor = events.watch(reader.job, Number(reader.seen.at(-1)?.id ?? reader.after));
      }
    }
  }
  commit();
  events.close();
  for (const reader of readers) reader.seen.push(...readAll(reader.cursor, 300));
  const bytes = events.bytes;
  const inFile = new Map(jobs.map((one) => [
    one,
    testing.deps.table.read(one, 0, Infinity).flatMap((row) => parseChunk(row).events),
  ]));
  testing[Symbol.dispose]();
  return { told, readers, inFile, bytes };
}

Deno.test("EventCursor of a job gives each event above its start once and in order, however it is read", () => {
  fc.assert(
    fc.property(steps, fc.constantFrom(0, 3_500, 1_000_000), (list, tailBytesMax) => {
      const { told, readers, inFile, bytes } = carryOut(list, tailBytesMax);
      // What was skipped and not used yet stays.
      assert.ok(bytes <= tailBytesMax + jobs.length * 1_024);
      const value = ([type, text]: [string, string]) => [type, JSON.parse(text)];
      for (const one of jobs) {
        const kept = inFile.get(one)!;
        kept.reduce((before, { id }) => (assert.ok(Number(id) > before), Number(id)), 0);
        const isProgress = (type: string) => type === "JOB_PROGRESS";
        assert.deepEqual(
          kept.filter(({ type }) => !isProgress(type)).map((event) => value([event.type, event.json])),
          told.get(one)!.filter(([type]) => !isProgress(type)).map(value),
        );
        // Of progress in a row the last is there.
        const last = told.get(one)!.filter(([type], at, all) =>
          isProgress(type) && all[at + 1]?.[0] !== type
        );
        const progress = kept.filter(({ type }) => isProgress(type)).map(({ json }) => json);
        for (const [, text] of last) assert.ok(progress.includes(text.replaceAll("\n", " ")));
      }
      for (const { job, after, seen } of readers) {
        assert.deepEqual(seen.map(tell), inFile.get(job)!.filter(({ id }) => Number(id) > after).map(tell));
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("JobEvents shares the strings of 10,000 events between 100 cursors, and bounds them", () => {
  using testing = createTestingJobEvents();
  const { events, full, turn } = testing;
  insertJobs(full, 1, 2);
  const cursors = Array.from({ length: 100 }, () => events.watch(1, 0));
  // One of them never reads.
  const readers = cursors.slice(1);
  const shared = new Set<Event>();
  let sum = 0;
  for (let n = 1; n <= 10_000; n++) {
    events.stage(1, "JOB_TOKEN", `"token ${n}"`);
    if (n % 50 !== 0) continue;
    turn();
    for (const cursor of readers) {
      const page = cursor.read(1_000_000);
      sum += page.length;
      for (const event of page) shared.add(event);
    }
    assert.ok(events.bytes <= testing.deps.tailBytesMax);
  }
  assert.deepEqual([sum, shared.size], [99 * 10_000, 10_000]);
  // It has lost nothing: what is not in memory any more is in the file.
  assert.deepEqual(readAll(cursors[0]!, 5_000).map(({ id }) => Number(id)), [
    ...Array.from({ length: 10_000 }, (_, n) => n + 1),
  ]);
  for (const cursor of cursors) cursor[Symbol.dispose]();
});

Deno.test("JobEvents drops the job used least recently from memory, and none that has something to write", () => {
  using testing = createTestingJobEvents({ tailBytesMax: 100_000 });
  const { events, full, turn } = testing;
  const many = Array.from({ length: 500 }, (_, n) => n + 1);
  insertJobs(full, ...many);
  events.skip(500, 10);
  for (const one of many) {
    events.stage(one, "JOB_TOKEN", '"x"');
    if (one % 10 === 0) turn();
    assert.ok(events.bytes <= 100_000);
  }
  turn();
  assert.deepEqual(readAll(events.watch(500, 0)).map(tell), ['11 JOB_TOKEN "x"']);
  assert.deepEqual(many.slice(0, 499).map((one) => readAll(events.watch(one, 0)).length), [
    ...many.slice(0, 499).fill(1),
  ]);
});

const childSource = (name: (path: string) => string) => `
  import { setImmediate } from "node:timers";
  import { createTestingJobEvents } from ${name("./testing_job_events.ts")};
  import { insertJobs } from ${name("../store/testing_jobs_file.ts")};
  const { events, full, folder } = createTestingJobEvents({
    defer: (work) => setImmediate(work),
    eventsBytesMax: 1e9,
  });
  insertJobs(full, 1);
  const say = (text) => Deno.stdout.writeSync(new TextEncoder().encode(text + "\\n"));
  say(folder);
  const cursor = events.watch(1, 0);
  const { signal } = new AbortController();
  (async () => {
    for (;;) {
      await cursor.changed(signal);
      for (const { id, json } of cursor.read(10_000)) say(id + " " + json);
    }
  })();
  for (let n = 1;; n++) {
    events.stage(1, "JOB_TOKEN", String(n * 7));
    if (n % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
`;

Deno.test("JobEvents loses nothing that was shown when the process is killed", async () => {
  const source = childSource((path) => JSON.stringify(import.meta.resolve(path)));
  const program = Deno.makeTempFileSync({ suffix: ".ts" });
  Deno.writeTextFileSync(program, source);
  const config = `--config=${new URL("../../deno.json", import.meta.url).pathname}`;
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", config, program],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  let state: "running" | "killed" = "running";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (state === "killed" || text.length < 20_000) continue;
    state = "killed";
    child.kill("SIGKILL");
  }
  assert.equal((await child.status).signal, "SIGKILL");
  const [folder, ...lines] = text.split("\n").slice(0, -1);
  const db = openJobsFile(`${folder}/jobs.db`, "normal");
  const rows = createJobEventsTable(db).read(1, 0, Infinity);
  const kept = rows.flatMap((row) => parseChunk(row).events).map(({ id, json }) => `${id} ${json}`);
  db.close();
  assert.ok(lines.length > 1_000);
  assert.deepEqual(kept.slice(0, lines.length), lines);
  assert.deepEqual(lines[99], "100 700");
  Deno.removeSync(folder!, { recursive: true });
  Deno.removeSync(program);
});
