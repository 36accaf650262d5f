/**
 * A pipeline run is a plan and how far its jobs have come, from which follows what is to be done next.
 *
 * It holds nothing that does not follow from the plan, the pipeline's input and the states and outputs of the
 * jobs there are: after a crash a new one is made of what is stored, and it goes on where the other was. So it
 * does not matter either in which order jobs ended.
 *
 * Whoever has a run tells it of each change ({@linkcode PipelineRun.set}) and carries out what
 * {@linkcode PipelineRun.next} says, the new jobs in one transaction; a run whose word was not carried out is
 * dropped. Of many jobs, as those of a map, one call gives a part; before the first is given all are made, in as many
 * calls as the reading of outputs takes. A call costs what has changed and what begins: of a map with 10,000 items,
 * each end costs the same as of one with ten. The first costs the whole plan.
 *
 * A step whose input cannot be made fails without a job; that too follows from what is stored, and is found
 * again. Once a step's failure has stopped the pipeline no other begins, those that run are to be cancelled, and
 * the pipeline fails when the last has ended. It names the first step in the plan whose job failed; if there is
 * none, the first that could not begin; else the first that was cancelled.
 *
 * Pure, but for the reading of outputs.
 * @module
 */
import { Buffer } from "node:buffer";
import type { JobState } from "../../../schemas/job.ts";
import type { ProblemCode } from "../../../schemas/problem.ts";
import type { FailurePolicy, Plan } from "./compile_plan.ts";
import type { Reference } from "./input_template.ts";
import {
  BytesBudget,
  JsonText,
  resolveConstants,
  resolveInput,
  resolveReference,
  UnresolvedError,
} from "./resolve_input.ts";
import {
  createProgress,
  type Gate,
  type MadeJobs,
  type StepJob,
  type StepProgress,
} from "./step_progress.ts";
import {
  type CallLimits,
  type PipelineLimits,
  ReadsSpentError,
  referencesOf,
  StepOutputs,
  type StepReference,
} from "./step_outputs.ts";

export type PipelineOutcome =
  /** `outputJson`: see `schemas/pipeline.ts`. */
  | { readonly state: "completed"; readonly outputJson: string }
  /** `step`: the key of the job that failed, or the id of a step that could not begin; null: the whole did. */
  | {
    readonly state: "failed";
    readonly code: ProblemCode;
    readonly message: string;
    readonly step: string | null;
  };

export interface NextSteps {
  readonly enqueue: readonly StepJob[];
  /** The jobs that have not ended are to be cancelled: true until there are none. */
  readonly cancel: boolean;
  /** Steps that fail because their input cannot be made; each once in the life of a run. */
  readonly faults: readonly { readonly step: string; readonly message: string }[];
  /** There is more to enqueue: once these are stored, `next` is to be called again. */
  readonly more: boolean;
  /** What it cost, beside the jobs, in rows of a work budget. */
  readonly rows: number;
  /** The pipeline has ended, and none of its jobs runs. */
  readonly outcome?: PipelineOutcome;
}

export interface PipelineSource {
  readonly plan: Plan;
  /** Of the pipeline. */
  readonly input: unknown;
  /** The JSON of a completed job's output. Called only when it is needed. */
  readonly outputOf: (key: string) => string;
  readonly limits: PipelineLimits;
}

export interface StepState {
  readonly state: JobState;
  /** Of the error, where it failed. */
  readonly code?: ProblemCode | undefined;
}

const keyPattern = /^([^[\]]+)(?:\[(0|[1-9][0-9]*)\])?$/;
const isActive = (state: JobState | undefined) => state === "pending" || state === "running";

export class PipelineRun {
  readonly #source: PipelineSource;
  readonly #input: JsonText;
  readonly #steps: ReadonlyMap<string, StepProgress>;
  /** Of each job there is. */
  readonly #states = new Map<string, JobState>();
  readonly #opened: Gate[];
  readonly #faults: { step: string; message: string }[] = [];
  readonly #outputs: StepOutputs;
  /** Those whose turn has come; of them, those that come to jobs; of them, those that can begin. */
  readonly #turns: StepProgress[] = [];
  readonly #ready: StepProgress[] = [];
  readonly #waiting: StepProgress[] = [];
  /** Of the jobs that were made, and wait to be taken. */
  #madeBytes = 0;
  #active = 0;
  #over = 0;
  #isStopped = false;
  #hasFailed = false;
  /** Jobs that it comes to, as far as is known. */
  #jobs: number;

  constructor(source: PipelineSource) {
    this.#source = source;
    this.#input = JsonText.ofValue(source.input);
    const { inputBytesMax } = source.limits;
    this.#outputs = new StepOutputs(
      (id) => this.#readOutput(id, new BytesBudget(inputBytesMax)),
      inputBytesMax,
    );
    const { steps, start } = createProgress(source.plan);
    this.#steps = steps;
    this.#opened = [start];
    this.#jobs = source.plan.nodes.filter(({ map }) => map === undefined).length;
  }

  /**
   * There is such a job, and this is its state. Throws RangeError for a key that is not of the plan, and for one that
   * has ended otherwise: a job that is tried again makes another run.
   */
  set(key: string, { state, code = "INTERNAL" }: StepState): void {
    const [, id = "", item] = keyPattern.exec(key) ?? [];
    const step = this.#steps.get(id);
    if (step === undefined || (item === undefined) !== (step.node.map === undefined)) {
      throw new RangeError(`Cannot take the state of job "${key}": the plan has no such step`);
    }
    const before = this.#states.get(key);
    if (before === state) return;
    if (before !== undefined && !isActive(before)) {
      throw new RangeError(`Cannot take state "${state}" of job "${key}": it is ${before}`);
    }
    this.#states.set(key, state);
    if (before === undefined) step.known++;
    this.#active += Number(isActive(state)) - Number(isActive(before));
    if (isActive(state)) return;
    step.takeEnd(key, state, code);
    if (state !== "completed" && step.node.onFailure === "stop") {
      this.#isStopped = true;
      this.#hasFailed ||= state === "failed";
    }
    this.#settle(step);
  }

  /** Bytes of inputs that were made and wait to be taken, and of parts of outputs. */
  get heldBytes(): number {
    return this.#madeBytes + this.#outputs.bytes;
  }

  /** It has jobs that have not ended. */
  get isActive(): boolean {
    return this.#active > 0;
  }

  next({ jobsMax = Infinity, rowsMax = Infinity }: CallLimits = {}): NextSteps {
    const enqueue: StepJob[] = [];
    this.#outputs.begin(rowsMax);
    const more = this.#begin(enqueue, jobsMax);
    this.#outputs.end(!more);
    for (const { key } of enqueue) this.set(key, { state: "pending" });
    const outcome = more ? undefined : this.#outcome();
    return {
      enqueue,
      rows: Math.ceil(this.#outputs.rows),
      cancel: this.#isStopped && this.#active > 0,
      faults: this.#faults.splice(0),
      more,
      ...(outcome === undefined ? {} : { outcome }),
    };
  }

  /**
   * Takes the jobs of those whose turn it is, in the order of the plan. True: there are more than one call takes. All
   * are made before one is taken: a step that cannot begin may stop the others.
   */
  #begin(enqueue: StepJob[], jobsMax: number): boolean {
    try {
      for (let step = this.#nextTurn(); step !== undefined; step = this.#nextTurn()) {
        if (this.#outputs.isSpent) return true;
        this.#prepare(step);
      }
      return this.#isStopped ? false : this.#takeWaiting(enqueue, jobsMax);
    } catch (error) {
      if (error instanceof ReadsSpentError) return true;
      throw error;
    }
  }

  /** Stays the next until it has had its turn: what ends a call leaves it where it is. */
  #nextTurn(): StepProgress | undefined {
    for (let gate = this.#opened.pop(); gate !== undefined; gate = this.#opened.pop()) {
      this.#turns.push(...gate.nodes);
    }
    return this.#turns[0] ?? this.#ready[0];
  }

  #prepare(step: StepProgress): void {
    if (this.#turns.length > 0) {
      const count = this.#attempt(step, () => this.#countItems(step));
      this.#turns.shift();
      if (count === undefined) return;
      step.count = count;
      if (step.node.map !== undefined) this.#jobs += count;
      if (this.#isTooMany) this.#isStopped = true;
      if (step.known < count) this.#ready.push(step);
      else this.#settle(step);
      return;
    }
    // Once a job has failed, no step that cannot begin changes anything.
    const made = this.#hasFailed ? undefined : this.#attempt(step, () => this.#makeJobs(step));
    this.#ready.shift();
    if (made === undefined) return;
    this.#waiting.push(step);
    // The others are made again when they are taken.
    if (this.#madeBytes >= this.#source.limits.batchBytesMax) return;
    step.made = made;
    this.#madeBytes += made.bytes;
  }

  #takeWaiting(enqueue: StepJob[], jobsMax: number): boolean {
    this.#waiting.sort((a, b) => a.index - b.index);
    let left = this.#source.limits.batchBytesMax;
    for (let step = this.#waiting[0]; step !== undefined; step = this.#waiting[0]) {
      const isSpent = step.made === undefined && this.#outputs.isSpent;
      if (isSpent || left <= 0 || enqueue.length >= jobsMax) break;
      left = this.#take(step, enqueue, { jobsMax, left });
      if (step.made !== undefined) break;
      this.#waiting.shift();
    }
    return this.#waiting.length > 0;
  }

  /** Returns what is left of the bytes. Of a step whose jobs were all taken nothing is kept. */
  #take(
    step: StepProgress,
    enqueue: StepJob[],
    { jobsMax, left }: { jobsMax: number; left: number },
  ): number {
    if (step.made === undefined) {
      step.made = this.#makeJobs(step);
      this.#madeBytes += step.made.bytes;
    }
    const { made } = step;
    while (made.taken < made.jobs.length && left > 0 && enqueue.length < jobsMax) {
      const job = made.jobs[made.taken++];
      if (job === undefined) break;
      enqueue.push(job);
      left -= Buffer.byteLength(job.inputJson);
    }
    if (made.taken === made.jobs.length) {
      step.made = undefined;
      this.#madeBytes -= made.bytes;
    }
    return left;
  }

  get #isTooMany(): boolean {
    return this.#jobs > this.#source.plan.stepsMax;
  }

  #countItems(step: StepProgress): number {
    const { map, onFailure } = step.node;
    if (map === undefined) return 1;
    if (!("from" in map)) return map.length;
    this.#outputs.load([map]);
    return this.#listOf(map, onFailure).length;
  }

  #listOf(map: Reference, onFailure: FailurePolicy): readonly unknown[] {
    const found = resolveReference(map, this.#values(), { isMissingNull: onFailure === "continue" });
    const list = map.from === "step" ? this.#outputs.valueAt(map, found) : found.value;
    if (!Array.isArray(list)) throw new UnresolvedError("what it is to run over is no list");
    return list;
  }

  /** Undefined: the step cannot begin, and is over. */
  #attempt<T>(step: StepProgress, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof UnresolvedError)) throw error;
      const { id, onFailure } = step.node;
      step.fault = `Cannot begin step "${id}": ${error.message}`;
      this.#faults.push({ step: id, message: step.fault });
      if (onFailure === "stop") this.#isStopped = true;
      this.#endStep(step);
      return undefined;
    }
  }

  /** Of all items; throws UnresolvedError where one cannot be made. */
  #makeJobs(step: StepProgress): MadeJobs {
    const { count = 0, node: { map, input, plugin, action, deadlineMs, retry, onFailure } } = step;
    // Nothing is made of it any more.
    if (this.#isTooMany) return { jobs: [], bytes: 0, taken: 0 };
    const { inputBytesMax } = this.#source.limits;
    const options = { isMissingNull: onFailure === "continue" };
    const values = this.#values();
    this.#outputs.load(referencesOf(step.node));
    const list = map === undefined || !("from" in map) ? undefined : this.#listOf(map, onFailure);
    const template = resolveConstants(input, values, options, new BytesBudget(inputBytesMax));
    const budget = new BytesBudget(inputBytesMax);
    const itemsBudget = new BytesBudget(inputBytesMax);
    const jobs: StepJob[] = [];
    for (let index = 0; index < count; index++) {
      const key = step.key(index);
      if (this.#states.has(key)) continue;
      const itemTemplate = map === undefined || "from" in map ? undefined : map[index];
      const value = itemTemplate === undefined
        ? list && JsonText.ofValue(list[index])
        : JsonText.ofText(resolveInput(itemTemplate, values, options, itemsBudget));
      const inputJson = resolveInput(
        template,
        value === undefined ? values : { ...values, item: { value, index } },
        options,
        budget,
      );
      jobs.push({ key, plugin, action, inputJson, deadlineMs, retry });
    }
    this.#outputs.made(budget.used);
    return { jobs, bytes: budget.used, taken: 0 };
  }

  #settle(step: StepProgress): void {
    if (step.ended === step.count) this.#endStep(step);
  }

  #endStep(step: StepProgress): void {
    step.isOver = true;
    this.#over++;
    // What depends on it must not begin, nor be found unable to.
    if (step.isBad && step.node.onFailure === "stop") return;
    for (const gate of step.opens) if (--gate.left === 0) this.#opened.push(gate);
  }

  #values() {
    return { input: this.#input, output: (of: StepReference) => this.#outputs.at(of) };
  }

  /** Null where there is none. */
  #readOutput(id: string, budget: BytesBudget): { text: string; reads: number } {
    const step = this.#steps.get(id);
    if (step === undefined || step.fault !== undefined) return { text: budget.take("null"), reads: 0 };
    const read = (key: string) =>
      budget.take(this.#states.get(key) === "completed" ? this.#source.outputOf(key) : "null");
    if (step.node.map === undefined) return { text: read(id), reads: 1 };
    const reads = step.count ?? 0;
    return { text: `[${Array.from({ length: reads }, (_, item) => read(step.key(item))).join()}]`, reads };
  }

  #outcome(): PipelineOutcome | undefined {
    if (this.#isStopped) return this.#active === 0 ? this.#failure() : undefined;
    if (this.#over < this.#steps.size) return undefined;
    try {
      const budget = new BytesBudget(this.#source.limits.outputBytesMax);
      const members = [...this.#steps.keys()].map((id) => {
        const { text, reads } = this.#readOutput(id, budget);
        this.#outputs.readWhole(text.length, reads);
        return `${JSON.stringify(id)}:${text}`;
      });
      return { state: "completed", outputJson: `{${members.join()}}` };
    } catch (error) {
      if (!(error instanceof UnresolvedError)) throw error;
      const message = `Cannot put together the pipeline's output: ${error.message}`;
      return { state: "failed", code: "LIMIT_OUTPUT", message, step: null };
    }
  }

  #failure(): PipelineOutcome {
    const { plan: { stepsMax } } = this.#source;
    if (this.#isTooMany) {
      const message = `Cannot complete pipeline: its steps come to more than ${stepsMax} jobs`;
      return { state: "failed", code: "INPUT_INVALID", message, step: null };
    }
    const steps = [...this.#steps.values()].filter(({ node }) => node.onFailure === "stop");
    const fail = (step: string, message: string): PipelineOutcome => {
      return { state: "failed", code: "STEP_FAILED", message, step };
    };
    const failed = steps.find(({ failed }) => failed !== undefined)?.failed;
    if (failed !== undefined) {
      return fail(failed.key, `Cannot complete step "${failed.key}": it failed with ${failed.code}`);
    }
    const unable = steps.find(({ fault }) => fault !== undefined);
    if (unable?.fault !== undefined) return fail(unable.node.id, unable.fault);
    const key = steps.find(({ cancelled }) => cancelled !== undefined)?.cancelled?.key ?? "";
    return fail(key, `Cannot complete step "${key}": it was cancelled`);
  }
}
