/**
 * Jobs: enqueue, watch what becomes of them, cancel, try again.
 *
 * An accepted job is on disk, and in the ledger, before its 202. What is in a job is for who enqueued it and for
 * operators; that it is there, for every viewer.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema, roleIncludes } from "../../schemas/api.ts";
import { knownKeysAt } from "../../schemas/explain_issue.ts";
import {
  jobBatchMax,
  jobBatchSchema,
  jobIdSchema,
  jobLogLineSchema,
  jobRequestSchema,
  jobSchema,
  jobStateSchema,
  redriveSchema,
} from "../../schemas/job.ts";
import { pluginIdSchema } from "../../schemas/plugin_id.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { jobText } from "../jobs/job_view.ts";
import type { Reader } from "../jobs/jobs.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiContext, ApiKernel, Caller } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { pageQuery } from "./page.ts";
import { parseValue, readJson } from "./read_json.ts";
import { holdSlot, type ReadSlots } from "./read_slots.ts";
import { bodyProblems, json, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";
import { strictQuery } from "./strict_query.ts";

export const job = jobSchema.meta({ id: "Job" });
const jobRequest = jobRequestSchema.meta({ id: "JobRequest" });
const jobBatch = z.strictObject({ jobs: z.array(jobRequest).min(1).max(jobBatchMax) }).meta({
  id: "JobBatch",
});
const jobsBody = z.union([jobRequest, jobBatch]);

const params = z.object({ id: z.string() });

const listQuery = strictQuery({
  ...pageQuery(100).shape,
  after: jobIdSchema.optional().describe("`next` of the page before, or the id of the last job already read"),
  state: jobStateSchema.optional(),
  plugin: pluginIdSchema.optional(),
  parent: jobIdSchema.optional().describe(
    "Only the parts of this pipeline; `JOB_NOT_FOUND` where there is no such job",
  ),
});

const logsQuery = strictQuery({
  ...pageQuery(100).shape,
  after: z.string().regex(/^\d{1,15}$/, "must be the seq of a line")
    .transform(Number)
    .optional()
    .describe("`seq` of the last line already read"),
});

export function registerJobs(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  registerEnqueue(app, kernel);
  registerReads(app, kernel, reads);
  registerRedrive(app, kernel);
  registerOrder(app, kernel, "cancel");
  registerOrder(app, kernel, "retry");
  registerJobLogs(app, kernel, reads);
}

/** Whom a job is shown to. */
export function readerOf({ actor, role }: Caller): Reader {
  return { actor, readsAll: roleIncludes(role, "operator") };
}

/** Throws JOB_NOT_FOUND for what cannot be the id of a job, as for what is none. */
export function checkJobId(id: string): string {
  if (jobIdSchema.safeParse(id).success) return id;
  throw new ProblemError("JOB_NOT_FOUND", `Cannot find job "${id.slice(0, 64)}": that is no job's id`);
}

/** `text`: of one JSON value. `checkpoint`: where something was written. */
export function answerText(
  c: Pick<ApiContext, "body">,
  text: string,
  status: 200 | 202,
  checkpoint?: string,
): Response {
  const type = { "content-type": "application/json" };
  return c.body(text, status, checkpoint === undefined ? type : { ...type, [checkpointHeader]: checkpoint });
}

const enqueueRoute = createRoute({
  method: "post",
  path: "/v1/jobs",
  operationId: "enqueueJobs",
  tags: ["jobs"],
  summary: "Enqueue a job, or many at once",
  description:
    'Needs the role `invoker`. Of `{ "jobs": [...] }` all are accepted, or none. An accepted job is on disk. The ' +
    "same `idempotencyKey` by the same caller gives the job that there is. Numbers in an input are doubles.",
  security: [{ bearer: [] }],
  request: { body: { required: true, content: { "application/json": { schema: jobsBody } } } },
  responses: {
    202: written(
      "The job; of many, the list of them, in their order",
      z.union([job, listSchema(job).meta({ id: "JobList" })]),
    ),
    ...writeProblems(
      ...bodyProblems,
      "INPUT_INVALID",
      "PLUGIN_NOT_FOUND",
      "ACTION_NOT_FOUND",
      "PLUGIN_REJECTED",
      "JOB_NOT_FOUND",
      "CONFLICT",
      "CANCELLED",
    ),
  },
});

/** Handled by hand: which of two schemas a body should fit is seen by its members. */
function registerEnqueue(app: Api, kernel: ApiKernel): void {
  const names = (path: readonly PropertyKey[]) => knownKeysAt(jobsBody, path);
  app.openAPIRegistry.registerPath(enqueueRoute);
  app.post(enqueueRoute.getRoutingPath(), requireRole(kernel, "invoker"), async (c) => {
    const { actor } = c.get("caller");
    const body = await readJson(c.req.raw, kernel.config.http);
    const isBatch = typeof body === "object" && body !== null && Object.hasOwn(body, "jobs");
    const requests = isBatch
      ? parseValue(jobBatchSchema, body, names).jobs
      : [parseValue(jobRequestSchema, body, names)];
    const { value, checkpoint } = await kernel.jobs.enqueue(requests, actor);
    const texts = value.map(jobText).join(",");
    return answerText(c, isBatch ? `{"items":[${texts}],"next":null}` : texts, 202, checkpoint);
  });
}

function registerReads(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  const viewer = requireRole(kernel, "viewer");

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/jobs",
      operationId: "listJobs",
      tags: ["jobs"],
      summary: "List jobs",
      description:
        "Needs the role `viewer`. The newest come first. A filter looks at a bounded number of jobs, so a page may " +
        "hold few or none and still have a `next`. `JOB_NOT_FOUND`: there is no job `parent`.",
      security: [{ bearer: [] }],
      middleware: [viewer, holdSlot(reads)] as const,
      request: { query: listQuery },
      responses: {
        200: json("Jobs", listSchema(job)),
        ...tokenProblems("INPUT_INVALID", "JOB_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    (c) => c.json(kernel.jobs.list(c.req.valid("query"), readerOf(c.get("caller"))), 200),
  );

  app.openAPIRegistry.registerPath(getRoute);
  app.get(getRoute.getRoutingPath(), viewer, holdSlot(reads), async (c) => {
    const id = checkJobId(c.req.param("id"));
    return answerText(c, jobText(await kernel.jobs.get(id, readerOf(c.get("caller")))), 200);
  });
}

/** Handled by hand, as all that shows an output is: a plugin's, it is set into the answer as it is stored. */
const getRoute = createRoute({
  method: "get",
  path: "/v1/jobs/{id}",
  operationId: "getJob",
  tags: ["jobs"],
  summary: "Show a job",
  description:
    "Needs the role `viewer`; `output` is for who enqueued it and for the role `operator`, and null for others.",
  security: [{ bearer: [] }],
  request: { params },
  responses: {
    200: json("The job", job),
    ...tokenProblems("JOB_NOT_FOUND", "QUEUE_FULL"),
  },
});

function registerJobLogs(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/jobs/{id}/logs",
      operationId: "listJobLogs",
      tags: ["jobs"],
      summary: "Read what a job told its log",
      description: "Needs the role `viewer`, and that the job is one's own, or the role `operator`.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "viewer"), holdSlot(reads)] as const,
      request: { params, query: logsQuery },
      responses: {
        200: json("Lines, ascending", listSchema(jobLogLineSchema.meta({ id: "JobLogLine" }))),
        ...tokenProblems("INPUT_INVALID", "JOB_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    (c) => {
      const { after, limit } = c.req.valid("query");
      const id = checkJobId(c.req.valid("param").id);
      const lines = kernel.jobs.logs(id, { after, limit: limit + 1 }, readerOf(c.get("caller")));
      const items = lines.slice(0, limit);
      return c.json({ items, next: lines.length > limit ? String(items.at(-1)?.seq) : null }, 200);
    },
  );
}

const orders = {
  cancel: {
    summary: "Cancel a job",
    description: "Answers when it has ended, by this or by itself. With a pipeline go the jobs below it.",
  },
  retry: {
    summary: "Try a failed or cancelled job again",
    description: "It is pending again, with all its attempts.",
  },
} as const;

function registerOrder(app: Api, kernel: ApiKernel, verb: keyof typeof orders): void {
  const { summary, description } = orders[verb];
  const route = createRoute({
    method: "post",
    path: `/v1/jobs/{id}/${verb}`,
    operationId: `${verb}Job`,
    tags: ["jobs"],
    summary,
    description:
      `Needs the role \`invoker\` for one's own jobs, \`operator\` for all. ${description} No body.`,
    security: [{ bearer: [] }],
    request: { params },
    responses: {
      200: written("The job", job),
      ...writeProblems(...bodyProblems, "JOB_NOT_FOUND", "CONFLICT", "CANCELLED"),
    },
  });
  const invoker = requireRole(kernel, "invoker");
  app.openAPIRegistry.registerPath(route);
  app.post(`/v1/jobs/:id/${verb}`, invoker, acceptJsonBody(kernel, { required: false }), async (c) => {
    const caller = c.get("caller");
    const id = checkJobId(c.req.param("id"));
    const { value, checkpoint } = await kernel.jobs[verb](id, caller.actor, readerOf(caller));
    return answerText(c, jobText(value), 200, checkpoint);
  });
}

const redriveRoute = createRoute({
  method: "post",
  path: "/v1/jobs/redrive",
  operationId: "redriveJobs",
  tags: ["jobs"],
  summary: "Try failed jobs again",
  description:
    "Needs the role `operator`. The oldest first; no body stands for `{}`. Each is pending again, with all its " +
    "attempts.",
  security: [{ bearer: [] }],
  request: {
    body: {
      required: false,
      content: { "application/json": { schema: redriveSchema.meta({ id: "Redrive" }) } },
    },
  },
  responses: {
    200: written("Their ids", z.strictObject({ jobs: z.array(jobIdSchema) }).meta({ id: "Redriven" })),
    ...writeProblems(...bodyProblems, "INPUT_INVALID", "CANCELLED"),
  },
});

function registerRedrive(app: Api, kernel: ApiKernel): void {
  app.openAPIRegistry.registerPath(redriveRoute);
  app.post(redriveRoute.getRoutingPath(), requireRole(kernel, "operator"), async (c) => {
    const body = await readJson(c.req.raw, kernel.config.http, { whenEmpty: {} });
    const filter = parseValue(redriveSchema, body);
    const { value, checkpoint } = await kernel.jobs.redrive(filter, c.get("caller").actor);
    return c.json(value, 200, { [checkpointHeader]: checkpoint });
  });
}
