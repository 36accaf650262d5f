/**
 * Metrics: `GET /metrics` in the text format of Prometheus.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { authenticate, checkRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { tokenProblems } from "./responses.ts";

const metricsRoute = createRoute({
  method: "get",
  path: "/metrics",
  operationId: "getMetrics",
  tags: ["health"],
  summary: "Metrics for Prometheus",
  description: "Needs the role `viewer`. Answered while the kernel starts and drains too.",
  security: [{ bearer: [] }],
  responses: {
    200: { description: "Metrics", content: { "text/plain": { schema: z.string() } } },
    ...tokenProblems(),
  },
});

export function registerMetrics(app: Api, kernel: ApiKernel): void {
  app.openapi(metricsRoute, (c) => {
    const caller = authenticate(kernel, c.req.raw);
    c.set("caller", caller);
    checkRole(caller, "viewer");
    return c.text(kernel.metrics.render(), 200, {
      "content-type": "text/plain; version=0.0.4; charset=utf-8",
    });
  });
}
