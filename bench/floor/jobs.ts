/**
 * The floor of `bench/jobs.ts`: the rows of jobs written to a file of the kernel's schema, by hand.
 *
 * Each job is inserted, claimed and completed, with input, output and the two rows of events that the kernel writes:
 * its columns, its indexes, its texts. The statements say which job and which columns, nothing is read, parsed or
 * checked, and nobody is told. Each transaction is synced.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { ulid } from "ulid";
import { createTransact } from "../../kernel/store/database.ts";
import { openJobsFile } from "../../kernel/store/testing_jobs_file.ts";

const input = new TextEncoder().encode('{"n":100000}');
const output = new TextEncoder().encode("1795258233123.4567");
const sha256 = "0".repeat(64);
const requestSha256 = new Uint8Array(32);
const life = "01JABCDEFGHJKMNPQRSTVWXYZ2";
/** As long as a job's view in JSON. */
const viewText = `"${"v".repeat(818)}"`;
const insertedEvents = `Q${viewText}\nS${viewText}\n`;
const completedEvents = `C${viewText}\n`;

const stepsPerJob = 3;

/** Returns jobs a second. The file is made, and stays. */
export function runJobsFloor(
  file: string,
  { jobs, transactions }: { jobs: number; transactions: number },
): number {
  using db = openJobsFile(file, "full");
  const transact = createTransact(db);
  const { insert, claim, complete } = createSteps(db);
  const steps = stepsPerJob * jobs;
  const inGroup = Math.max(1, Math.ceil(jobs / transactions));
  const order = orderOf(jobs, inGroup);
  const startedMs = performance.now();
  for (let transaction = 0, at = 0; transaction < transactions; transaction++) {
    const end = Math.round((transaction + 1) * steps / transactions);
    transact(() => {
      for (; at < end; at++) {
        const [step, job] = order[at] ?? ["insert", 0];
        if (step === "insert") insert(job);
        else if (step === "claim") claim(job);
        else complete(job);
      }
    });
  }
  return 1_000 * jobs / (performance.now() - startedMs);
}

type Step = readonly ["insert" | "claim" | "complete", number];

/** Groups of jobs one after the other, and in each group step by step: as a transaction with many of them does. */
function orderOf(jobs: number, inGroup: number): Step[] {
  const order: Step[] = [];
  for (let first = 1; first <= jobs; first += inGroup) {
    const group = Array.from({ length: Math.min(inGroup, jobs - first + 1) }, (_, at) => first + at);
    for (const step of ["insert", "claim", "complete"] as const) {
      order.push(...group.map((job) => [step, job] as const));
    }
  }
  return order;
}

function createSteps(db: DatabaseSync) {
  const insertRow = db.prepare(`
    INSERT INTO jobs (seq, id, kind, plugin, action, state, wait, actor, request_sha256, priority, attempt, failures,
      interruptions, lease_token, idempotent, cancel_requested, progress, input_sha256, untold, created_at_ms)
    VALUES (?, ?, 'action', 'bench', 'noop', 'pending', 'turn', 'token:01JABCDEFGHJKMNPQRSTVWXYZ1', ?, 0, 0, 0, 0, 0, 0,
      0, 0, ?, 1, ?)
  `);
  const insertData = db.prepare("INSERT INTO job_data (seq, input) VALUES (?, ?)");
  const insertEvents = db.prepare("INSERT INTO job_events VALUES (?, ?, ?, ?, 0)");
  const claimRow = db.prepare(`
    UPDATE jobs SET state = 'running', wait = NULL, attempt = 1, lease_token = 1, lease_life = ?, started_at_ms = ?
    WHERE seq = ?
  `);
  const completeRow = db.prepare(`
    UPDATE jobs SET state = 'completed', lease_life = NULL, progress = 1, output_sha256 = ?, untold = 2,
      ended_at_ms = ? WHERE seq = ?
  `);
  const saveOutput = db.prepare("UPDATE job_data SET output = ? WHERE seq = ?");
  return {
    insert(job: number) {
      insertRow.run(job, ulid(), requestSha256, sha256, Date.now());
      insertData.run(job, input);
    },
    claim(job: number) {
      claimRow.run(life, Date.now(), job);
      insertEvents.run(job, 1, 2, insertedEvents);
    },
    complete(job: number) {
      completeRow.run(sha256, Date.now(), job);
      saveOutput.run(output, job);
      insertEvents.run(job, 3, 3, completedEvents);
    },
  };
}
