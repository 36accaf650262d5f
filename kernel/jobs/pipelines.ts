/**
 * The pipelines that run: each is a job whose work are the jobs below it.
 *
 * What is to be done next follows from the plan and from the jobs that there are (`pipeline/pipeline_run.ts`), and is
 * done in the transaction in which a job below it ended, or in those after it: each does as much as its budget allows
 * (`work_budget.ts`), be it to make the jobs of a map, to cancel what runs, or to make again what was lost. So a
 * pipeline goes on after a crash where it was: a run is made of what is stored whenever there is none in memory.
 *
 * While the jobs' file is full no pipeline gets new jobs, and while as many jobs wait as may, of its actor or of all,
 * it gets one at a time. It is held, those of its jobs that there are go on, and it is looked at again with each
 * commit: retention makes room, and so do jobs that begin. Since one job of each may wait in any case, those that
 * hold each other up end.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Config } from "../../schemas/config.ts";
import { type PipelineRequest, pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { JobEvents } from "./job_events.ts";
import { compilePlan } from "./pipeline/compile_plan.ts";
import { KeptRuns, valuesIn } from "./pipeline/kept_runs.ts";
import { type NextSteps, PipelineRun } from "./pipeline/pipeline_run.ts";
import type { PipelineLimits } from "./pipeline/step_outputs.ts";
import type { Queue } from "./queue.ts";

export interface PipelinesDeps {
  readonly table: JobsTable;
  readonly queue: Queue;
  readonly events: Pick<JobEvents, "stageLog">;
  readonly limits: PipelineLimits;
  newId(): string;
  nowMs(): number;
  /** The file may grow. */
  hasRoom(): boolean;
  /** Jobs that may wait, those below pipelines included; without it any number may. */
  readonly config?: Pick<Config["jobs"], "waitingMax" | "waitingPerActorMax">;
}

/** Of all runs in memory. */
const runsBytesMax = 67_108_864;
/** Values in a stored plan and its input. */
const storedValuesMax = 1_000_000;
/** To make so much of a run in memory costs as much as to change a row, about. */
const bytesPerRow = 65_536;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Pipelines {
  readonly #runs = new KeptRuns(runsBytesMax);
  /** Those whose lost jobs are being made again, and the step up to which they are. */
  readonly #redriving: Map<number, string>;
  /** Those that wait for room in the file or among the jobs that wait, and their actors. */
  readonly #held = new Map<number, string>();

  constructor(private readonly deps: PipelinesDeps) {
    this.#redriving = new Map(deps.table.redrives().map(({ pipeline, after }) => [pipeline, after]));
  }

  /** It was claimed: what is lost of its jobs is tried again, and then the rest. */
  began({ seq, attempt }: JobRow): void {
    if (attempt > 1) this.#saveRedrive(seq, "");
    this.deps.queue.touchParent(seq);
  }

  /**
   * Does what follows from the ends of jobs, inside a transaction, as far as the budget goes. True: one has more to
   * do, which is for the next transaction.
   */
  advance(): boolean {
    const { queue } = this.deps;
    if (this.#held.size > 0 && this.deps.hasRoom()) {
      for (const [seq, actor] of this.#held) if (this.#waitingRoom(actor) > 0) queue.touchParent(seq);
    }
    const again: number[] = [];
    while (!queue.budget.isSpent) {
      const parent = queue.takeParent();
      if (parent === undefined) break;
      queue.budget.spend();
      if (this.#advanceOne(...parent)) again.push(parent[0]);
    }
    this.#runs.trim();
    for (const seq of again) queue.touchParent(seq);
    return again.length > 0;
  }

  #advanceOne(seq: number, ended: readonly JobRow[]): boolean {
    const row = this.deps.table.get(seq);
    if (row === undefined || row.state !== "running") {
      this.#forget(seq);
      return false;
    }
    if (row.cancelRequested) return this.#cancel(row);
    if (this.#redriving.has(seq) && this.#redrive(row)) return true;
    const run = this.#run(row, ended);
    if (run instanceof ProblemError) return this.#fail(row, run);
    const { budget } = this.deps.queue;
    const next = run.next({ jobsMax: this.#jobsMax(row, run), rowsMax: Math.max(1, budget.left) });
    budget.spend(next.rows);
    for (const { step, message } of next.faults) this.#log(row, `${step}: ${message}`);
    this.#enqueue(row, next);
    if (next.cancel && this.#cancelOpen(row)) return true;
    if (next.outcome !== undefined) this.#end(row, next.outcome);
    const isHeld = next.more && this.#jobsMax(row, run) === 0;
    if (isHeld) this.#held.set(seq, row.actor);
    else this.#held.delete(seq);
    const goesOn = next.more && !isHeld;
    // One at a time, so that each comes to its end however many there are.
    if (goesOn) this.#runs.pinned ??= seq;
    else if (this.#runs.pinned === seq) this.#runs.pinned = undefined;
    return goesOn;
  }

  /** Jobs that it may be given now. */
  #jobsMax({ actor }: JobRow, run: PipelineRun): number {
    if (!this.deps.hasRoom()) return 0;
    const room = Math.min(this.#waitingRoom(actor), Math.max(1, this.deps.queue.budget.left));
    return Math.max(room, run.isActive ? 0 : 1);
  }

  /** How many more jobs of the actor may wait. */
  #waitingRoom(actor: string): number {
    const { queue: { waiting }, config } = this.deps;
    if (config === undefined) return Infinity;
    return Math.min(config.waitingMax - waiting.all, config.waitingPerActorMax - waiting.of(actor));
  }

  #end(row: JobRow, outcome: NonNullable<NextSteps["outcome"]>): void {
    const { queue } = this.deps;
    this.#forget(row.seq);
    if (outcome.state === "failed") queue.fail(row, outcome.code, outcome.message);
    else {
      const output = encoder.encode(outcome.outputJson);
      queue.complete(row, output, createHash("sha256").update(output).digest("hex"));
    }
  }

  /** A ProblemError where what is stored is no plan any more: that must not keep the kernel from starting. */
  #run(row: JobRow, ended: readonly JobRow[]): PipelineRun | ProblemError {
    const run = this.#runs.get(row.seq);
    if (run !== undefined) {
      for (const { step, state, errorCode } of ended) {
        if (step !== null) run.set(step, { state, code: errorCode ?? undefined });
      }
      return run;
    }
    try {
      return this.#restore(row);
    } catch (error) {
      if (error instanceof ProblemError) return error;
      throw error;
    }
  }

  #restore({ seq }: JobRow): PipelineRun {
    const { table, limits, queue: { budget } } = this.deps;
    const stored = table.input(seq) ?? new Uint8Array();
    const request = readRequest(stored);
    const run = new PipelineRun({
      // It was accepted: a limit that was lowered since is not held against it.
      plan: compilePlan(request, { depthMax: Number.MAX_SAFE_INTEGER }),
      input: request.input,
      outputOf: (key) => {
        const output = table.outputOfStep(seq, key);
        if (output === undefined) {
          throw new TypeError(`Cannot read the output of step "${key}": there is none`);
        }
        return decoder.decode(output);
      },
      limits,
    });
    const ends = table.stepEnds(seq);
    for (const { step, state, errorCode } of ends) run.set(step, { state, code: errorCode ?? undefined });
    budget.spend(Math.ceil(this.#runs.set(seq, run, stored) / bytesPerRow) + ends.length);
    return run;
  }

  #enqueue(row: JobRow, { enqueue }: NextSteps): void {
    const { queue, newId } = this.deps;
    for (const { key, plugin, action, inputJson, deadlineMs, retry } of enqueue) {
      const input = encoder.encode(inputJson);
      const sha256 = createHash("sha256").update(input).digest();
      queue.insert({
        id: newId(),
        ...{ kind: "action", plugin, action, actor: row.actor, parent: row.seq, step: key, schedule: null },
        ...{ idempotencyKey: null, requestSha256: new Uint8Array(sha256), priority: row.priority },
        ...{ dueAtMs: null, expiresAtMs: null, deadlineMs, retry },
        ...{
          concurrencyKey: null,
          concurrencyMax: null,
          planSha256: null,
          inputSha256: sha256.toString("hex"),
        },
      }, input);
    }
  }

  /** True: there is more to do. */
  #cancel(row: JobRow): boolean {
    if (this.#cancelOpen(row)) return true;
    if (this.deps.table.hasOpenChild(row.seq)) return false;
    this.#forget(row.seq);
    this.deps.queue.cancel(row);
    return false;
  }

  #fail(row: JobRow, { code, message }: ProblemError): boolean {
    if (this.#cancelOpen(row)) return true;
    this.#forget(row.seq);
    this.deps.queue.fail(row, code, message);
    return false;
  }

  /** Tells some of the jobs that have not ended to stop. True: there are more. */
  #cancelOpen({ seq }: JobRow): boolean {
    const { table, queue } = this.deps;
    const limit = Math.max(1, queue.budget.left);
    const children = table.openChildren(seq, limit);
    for (const child of children) queue.requestCancel(child);
    return children.length === limit;
  }

  /** Makes some of its lost jobs again. True: there are more. */
  #redrive({ seq }: JobRow): boolean {
    const { table, queue } = this.deps;
    const limit = Math.max(1, queue.budget.left);
    const children = table.lostChildren(seq, this.#redriving.get(seq) ?? "", limit);
    for (const child of children) queue.redrive(child);
    if (children.length < limit) {
      this.#endRedrive(seq);
      return false;
    }
    this.#saveRedrive(seq, children.at(-1)?.step ?? "");
    return true;
  }

  #saveRedrive(seq: number, after: string): void {
    this.#redriving.set(seq, after);
    this.deps.table.saveRedrive(seq, after);
  }

  #endRedrive(seq: number): void {
    if (this.#redriving.delete(seq)) this.deps.table.endRedrive(seq);
  }

  #forget(seq: number): void {
    this.#runs.delete(seq);
    this.#held.delete(seq);
    this.#endRedrive(seq);
  }

  #log(row: JobRow, text: string): void {
    this.deps.events.stageLog(row.seq, Math.max(1, row.attempt), "warning", text, this.deps.nowMs());
  }
}

/** What is stored as a pipeline's input. Throws INPUT_INVALID where it is too many values to be kept in memory. */
export function storedPlan({ steps, onFailure, stepsMax, input }: PipelineRequest): string {
  const stored = JSON.stringify({ steps, onFailure, stepsMax, input });
  if (valuesIn(encoder.encode(stored)) <= storedValuesMax) return stored;
  const state = `its plan and input have more than ${storedValuesMax} values`;
  throw new ProblemError("INPUT_INVALID", `Cannot accept a pipeline: ${state}`);
}

function readRequest(bytes: Uint8Array): PipelineRequest {
  const parsed = pipelineRequestSchema.safeParse(JSON.parse(decoder.decode(bytes)));
  if (parsed.success) return parsed.data;
  throw new ProblemError("INTERNAL", "Cannot go on with a pipeline: its plan cannot be read", {
    cause: parsed.error,
  });
}
