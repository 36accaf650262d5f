/**
 * A job's events, as server-sent events: the ones it has, then those to come, to its end.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Clock } from "../../sandbox/clock.ts";
import { jobEventData } from "../../schemas/event.ts";
import { answerEvents, eventStream, resumeFrom } from "./answer_events.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import type { EventReaders } from "./event_readers.ts";
import { checkJobId, readerOf } from "./jobs.ts";
import { tokenProblems } from "./responses.ts";

const number = z.string().regex(/^\d{0,15}$/, "must be the id of an event of a job, a whole number");

const data = z.union([jobEventData.JOB_QUEUED, jobEventData.JOB_PROGRESS, jobEventData.JOB_TOKEN]);

export function registerJobEvents(app: Api, kernel: ApiKernel, readers: EventReaders, clock?: Clock): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/jobs/{id}/events",
      operationId: "watchJobEvents",
      tags: ["jobs"],
      summary: "Watch a job",
      description:
        "Needs the role `viewer`, and `operator` for a job that another caller enqueued. Server-sent events, from " +
        "the job's first or after the one that is named, to its end: `JOB_QUEUED`, `JOB_STARTED`, " +
        "`JOB_COMPLETED`, `JOB_FAILED`, `JOB_CANCELLED` (data: the job), `JOB_PROGRESS` and `JOB_TOKEN` (data: " +
        "one JSON value). `JOB_STARTED` begins an attempt, and tokens before it belong to an earlier one. Who " +
        "takes nothing for `streams.readerTimeoutMs` is cut off, and may come back for the rest.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      request: { params: z.object({ id: z.string() }), ...resumeFrom(number) },
      responses: {
        200: eventStream("Events", data),
        204: { description: "The job has ended, and nothing came after that event" },
        ...tokenProblems("INPUT_INVALID", "JOB_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    (c) => {
      const after = Number(c.req.valid("header")["last-event-id"] || c.req.valid("query").after || 0);
      const caller = c.get("caller");
      const id = checkJobId(c.req.valid("param").id);
      return answerEvents(kernel, c, {
        readers,
        clock,
        caller,
        watch: () => kernel.jobs.watch(id, after, readerOf(caller)),
      });
    },
  );
}
