/**
 * The feed: everything that happens, as server-sent events.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Clock } from "../../sandbox/clock.ts";
import { feedEventData } from "../../schemas/event.ts";
import { answerEvents, eventStream, resumeFrom } from "./answer_events.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import type { EventReaders } from "./event_readers.ts";
import { positionText } from "./event_text.ts";
import { tokenProblems } from "./responses.ts";

const data = z.union([
  feedEventData.JOB_QUEUED.meta({ id: "JobFact", description: "Data of JOB_…" }),
  feedEventData.PLUGIN_CHANGED.meta({ id: "PluginChanged", description: "Data of PLUGIN_CHANGED" }),
  feedEventData.EVENTS_DROPPED.meta({ id: "EventsDropped", description: "Data of EVENTS_DROPPED" }),
]);

export function registerEvents(app: Api, kernel: ApiKernel, readers: EventReaders, clock?: Clock): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/events",
      operationId: "watchEvents",
      tags: ["events"],
      summary: "Watch what happens",
      description:
        "Needs the role `viewer`. Server-sent events, from now on or after the one that is named: what happens to " +
        "jobs (`JOB_QUEUED`, `JOB_STARTED`, `JOB_PROGRESS`, `JOB_COMPLETED`, `JOB_FAILED`, `JOB_CANCELLED`) and to " +
        "plugins (`PLUGIN_CHANGED`), never what is in them. The newest events are kept, see " +
        "`streams.feedEventsMax`; in place of those that a reader was too slow for, or asked for too late, comes " +
        "one `EVENTS_DROPPED`. Who takes nothing for `streams.readerTimeoutMs` is cut off.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      request: resumeFrom(z.string()),
      responses: {
        200: eventStream("Events", data),
        ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
      },
    }),
    (c) => {
      const after = c.req.valid("header")["last-event-id"] || c.req.valid("query").after || undefined;
      return answerEvents(kernel, c, {
        readers,
        clock,
        caller: c.get("caller"),
        watch: () => kernel.feed.watch(after),
        // A reader that is cut off before the first event goes on here too.
        head: ({ id }) => after === undefined ? positionText(id) : "",
      });
    },
  );
}
