/**
 * A step's progress is how far one node of a plan has come: before its turn, begun, over.
 *
 * @module
 */
import type { JobRetry, JobState } from "../../../schemas/job.ts";
import type { ProblemCode } from "../../../schemas/problem.ts";
import type { Plan, PlanNode } from "./compile_plan.ts";

export interface StepJob {
  /** The step's id, and for a map its item, as `each[3]`. */
  readonly key: string;
  readonly plugin: string;
  readonly action: string;
  /** JSON. */
  readonly inputJson: string;
  readonly deadlineMs: number | null;
  readonly retry: JobRetry | null;
}

export interface MadeJobs {
  readonly jobs: readonly StepJob[];
  /** Of the inputs of all. */
  readonly bytes: number;
  /** How many of them were taken. */
  taken: number;
}

/** Opens when the last of its steps lets others go on: one for all the nodes that wait for the same ones. */
export interface Gate {
  left: number;
  readonly nodes: StepProgress[];
}

export interface BadEnd {
  readonly index: number;
  readonly key: string;
  readonly code: ProblemCode;
}

export class StepProgress {
  /** Jobs that it comes to; undefined before its turn. */
  count: number | undefined;
  /** Jobs that there are, and those of them that have ended. */
  known = 0;
  ended = 0;
  isOver = false;
  /** The first item of each kind: the same in whatever order they ended. */
  failed: BadEnd | undefined;
  cancelled: BadEnd | undefined;
  /** Why it cannot begin. */
  fault: string | undefined;
  /** Its jobs, while some of them wait to be taken. */
  made: MadeJobs | undefined;
  readonly opens: Gate[] = [];

  constructor(readonly node: PlanNode, readonly index: number) {}

  /** Whether, with the policy `stop`, it ends the pipeline. */
  get isBad(): boolean {
    return this.failed !== undefined || this.cancelled !== undefined || this.fault !== undefined;
  }

  key(item: number): string {
    return this.node.map === undefined ? this.node.id : `${this.node.id}[${item}]`;
  }

  takeEnd(key: string, state: JobState, code: ProblemCode): void {
    this.ended++;
    const index = itemOf(key);
    if (state === "failed") this.failed = first(this.failed, { index, key, code });
    if (state === "cancelled") this.cancelled = first(this.cancelled, { index, key, code: "CANCELLED" });
  }
}

function first(a: BadEnd | undefined, b: BadEnd): BadEnd {
  return a !== undefined && a.index < b.index ? a : b;
}

function itemOf(key: string): number {
  const bracket = key.indexOf("[");
  return bracket === -1 ? 0 : Number(key.slice(bracket + 1, -1));
}

/** A plan's steps by id, in its order, and the gate of those that may begin at once. */
export function createProgress(plan: Plan): { steps: Map<string, StepProgress>; start: Gate } {
  const steps = new Map(plan.nodes.map((node, index) => [node.id, new StepProgress(node, index)]));
  const start: Gate = { left: 0, nodes: [] };
  const gates = new Map<readonly string[], Gate>();
  for (const step of steps.values()) {
    const { after } = step.node;
    let gate = after.length === 0 ? start : gates.get(after);
    if (gate === undefined) {
      gate = { left: after.length, nodes: [] };
      gates.set(after, gate);
      for (const id of after) steps.get(id)?.opens.push(gate);
    }
    gate.nodes.push(step);
  }
  return { steps, start };
}
