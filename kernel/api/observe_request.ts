/**
 * Observation: each request's id, and its line in the metrics.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { ApiContext, ApiEnv, ApiKernel } from "./context.ts";

/** Gives the request its id and counts it. A stream counts at its first event. */
export function observeRequest({ metrics }: Pick<ApiKernel, "metrics">): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    c.set("requestId", crypto.randomUUID());
    await next();
    metrics.requestEnded({
      route: routeOf(c),
      method: c.req.method,
      status: c.res.status,
    });
  };
}

/** The route's pattern, such as `/v1/plugins/:id`: middleware is registered under "ALL". */
function routeOf(c: ApiContext): string {
  return matchedRoutes(c).findLast((route) => route.method !== "ALL")?.path ?? "unmatched";
}
