/**
 * Grants: what a plugin requests, what its operator allows, and what is in force.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { grantsViewSchema } from "../../schemas/api.ts";
import { operatorGrantsSchema } from "../../schemas/capabilities.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { bodyProblems, json, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

const path = "/v1/plugins/{id}/grants";
const params = z.object({ id: z.string() });
const grantsView = grantsViewSchema.meta({ id: "Grants" });

export function registerGrants(app: Api, kernel: ApiKernel): void {
  app.openapi(
    createRoute({
      method: "get",
      path,
      operationId: "getGrants",
      tags: ["grants"],
      summary: "Show a plugin's grants",
      description: "Needs the role `viewer`.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      request: { params },
      responses: {
        200: json("The grants", grantsView),
        ...tokenProblems("PLUGIN_NOT_FOUND", "PLUGIN_REJECTED"),
      },
    }),
    (c) => c.json(kernel.plugins.grants(c.req.valid("param").id), 200),
  );

  app.openapi(
    createRoute({
      method: "put",
      path,
      operationId: "setGrants",
      tags: ["grants"],
      summary: "Replace a plugin's grants",
      description:
        "Needs the role `operator`. Never more than the plugin requests; what is left out is not granted. A path " +
        "must exist, and be or pass through no link: it is looked at now, and again at each start.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "operator"), acceptJsonBody(kernel, { required: true })] as const,
      request: {
        params,
        body: {
          required: true,
          content: { "application/json": { schema: operatorGrantsSchema.meta({ id: "OperatorGrants" }) } },
        },
      },
      responses: {
        200: written("The grants, in force", grantsView),
        ...writeProblems(
          ...bodyProblems,
          "INPUT_INVALID",
          "PLUGIN_NOT_FOUND",
          "PLUGIN_REJECTED",
          "PLUGIN_START_FAILED",
          "GRANT_REFUSED",
          "ISOLATION_REQUIRED",
          "QUEUE_FULL",
        ),
      },
    }),
    async (c) => {
      const { actor } = c.get("caller");
      const { value, checkpoint } = await kernel.plugins.setGrants(
        c.req.valid("param").id,
        c.req.valid("json"),
        actor,
      );
      return c.json(value, 200, { [checkpointHeader]: checkpoint });
    },
  );
}
