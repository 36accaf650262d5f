/**
 * Relations: which jobs depend on which, and which are parts of which pipeline.
 *
 * A job's dependencies and its pipeline's id never change while they are there, and are told with each of its events:
 * those of the jobs that were used last are kept in memory.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { type JobState, jobStateSchema } from "../../schemas/job.ts";
import { type ProblemCode, problemCodeSchema } from "../../schemas/problem.ts";
import { type JobRow, parseJobRow } from "./job_row.ts";

/** Another job, as much as one that depends on it must know. */
export interface Dependency {
  readonly seq: number;
  readonly id: string;
  readonly state: JobState;
}

/** How far a part of a pipeline has come. */
export interface StepEnd {
  readonly step: string;
  readonly state: JobState;
  readonly errorCode: ProblemCode | null;
}

export interface JobRelations {
  depend(seq: number, onSeq: number): void;
  /** The first above `after` that depends on the job. */
  nextDependent(onSeq: number, after: number): number | undefined;
  dependencies(seq: number): Dependency[];
  /** Their ids; kept in memory. */
  dependencyIds(seq: number): readonly string[];
  /** A dependency that has not completed: one that never will, if there is one. */
  unmet(seq: number): Dependency | undefined;
  /** Jobs that wait for others, above `after`, ascending; at most `limit`. */
  blocked(after: number, limit: number): number[];
  lastBlocked(): number;
  /** Kept in memory. */
  idOf(seq: number): string | undefined;
  /** Ascending by step, above `after`. */
  children(parent: number, after: string, limit: number): JobRow[];
  /** The same of those that failed or were cancelled. */
  lostChildren(parent: number, after: string, limit: number): JobRow[];
  /** All, however many: a pipeline has at most 10,000. */
  stepEnds(parent: number): StepEnd[];
  /** Parts that have not ended and were not told to stop. */
  openChildren(parent: number, limit: number): JobRow[];
  /** Also those that were told. */
  hasOpenChild(parent: number): boolean;
  outputOfStep(parent: number, step: string): Uint8Array<ArrayBuffer> | undefined;
  /** Pipelines whose lost parts are being made again, and the step up to which they are. */
  redrives(): { pipeline: number; after: string }[];
  saveRedrive(pipeline: number, after: string): void;
  endRedrive(pipeline: number): void;
}

/** Jobs whose relations are kept in memory. */
const keptMax = 4_096;

const seqSchema = z.object({ seq: z.int() });
const idSchema = z.object({ id: z.string() });
const dependencySchema = seqSchema.extend({ id: z.string(), state: jobStateSchema });
const stepSchema = z.object({
  step: z.string(),
  state: jobStateSchema,
  error_code: problemCodeSchema.nullable(),
});
const outputSchema = z.object({ output: z.instanceof(Uint8Array).nullable() });
const redriveSchema = z.object({ pipeline: z.int(), after_step: z.string() });
const lastSchema = z.object({ seq: z.int().nullable() });

export interface KeptRelations {
  /** The job is new: it has no dependencies yet. */
  inserted(seq: number): void;
  deleted(seq: number): void;
}

export function createJobRelations(db: DatabaseSync): JobRelations & KeptRelations {
  return { ...createDependencies(db), ...createChildren(db), ...createRedrives(db) };
}

type Dependencies =
  | ("depend" | "nextDependent" | "dependencies" | "dependencyIds")
  | ("unmet" | "blocked" | "lastBlocked" | "idOf");

function createDependencies(
  db: DatabaseSync,
): Pick<JobRelations, Dependencies> & KeptRelations {
  const insert = db.prepare("INSERT OR IGNORE INTO job_dependencies (on_seq, seq) VALUES (?, ?)");
  const selectNext = db.prepare(
    "SELECT seq FROM job_dependencies WHERE on_seq = ? AND seq > ? ORDER BY seq LIMIT 1",
  );
  const joined = `FROM job_dependencies AS edges INDEXED BY job_dependencies_of
    CROSS JOIN jobs ON jobs.seq = edges.on_seq WHERE edges.seq = ?`;
  const selectAll = db.prepare(
    `SELECT jobs.seq, jobs.id, jobs.state ${joined} ORDER BY edges.on_seq`,
  );
  const isLost = "jobs.state IN ('failed', 'cancelled')";
  const selectLost = db.prepare(`SELECT jobs.seq, jobs.id, jobs.state ${joined} AND ${isLost} LIMIT 1`);
  const selectOpen = db.prepare(
    `SELECT jobs.seq, jobs.id, jobs.state ${joined} AND jobs.state <> 'completed' LIMIT 1`,
  );
  const selectBlocked = db.prepare(
    "SELECT seq FROM jobs WHERE wait = 'jobs' AND seq > ? ORDER BY seq LIMIT ?",
  );
  const selectLastBlocked = db.prepare("SELECT max(seq) AS seq FROM jobs WHERE wait = 'jobs'");
  const selectId = db.prepare("SELECT id FROM jobs WHERE seq = ?");
  const ids = new Map<number, string>();
  const lists = new Map<number, readonly string[]>();
  const dependencies = (seq: number) => selectAll.all(seq).map((raw) => dependencySchema.parse(raw));
  const first = (raw: unknown) => raw === undefined ? undefined : dependencySchema.parse(raw);
  return {
    depend(seq, onSeq) {
      lists.delete(seq);
      insert.run(onSeq, seq);
    },
    nextDependent(onSeq, after) {
      const raw = selectNext.get(onSeq, after);
      return raw === undefined ? undefined : seqSchema.parse(raw).seq;
    },
    dependencies,
    dependencyIds: (seq) => lists.get(seq) ?? keep(lists, seq, dependencies(seq).map(({ id }) => id)),
    unmet: (seq) => first(selectLost.get(seq)) ?? first(selectOpen.get(seq)),
    blocked: (after, limit) => selectBlocked.all(after, limit).map((raw) => seqSchema.parse(raw).seq),
    lastBlocked: () => lastSchema.parse(selectLastBlocked.get()).seq ?? 0,
    idOf(seq) {
      const kept = ids.get(seq);
      if (kept !== undefined) return kept;
      const raw = selectId.get(seq);
      return raw === undefined ? undefined : keep(ids, seq, idSchema.parse(raw).id);
    },
    inserted: (seq) => void keep(lists, seq, []),
    deleted(seq) {
      ids.delete(seq);
      // It may have been in any of these.
      lists.clear();
    },
  };
}

/** Drops the oldest where there are too many. */
function keep<T>(kept: Map<number, T>, seq: number, value: T): T {
  const [oldest] = kept.keys();
  if (kept.size >= keptMax && oldest !== undefined) kept.delete(oldest);
  kept.set(seq, value);
  return value;
}

type Children =
  | ("children" | "lostChildren" | "stepEnds" | "openChildren" | "hasOpenChild")
  | "outputOfStep";

function createChildren(db: DatabaseSync): Pick<JobRelations, Children> {
  const byStep = "FROM jobs INDEXED BY jobs_parent WHERE parent = ? AND step > ?";
  const selectChildren = db.prepare(`SELECT * ${byStep} ORDER BY step LIMIT ?`);
  const selectLost = db.prepare(
    `SELECT * ${byStep} AND state IN ('failed', 'cancelled') ORDER BY step LIMIT ?`,
  );
  const selectEnds = db.prepare(
    "SELECT step, state, error_code FROM jobs INDEXED BY jobs_parent WHERE parent = ?",
  );
  const open = "FROM jobs INDEXED BY jobs_open WHERE parent = ? AND ended_at_ms IS NULL";
  const selectOpen = db.prepare(`SELECT * ${open} AND cancel_requested = 0 ORDER BY seq LIMIT ?`);
  const selectAnyOpen = db.prepare(`SELECT seq ${open} LIMIT 1`);
  const selectOutput = db.prepare(
    `SELECT output FROM jobs INDEXED BY jobs_parent CROSS JOIN job_data ON job_data.seq = jobs.seq
     WHERE parent = ? AND step = ?`,
  );
  return {
    children: (parent, after, limit) => selectChildren.all(parent, after, limit).map(parseJobRow),
    lostChildren: (parent, after, limit) => selectLost.all(parent, after, limit).map(parseJobRow),
    stepEnds: (parent) =>
      selectEnds.all(parent).map((raw) => {
        const { error_code: errorCode, ...end } = stepSchema.parse(raw);
        return { ...end, errorCode };
      }),
    openChildren: (parent, limit) => selectOpen.all(parent, limit).map(parseJobRow),
    hasOpenChild: (parent) => selectAnyOpen.get(parent) !== undefined,
    outputOfStep(parent, step) {
      const raw = selectOutput.get(parent, step);
      const output = raw === undefined ? null : outputSchema.parse(raw).output;
      return output === null ? undefined : new Uint8Array(output);
    },
  };
}

function createRedrives(db: DatabaseSync): Pick<JobRelations, "redrives" | "saveRedrive" | "endRedrive"> {
  const select = db.prepare("SELECT pipeline, after_step FROM pipeline_redrives ORDER BY pipeline");
  const save = db.prepare(
    "INSERT INTO pipeline_redrives VALUES (?, ?) ON CONFLICT DO UPDATE SET after_step = excluded.after_step",
  );
  const remove = db.prepare("DELETE FROM pipeline_redrives WHERE pipeline = ?");
  return {
    redrives: () =>
      select.all().map((raw) => {
        const { pipeline, after_step: after } = redriveSchema.parse(raw);
        return { pipeline, after };
      }),
    saveRedrive: (pipeline, after) => void save.run(pipeline, after),
    endRedrive: (pipeline) => void remove.run(pipeline),
  };
}
