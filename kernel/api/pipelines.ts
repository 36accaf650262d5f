/**
 * Pipelines: a plan of steps, enqueued as one job with a tree of jobs below it.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { knownKeysAt } from "../../schemas/explain_issue.ts";
import { pipelineRequestSchema, stepSchema } from "../../schemas/pipeline.ts";
import { jobText } from "../jobs/job_view.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { answerText, job } from "./jobs.ts";
import { parseValue, readJson } from "./read_json.ts";
import { bodyProblems, writeProblems, written } from "./responses.ts";

/** One level of a plan. The document cannot hold a schema that holds itself: deeper levels are told in words. */
const planItem = z.union([
  stepSchema.meta({ id: "Step" }),
  z.strictObject({
    parallel: z.array(z.unknown()).min(1).max(1_000)
      .describe("Branches: each a step, or a list like `steps`, whose items may have `parallel` again"),
  }).meta({ id: "Parallel" }),
]);

const route = createRoute({
  method: "post",
  path: "/v1/pipelines",
  operationId: "enqueuePipeline",
  tags: ["jobs"],
  summary: "Enqueue a pipeline",
  description:
    "Needs the role `invoker`. Runs as one job; `GET /v1/jobs?parent=` lists those below it. Anywhere in an `input`, " +
    '`{ "$from": "<step>", "path": "/pointer" }` stands for the output of an earlier step or a part of it, ' +
    '`{ "$input": "/pointer" }` for the pipeline\'s input, and in a step with `map` `{ "$item": "/pointer" }` for ' +
    'the item and `{ "$index": true }` for its number.',
  security: [{ bearer: [] }],
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: pipelineRequestSchema.extend({ steps: z.array(planItem).min(1).max(1_000) })
            .meta({ id: "PipelineRequest" }),
        },
      },
    },
  },
  responses: {
    202: written("The pipeline's job", job),
    ...writeProblems(
      ...bodyProblems,
      "INPUT_INVALID",
      "PLUGIN_NOT_FOUND",
      "ACTION_NOT_FOUND",
      "PLUGIN_REJECTED",
      "CONFLICT",
      "CANCELLED",
    ),
  },
});

/** Handled by hand: plans nest, and their faults are told with the path of the very value. */
export function registerPipelines(app: Api, kernel: ApiKernel): void {
  app.openAPIRegistry.registerPath(route);
  app.post(route.getRoutingPath(), requireRole(kernel, "invoker"), async (c) => {
    const body = await readJson(c.req.raw, kernel.config.http);
    const request = parseValue(pipelineRequestSchema, body, namesAt);
    const { value, checkpoint } = await kernel.jobs.enqueuePipeline(request, c.get("caller").actor);
    return answerText(c, jobText(value), 202, checkpoint);
  });
}

/** The keys known at a path; whatever its nesting, what stands in a list is an item of a plan. */
function namesAt(path: readonly PropertyKey[]): string[] {
  const item = path.findLastIndex((segment) => typeof segment === "number");
  return item === -1 ? knownKeysAt(pipelineRequestSchema, path) : knownKeysAt(planItem, path.slice(item + 1));
}
