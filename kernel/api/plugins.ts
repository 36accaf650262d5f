/**
 * Plugins: list, show, and the verbs of their life cycle.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema, pluginSchema } from "../../schemas/api.ts";
import type { ProblemCode } from "../../schemas/problem.ts";
import { type LifecycleVerb, lifecycleVerbs } from "../kernel.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { pageItemsMax, pageQuery } from "./page.ts";
import { bodyProblems, json, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

const plugin = pluginSchema.meta({ id: "Plugin" });

/** Any id may be asked for: one that cannot exist is PLUGIN_NOT_FOUND like one that does not. */
const params = z.object({ id: z.string() });

/** What ends a cell that is being started, or was to be suspended. */
const cellProblems: readonly ProblemCode[] = [
  "PLUGIN_START_FAILED",
  "PLUGIN_CRASHED",
  "PLUGIN_UNRESPONSIVE",
  "PLUGIN_UNHEALTHY",
  "PLUGIN_STOPPED",
  "LIMIT_CPU",
  "LIMIT_MEMORY",
  "LIMIT_DISK",
  "LIMIT_FILES",
  "LIMIT_DESCRIPTORS",
  "LIMIT_CONNECTIONS",
  "LIMIT_THREADS",
  "LIMIT_MESSAGES",
];

/** Why a package is not taken on. */
const packageProblems: readonly ProblemCode[] = [
  "PLUGIN_REJECTED",
  "PLUGIN_QUARANTINED",
  "ISOLATION_REQUIRED",
  "GRANT_REFUSED",
  "CONFLICT",
];

interface VerbTexts {
  readonly summary: string;
  /** Beside what any order may answer. */
  readonly problems: readonly ProblemCode[];
}

const verbs: Readonly<Record<LifecycleVerb, VerbTexts>> = {
  load: { summary: "Load a plugin", problems: packageProblems },
  start: {
    summary: "Start a plugin at once, also after a failure",
    problems: [...packageProblems, ...cellProblems, "PLUGIN_DISABLED"],
  },
  stop: { summary: "Stop a plugin; calls are refused until it is started again", problems: [] },
  suspend: {
    summary: "Suspend a plugin that runs: its cell gets no CPU, and calls wait until it is resumed",
    problems: [...cellProblems, "CONFLICT"],
  },
  resume: {
    summary: "Resume a suspended plugin; where a call ran out of time meanwhile, in a new cell",
    problems: [...cellProblems, "CONFLICT"],
  },
  unload: { summary: "Unload a plugin; its grants go, until it is loaded again", problems: [] },
  enable: { summary: "Enable a plugin", problems: [] },
  disable: { summary: "Disable a plugin", problems: [] },
  reset: { summary: "Forget a plugin's failures: out of quarantine, its breaker closed", problems: [] },
};

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
      // One more than the page, to know whether there is a next one.
      const found = kernel.plugins.list({ after, limit: limit + 1 });
      const items = found.slice(0, limit);
      return c.json({ items, next: found.length > limit ? items.at(-1)?.id ?? null : null }, 200);
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

  for (const verb of lifecycleVerbs) registerVerb(app, kernel, verb, verbs[verb]);
}

function registerVerb(
  app: Api,
  kernel: ApiKernel,
  verb: LifecycleVerb,
  { summary, problems }: VerbTexts,
): void {
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
        ...writeProblems(...bodyProblems, "PLUGIN_NOT_FOUND", ...problems),
      },
    }),
    async (c) => {
      const { actor } = c.get("caller");
      const { value, checkpoint } = await kernel.plugins.act(c.req.valid("param").id, verb, actor);
      return c.json(value, 200, { [checkpointHeader]: checkpoint });
    },
  );
}
