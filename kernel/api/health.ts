/**
 * Health: is the process alive, and does it take requests. Both are answered to anyone.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { healthSchema, readinessSchema } from "../../schemas/api.ts";
import { checkReady } from "./authenticate.ts";
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
  responses: { 200: json("It does", readinessSchema.meta({ id: "Readiness" })), ...problems("NOT_READY") },
});

export function registerHealth(app: Api, kernel: ApiKernel): void {
  app.openapi(healthRoute, (c) => {
    const uptimeMs = Date.now() - kernel.startedAtMs;
    return c.json({ status: "ok" as const, pid: Deno.pid, uptimeMs }, 200);
  });
  app.openapi(readinessRoute, (c) => {
    checkReady(kernel);
    return c.json({ status: "ready" as const }, 200);
  });
}
