/**
 * Schedules: a job for each time that a cron expression names.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema } from "../../schemas/api.ts";
import { jobIdSchema, scheduleRequestSchema, scheduleSchema } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { readerOf } from "./jobs.ts";
import { pageItemsMax, pageQuery } from "./page.ts";
import { parseValue, readJson } from "./read_json.ts";
import { holdSlot, type ReadSlots } from "./read_slots.ts";
import { bodyProblems, json, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";
import { strictQuery } from "./strict_query.ts";

const path = "/v1/schedules";
const schedule = scheduleSchema.meta({ id: "Schedule" });

export function registerSchedules(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  registerList(app, kernel, reads);
  registerCreate(app, kernel);
  registerDelete(app, kernel);
}

function registerList(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  app.openapi(
    createRoute({
      method: "get",
      path,
      operationId: "listSchedules",
      tags: ["jobs"],
      summary: "List schedules",
      description:
        "Needs the role `viewer`; `name` is for who made it and for the role `operator`, and null for others. The oldest " +
        "come first.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "viewer"), holdSlot(reads)] as const,
      request: { query: strictQuery(pageQuery(pageItemsMax).shape) },
      responses: {
        200: json("Schedules", listSchema(schedule)),
        ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
      },
    }),
    (c) => c.json(kernel.jobs.listSchedules(c.req.valid("query"), readerOf(c.get("caller"))), 200),
  );
}

const createScheduleRoute = createRoute({
  method: "post",
  path,
  operationId: "createSchedule",
  tags: ["jobs"],
  summary: "Create a schedule",
  description: "Needs the role `operator`.",
  security: [{ bearer: [] }],
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: scheduleRequestSchema.meta({ id: "ScheduleRequest" }) } },
    },
  },
  responses: {
    201: written("The schedule", schedule),
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

function registerCreate(app: Api, kernel: ApiKernel): void {
  app.openAPIRegistry.registerPath(createScheduleRoute);
  app.post(path, requireRole(kernel, "operator"), async (c) => {
    const body = await readJson(c.req.raw, kernel.config.http);
    const request = parseValue(scheduleRequestSchema, body);
    const { value, checkpoint } = await kernel.jobs.createSchedule(request, c.get("caller").actor);
    return c.json(value, 201, { [checkpointHeader]: checkpoint });
  });
}

function registerDelete(app: Api, kernel: ApiKernel): void {
  app.openapi(
    createRoute({
      method: "delete",
      path: `${path}/{id}`,
      operationId: "deleteSchedule",
      tags: ["jobs"],
      summary: "Delete a schedule",
      description: "Needs the role `operator`. Jobs that came of it stay.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "operator"),
      request: { params: z.object({ id: z.string() }) },
      responses: {
        200: written("Its id", z.strictObject({ id: jobIdSchema }).meta({ id: "ScheduleDeleted" })),
        ...writeProblems("SCHEDULE_NOT_FOUND"),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      if (!jobIdSchema.safeParse(id).success) {
        const state = "that is no schedule's id";
        throw new ProblemError("SCHEDULE_NOT_FOUND", `Cannot find schedule "${id.slice(0, 64)}": ${state}`);
      }
      const { checkpoint } = await kernel.jobs.deleteSchedule(id, c.get("caller").actor);
      return c.json({ id }, 200, { [checkpointHeader]: checkpoint });
    },
  );
}
