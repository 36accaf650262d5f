/**
 * Plugins: list, show, and the verbs of their life cycle.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema, pluginSchema } from "../../schemas/api.ts";
import type { LifecycleVerb } from "../kernel.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { pageItemsMax, pageQuery } from "./page.ts";
import { bodyProblems, json, tokenProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

const plugin = pluginSchema.meta({ id: "Plugin" });

/** Any id may be asked for: one that cannot exist is PLUGIN_NOT_FOUND like one that does not. */
const params = z.object({ id: z.string() });

const verbs: readonly [LifecycleVerb, summary: string][] = [
  ["load", "Load a plugin"],
  ["start", "Start a plugin"],
  ["stop", "Stop a plugin; calls are refused until it is started again"],
  ["unload", "Unload a plugin"],
  ["enable", "Enable a plugin"],
  ["disable", "Disable a plugin"],
];

export function registerPlugins(app: Api, kernel: ApiKernel): void {
  const viewer = requireRole(kernel, "viewer");

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/plugins",
      operationId: "listPlugins",
      tags: ["plugins"],
      summary: "List plugins",
      description: "Needs the role `viewer`. Ascending by id.",
      security: [{ bearer: [] }],
      middleware: viewer,
      request: { query: pageQuery(pageItemsMax) },
      responses: {
        200: json("Plugins", listSchema(plugin)),
        ...tokenProblems("INPUT_INVALID"),
      },
    }),
    (c) => {
      const { after, limit } = c.req.valid("query");
      const all = kernel.plugins.list();
      const rest = after === undefined ? all : all.filter(({ id }) => id > after);
      const items = rest.slice(0, limit);
      return c.json({ items, next: rest.length > limit ? items.at(-1)?.id ?? null : null }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/plugins/{id}",
      operationId: "getPlugin",
      tags: ["plugins"],
      summary: "Show a plugin",
      description: "Needs the role `viewer`.",
      security: [{ bearer: [] }],
      middleware: viewer,
      request: { params },
      responses: {
        200: json("The plugin", plugin),
        ...tokenProblems("PLUGIN_NOT_FOUND"),
      },
    }),
    (c) => c.json(kernel.plugins.get(c.req.valid("param").id), 200),
  );

  for (const [verb, summary] of verbs) registerVerb(app, kernel, verb, summary);
}

function registerVerb(app: Api, kernel: ApiKernel, verb: LifecycleVerb, summary: string): void {
  app.openapi(
    createRoute({
      method: "post",
      path: `/v1/plugins/{id}/${verb}`,
      operationId: `${verb}Plugin`,
      tags: ["plugins"],
      summary,
      description:
        "Needs the role `operator`. Answers once the plugin has settled; repeating it succeeds. No body.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "operator"), acceptJsonBody(kernel, { required: false })] as const,
      request: { params },
      responses: {
        200: written("The plugin, settled", plugin),
        ...tokenProblems(
          ...bodyProblems,
          "PLUGIN_NOT_FOUND",
          "PLUGIN_DISABLED",
          "PLUGIN_REJECTED",
          "PLUGIN_START_FAILED",
          "ISOLATION_REQUIRED",
          "CONFLICT",
        ),
      },
    }),
    async (c) => {
      const { actor } = c.get("caller");
      const { value, checkpoint } = await kernel.plugins.act(c.req.valid("param").id, verb, actor);
      return c.json(value, 200, { [checkpointHeader]: checkpoint });
    },
  );
}
