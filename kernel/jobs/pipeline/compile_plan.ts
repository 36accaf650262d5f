/**
 * A plan is a pipeline's steps without their nesting: each knows which others must have ended before it.
 *
 * It is made of the stored request whenever it is needed and is never stored: `after` lists are shared among the
 * branches of a join, of which there may be a thousand on either side.
 *
 * Invariants of a plan: ids are unique; what a step refers to has certainly ended before it begins; nodes stand
 * in the order of the request, so each comes after all in its `after`. Pure.
 *
 * @module
 */
import type { JobRetry } from "../../../schemas/job.ts";
import type { PipelineRequest, PlanItem, Step } from "../../../schemas/pipeline.ts";
import { type Fault, ProblemError } from "../../../schemas/problem.ts";
import { checkDepth, type InputTemplate, readTemplate, type Reference } from "./input_template.ts";

export type FailurePolicy = PipelineRequest["onFailure"];

export interface PlanNode {
  readonly id: string;
  readonly plugin: string;
  readonly action: string;
  readonly input: InputTemplate;
  /** What it runs over: a reference to a list, or the items themselves. */
  readonly map?: Reference | readonly InputTemplate[];
  readonly onFailure: FailurePolicy;
  readonly deadlineMs: number | null;
  readonly retry: JobRetry | null;
  /** Ids of those that must have ended before. Nodes with the same ones share the list. */
  readonly after: readonly string[];
}

export interface Plan {
  readonly nodes: readonly PlanNode[];
  /** Jobs that it may come to. */
  readonly stepsMax: number;
}

export interface PlanLimits {
  /** Nesting of `parallel`. */
  readonly depthMax: number;
}

const faultsMax = 64;

/**
 * Throws ProblemError INPUT_INVALID for a plan that cannot be carried out, with the first {@linkcode faultsMax}
 * faults, each at its JSON Pointer in the request.
 */
export function compilePlan(request: PipelineRequest, { depthMax }: PlanLimits): Plan {
  const compiler = new Compiler(request.onFailure, depthMax);
  compiler.addSequence(request.steps, "/steps", [], []);
  compiler.checkReferences();
  const { nodes, faults } = compiler;
  checkDepth(request.input, "/input", compiler.report);
  // A map may have no items, and then comes to no job.
  const jobsMin = nodes.filter(({ map }) => map === undefined).length;
  if (jobsMin > request.stepsMax) {
    compiler.report({ path: "/stepsMax", message: `is ${request.stepsMax}; the steps are ${jobsMin}` });
  }
  if (faults.length > 0) {
    const count = faults.length === 1 ? "a fault" : "faults";
    throw new ProblemError("INPUT_INVALID", `Cannot run pipeline: its plan has ${count}`, { errors: faults });
  }
  return { nodes, stepsMax: request.stepsMax };
}

/**
 * Where a step stands: in turn its number in a sequence and in a `parallel`, from the outside in. The first in
 * which two places differ tells whether one is before the other (a sequence) or beside it.
 */
type Place = readonly number[];

class Compiler {
  readonly nodes: PlanNode[] = [];
  readonly faults: Fault[] = [];
  readonly #places = new Map<string, Place>();
  readonly #references: { step: string; of: Place; path: string }[] = [];

  constructor(private readonly onFailure: FailurePolicy, private readonly depthMax: number) {}

  readonly report = (fault: Fault): void => {
    if (this.faults.length < faultsMax) this.faults.push(fault);
  };

  /** Returns the ids after which what follows may begin. */
  addSequence(
    items: readonly PlanItem[],
    path: string,
    place: Place,
    after: readonly string[],
  ): readonly string[] {
    let ends = after;
    for (const [index, item] of items.entries()) {
      const at = `${path}/${index}`;
      const here = [...place, index];
      ends = "parallel" in item
        ? this.#addParallel(item.parallel, `${at}/parallel`, here, ends)
        : this.#addStep(item, at, here, ends);
    }
    return ends;
  }

  #addParallel(
    branches: readonly (Step | PlanItem[])[],
    path: string,
    place: Place,
    after: readonly string[],
  ): readonly string[] {
    const depth = (place.length + 1) / 2;
    if (depth > this.depthMax) {
      this.report({ path, message: `must be nested at most ${this.depthMax} deep` });
      return after;
    }
    return branches.flatMap((branch, index) => {
      const at = `${path}/${index}`;
      const here = [...place, index];
      return Array.isArray(branch)
        ? this.addSequence(branch, at, here, after)
        : this.#addStep(branch, at, [...here, 0], after);
    });
  }

  #addStep(step: Step, path: string, place: Place, after: readonly string[]): readonly string[] {
    const { id, plugin, action, deadlineMs, retry } = step;
    if (this.#places.has(id)) this.report({ path: `${path}/id`, message: `"${id}" is another step's too` });
    else this.#places.set(id, place);
    const map = this.#readMap(step, path, place);
    const input = readTemplate(step.input, `${path}/input`, this.#reader(place, map !== undefined));
    const onFailure = step.onFailure ?? this.onFailure;
    const node = { id, plugin, action, input, onFailure, deadlineMs, retry, after };
    this.nodes.push(map === undefined ? node : { ...node, map });
    return [id];
  }

  #readMap({ map }: Step, path: string, place: Place): PlanNode["map"] {
    if (map === undefined) return undefined;
    const reader = this.#reader(place, false);
    if (Array.isArray(map)) {
      return map.map((item, index) => readTemplate(item, `${path}/map/${index}`, reader));
    }
    if ("$input" in map) return { from: "input", path: map.$input };
    reader.refers(map.$from, `${path}/map`);
    return { from: "step", step: map.$from, path: map.path };
  }

  #reader(of: Place, isInMap: boolean) {
    const refers = (step: string, path: string) => void this.#references.push({ step, of, path });
    return { isInMap, refers, report: this.report };
  }

  /** Once all steps are known, so that one that comes too late is told from one that there is not. */
  checkReferences(): void {
    for (const { step, of, path } of this.#references) {
      const place = this.#places.get(step);
      const message = place === undefined
        ? `there is no step "${step}"`
        : place === of
        ? "a step cannot refer to itself"
        : isBefore(place, of)
        ? undefined
        : `step "${step}" is not certain to have ended before`;
      if (message !== undefined) this.report({ path: `${path}/$from`, message });
    }
  }
}

function isBefore(a: Place, b: Place): boolean {
  const differs = a.findIndex((number, index) => number !== b[index]);
  return differs % 2 === 0 && (a[differs] ?? 0) < (b[differs] ?? 0);
}
