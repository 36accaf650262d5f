/**
 * Headers that every answer carries: no sniffing, no framing, no referrer, no cache, and the request's id.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "./context.ts";

/** For answers that are data. `docs.ts` widens the policy for its page, and only there. */
export const securityHeaders = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
} as const;

export const requestIdHeader = "airlock-request-id";

/** base64 of the signed note that covers the act; on every answer to a write. */
export const checkpointHeader = "airlock-checkpoint";

/** Prepares the headers of an answer; a handler that builds its own `Response` spreads them itself. */
export const setSecurityHeaders: MiddlewareHandler<ApiEnv> = async (c, next) => {
  for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
  c.header(requestIdHeader, c.get("requestId"));
  await next();
};
