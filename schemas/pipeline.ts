/**
 * Pipelines: a plan of steps, each a call of an action with an input made of earlier outputs.
 *
 * `steps` run one after the other. A member `{ "parallel": [...] }` runs its branches side by side, each a step
 * or a list of steps; what follows waits for all of them, which is the join. A step with `map` runs once for
 * each item of a list, and its output is the list of their outputs, in order.
 *
 * Anywhere in an `input`, and in the items of a `map` that is a list, an object
 * `{ "$from": "<step>", "path": "/pointer" }` stands for the output of an earlier step, or for a part of it (JSON
 * Pointer, RFC 6901); `{ "$input": "/pointer" }` for the pipeline's own input; within the `input` of a step with
 * `map`, `{ "$item": "/pointer" }` for the item, and `{ "$index": true }` for its number. `{ "$literal": … }`
 * stands for what is in it, as it is: so is an object written that has a member with one of these names.
 *
 * A step that fails ends its pipeline (`onFailure: "stop"`), or its output is null for those that refer to it
 * (`"continue"`; of a map, null in the place of each item that failed). A pointer that leads nowhere is null for
 * a step that continues, and else its step fails with `INPUT_INVALID`, as it does when its list is no list or its
 * input is too large. A pipeline whose maps come to more jobs than `stepsMax` fails, whatever its policy.
 *
 * The output of a pipeline is `{ "<step>": <its output>, … }`, of all steps in the order of the plan. Pure.
 *
 * @module
 */
import { z } from "zod";
import { actionNameSchema } from "./action_name.ts";
import { jobRequestSchema } from "./job.ts";
import { pluginIdSchema } from "./plugin_id.ts";

export const stepIdSchema = z.string().regex(
  /^[A-Za-z][A-Za-z0-9_-]{0,63}$/,
  "must be a letter, then at most 63 letters, digits, _ and -",
);
const pointer = z.string().max(1_024).regex(/^(?:\/(?:[^~]|~[01])*)?$/, "must be a JSON Pointer");

export const fromStepSchema = z.strictObject({ $from: stepIdSchema, path: pointer.default("") });
export const fromInputSchema = z.strictObject({ $input: pointer });
export const itemSchema = z.strictObject({ $item: pointer });

/** Nesting of `parallel` that a body may have at all; `jobs.pipelineDepthMax` is what is allowed. */
export const pipelineDepthLimit = 32;
/** Nesting of lists and objects in the inputs that a plan holds. */
export const pipelineJsonDepthMax = 128;

const failurePolicySchema = z.enum(["stop", "continue"]);

export const stepSchema = z.strictObject({
  id: stepIdSchema,
  plugin: pluginIdSchema,
  action: actionNameSchema,
  input: z.unknown().default({}),
  map: z.union([fromStepSchema, fromInputSchema, z.array(z.unknown()).max(10_000)]).optional()
    .describe("The list over which the step runs"),
  onFailure: failurePolicySchema.optional().describe("The plan's, if left out"),
  deadlineMs: jobRequestSchema.shape.deadlineMs,
  retry: jobRequestSchema.shape.retry,
});
export type Step = z.infer<typeof stepSchema>;

export type PlanItem = Step | { parallel: (Step | PlanItem[])[] };
const parallelSchema = z.strictObject({
  get parallel() {
    return z.array(z.union([stepSchema, z.array(planItemSchema).min(1).max(1_000)])).min(1).max(1_000);
  },
});
/** Named, for an OpenAPI document cannot hold in place what is recursive. */
export const planItemSchema: z.ZodType<PlanItem> = z.lazy(() => z.union([stepSchema, parallelSchema]))
  .meta({ id: "PlanItem" });

/** Before the schema, which is recursive: a body of a few megabytes can be nested deeper than a stack is. */
function checkDepth(steps: unknown, context: z.RefinementCtx): unknown {
  const rest: [value: unknown, depth: number][] = [[steps, 0]];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const [value, depth] = next;
    if (depth > pipelineDepthLimit) {
      context.addIssue({
        code: "custom",
        message: `must nest "parallel" at most ${pipelineDepthLimit} deep`,
      });
      return z.NEVER;
    }
    if (Array.isArray(value)) {
      for (const item of value) rest.push([item, depth]);
    } else if (typeof value === "object" && value !== null && "parallel" in value) {
      rest.push([value.parallel, depth + 1]);
    }
  }
  return steps;
}

/** The body of `POST /v1/pipelines`. */
export const pipelineRequestSchema = z.strictObject({
  steps: z.preprocess(checkDepth, z.array(planItemSchema).min(1).max(1_000)),
  input: z.unknown().default({}),
  onFailure: failurePolicySchema.default("stop").describe(
    "stop: when a step fails no other begins, and the pipeline fails. continue: the others run as far as they " +
      "can, with null for an output that is missing, and the pipeline completes",
  ),
  stepsMax: z.int().min(1).max(10_000).default(1_000).describe("Jobs it may come to, items of maps counted"),
  idempotencyKey: jobRequestSchema.shape.idempotencyKey,
  priority: jobRequestSchema.shape.priority,
  runAt: jobRequestSchema.shape.runAt,
  delayMs: jobRequestSchema.shape.delayMs,
  ttlMs: jobRequestSchema.shape.ttlMs,
});
export type PipelineRequest = z.infer<typeof pipelineRequestSchema>;
