/**
 * Health: is the process alive, and does it take requests, with all that it is to have. Both are answered to
 * anyone.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { healthSchema, readinessSchema } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { checkReady, readyRetryMs } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { json, problems } from "./responses.ts";

const healthRoute = createRoute({
  method: "get",
  path: "/healthz",
  operationId: "getHealth",
  tags: ["health"],
  summary: "Is the kernel alive",
  responses: { 200: json("It is", healthSchema.meta({ id: "Health" })) },
});

const readinessRoute = createRoute({
  method: "get",
  path: "/readyz",
  operationId: "getReadiness",
  tags: ["health"],
  summary: "Does the kernel take requests",
  description:
    "503 also while an enabled plugin that is `critical` is not up, or was rejected; the detail says how many.",
  responses: { 200: json("It does", readinessSchema.meta({ id: "Readiness" })), ...problems("NOT_READY") },
});

export function registerHealth(app: Api, kernel: ApiKernel): void {
  app.openapi(healthRoute, (c) => {
    const uptimeMs = Date.now() - kernel.startedAtMs;
    return c.json({ status: "ok" as const, pid: Deno.pid, uptimeMs }, 200);
  });
  app.openapi(readinessRoute, (c) => {
    checkReady(kernel);
    checkCriticalPlugins(kernel);
    return c.json({ status: "ready" as const }, 200);
  });
}

/** Throws NOT_READY. Other requests are served meanwhile: an operator may have to mend it. */
function checkCriticalPlugins({ plugins }: ApiKernel): void {
  const { length } = plugins.missing();
  if (length === 0) return;
  // Anyone may ask, and what is installed is nobody's business without a token.
  const which = length === 1 ? "1 critical plugin is" : `${length} critical plugins are`;
  throw new ProblemError(
    "NOT_READY",
    `Cannot serve all there is to be: ${which} not up. See GET /v1/plugins`,
    { retryAfterMs: readyRetryMs },
  );
}
