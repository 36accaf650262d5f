/**
 * A plugin's audit: what its code asked Deno for, and what came of it.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { auditItemSchema, auditOutcomes, auditViewSchema } from "../../schemas/audit.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { pageQuery } from "./page.ts";
import { holdSlot, type ReadSlots } from "./read_slots.ts";
import { json, tokenProblems } from "./responses.ts";
import { strictQuery } from "./strict_query.ts";

const query = strictQuery({
  ...pageQuery(100).shape,
  after: z.string().regex(/^\d{1,15}$/, "must be `next` of a page")
    .transform(Number)
    .optional()
    .describe("`next` of the page before"),
  outcome: z.enum(auditOutcomes).optional().describe("Resources that were granted, or refused"),
});
const auditView = auditViewSchema.extend({ items: z.array(auditItemSchema.meta({ id: "AuditItem" })) });

export function registerAudit(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/plugins/{id}/audit",
      operationId: "getPluginAudit",
      tags: ["plugins"],
      summary: "Read a plugin's audit",
      description:
        "Needs the role `viewer`. Each resource that the plugin's code asked Deno for, once, in the order of first " +
        "checks. Of programs that are run Deno tells nothing. That of a removed plugin is kept for `audit.keptMs`.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "viewer"), holdSlot(reads)] as const,
      request: { params: z.object({ id: z.string() }), query },
      responses: {
        200: json("Resources", auditView.meta({ id: "Audit" })),
        ...tokenProblems("INPUT_INVALID", "PLUGIN_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { after, limit, outcome } = c.req.valid("query");
      const { rows, untold, isAudited } = await kernel.audit.list(id, { after, outcome, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const items = page.map(({ permission, resource, outcome, count, firstAtMs, lastAtMs }) => ({
        ...{ permission, resource, outcome, count },
        firstAt: new Date(firstAtMs).toISOString(),
        lastAt: new Date(lastAtMs).toISOString(),
      }));
      const next = rows.length > limit ? String(page.at(-1)?.seq) : null;
      return c.json({ items, next, untold, isAudited }, 200);
    },
  );
}
