/**
 * The pipelines that run: each is a job whose work are the jobs below it.
 *
 * What is to be done next follows from the plan and from the jobs that there are (`pipeline/pipeline_run.ts`), and is
 * done in the transaction in which a job below it ended. So a pipeline goes on after a crash where it was: a run is
 * made of what is stored whenever there is none in memory.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type PipelineRequest, pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import type { JobEvents } from "./job_events.ts";
import { compilePlan } from "./pipeline/compile_plan.ts";
import { type NextSteps, type PipelineLimits, PipelineRun } from "./pipeline/pipeline_run.ts";
import type { Queue } from "./queue.ts";
import { isLost } from "./transition.ts";

export interface PipelinesDeps {
  readonly table: JobsTable;
  readonly queue: Queue;
  readonly events: Pick<JobEvents, "stageLog">;
  readonly limits: PipelineLimits;
  newId(): string;
  nowMs(): number;
}

const childrenPage = 1_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Pipelines {
  readonly #runs = new Map<number, PipelineRun>();

  constructor(private readonly deps: PipelinesDeps) {}

  /** It was claimed: what is lost of its jobs is tried again, and then the rest. */
  began(row: JobRow): void {
    const { queue } = this.deps;
    this.#eachChild(row, (child) => {
      if (isLost(child.state)) queue.redrive(child);
    });
    queue.touchParent(row.seq);
  }

  /**
   * Does what follows from the ends of jobs, inside a transaction. True: there is more, for the next one, so that no
   * transaction grows without limit.
   */
  advance(): boolean {
    const { queue } = this.deps;
    const again: number[] = [];
    for (let parents = queue.takeParents(); parents.size > 0; parents = queue.takeParents()) {
      for (const [seq, ended] of parents) {
        if (this.#advanceOne(seq, ended)) again.push(seq);
      }
    }
    for (const seq of again) queue.touchParent(seq);
    return again.length > 0;
  }

  #advanceOne(seq: number, ended: readonly JobRow[]): boolean {
    const { table, queue } = this.deps;
    const row = table.get(seq);
    if (row === undefined || row.state !== "running") {
      this.#runs.delete(seq);
      return false;
    }
    if (row.cancelRequested) {
      this.#cancel(row);
      return false;
    }
    const next = this.#next(row, ended);
    if (next instanceof ProblemError) {
      this.#eachChild(row, (child) => void queue.requestCancel(child));
      queue.fail(row, next.code, next.message);
      return false;
    }
    for (const { step, message } of next.faults) this.#log(row, `${step}: ${message}`);
    this.#enqueue(row, next);
    for (const key of next.cancel) {
      const child = table.child(seq, key);
      if (child !== undefined) queue.requestCancel(child);
    }
    const { outcome } = next;
    if (outcome === undefined) return next.more;
    this.#runs.delete(seq);
    if (outcome.state === "failed") queue.fail(row, outcome.code, outcome.message);
    else {
      const output = encoder.encode(outcome.outputJson);
      queue.complete(row, output, createHash("sha256").update(output).digest("hex"));
    }
    return false;
  }

  /** A ProblemError where what is stored is no plan any more: that must not keep the kernel from starting. */
  #next(row: JobRow, ended: readonly JobRow[]): NextSteps | ProblemError {
    let run = this.#runs.get(row.seq);
    if (run === undefined) {
      try {
        run = this.#restore(row);
      } catch (error) {
        if (error instanceof ProblemError) return error;
        throw error;
      }
      this.#runs.set(row.seq, run);
    } else {
      for (const { step, state, errorCode } of ended) {
        if (step !== null) run.set(step, { state, code: errorCode ?? undefined });
      }
    }
    return run.next();
  }

  #restore(row: JobRow): PipelineRun {
    const { table, limits } = this.deps;
    const request = storedRequest(table.input(row.seq));
    const run = new PipelineRun({
      // It was accepted: a limit that was lowered since is not held against it.
      plan: compilePlan(request, { depthMax: Number.MAX_SAFE_INTEGER }),
      input: request.input,
      outputOf: (key) => {
        const output = table.output(table.child(row.seq, key)?.seq ?? -1);
        if (output === undefined) {
          throw new TypeError(`Cannot read the output of step "${key}": there is none`);
        }
        return decoder.decode(output);
      },
      limits,
    });
    this.#eachChild(row, ({ step, state, errorCode }) => {
      run.set(step ?? "", { state, code: errorCode ?? undefined });
    });
    return run;
  }

  #eachChild({ seq }: JobRow, work: (child: JobRow) => void): void {
    for (let after = "";;) {
      const children = this.deps.table.children(seq, after, childrenPage);
      for (const child of children) work(child);
      after = children.at(-1)?.step ?? "";
      if (children.length < childrenPage) return;
    }
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

  #cancel(row: JobRow): void {
    const { queue } = this.deps;
    let isLive = false;
    this.#eachChild(row, (child) => {
      const { state } = queue.requestCancel(child);
      isLive ||= state === "running";
    });
    if (isLive) return;
    this.#runs.delete(row.seq);
    queue.cancel(row);
  }

  #log(row: JobRow, text: string): void {
    this.deps.events.stageLog(row.seq, Math.max(1, row.attempt), "warning", text, this.deps.nowMs());
  }
}

/** What is stored as a pipeline's input. */
export function storedPlan({ steps, onFailure, stepsMax, input }: PipelineRequest): string {
  return JSON.stringify({ steps, onFailure, stepsMax, input });
}

function storedRequest(bytes: Uint8Array | undefined): PipelineRequest {
  const parsed = pipelineRequestSchema.safeParse(JSON.parse(decoder.decode(bytes)));
  if (parsed.success) return parsed.data;
  throw new ProblemError("INTERNAL", "Cannot go on with a pipeline: its plan cannot be read", {
    cause: parsed.error,
  });
}
