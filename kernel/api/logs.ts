/**
 * A plugin's log: what it wrote to stdout and stderr, and what it told `ctx.log`. The plugin's own words.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema, logLineSchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { pageQuery } from "./page.ts";
import { json, tokenProblems } from "./responses.ts";

const query = pageQuery(100).extend({
  after: z.string().regex(/^\d{1,15}$/, "must be the seq of a line")
    .transform(Number)
    .optional()
    .describe("`seq` of the last line already read"),
});

export function registerLogs(app: Api, kernel: ApiKernel): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/plugins/{id}/logs",
      operationId: "listPluginLogs",
      tags: ["plugins"],
      summary: "Read a plugin's log",
      description: "Needs the role `viewer`. The newest lines are kept, in memory; see `cells.logLinesMax`.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      request: { params: z.object({ id: z.string() }), query },
      responses: {
        200: json("Lines, ascending", listSchema(logLineSchema.meta({ id: "LogLine" }))),
        ...tokenProblems("INPUT_INVALID", "PLUGIN_NOT_FOUND"),
      },
    }),
    (c) => {
      const { after, limit } = c.req.valid("query");
      const lines = kernel.plugins.logs(c.req.valid("param").id, { after, limit: limit + 1 });
      const items = lines.slice(0, limit);
      return c.json({ items, next: lines.length > limit ? String(items.at(-1)?.seq) : null }, 200);
    },
  );
}
