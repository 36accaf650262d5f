/**
 * Problems on the wire: each failure becomes `application/problem+json` here and nowhere else.
 *
 * Invariants:
 * - an act refused to a known caller, or failed, is in the ledger before its answer, once; of a caller who is
 *   refused again and again, most are only counted (`refusal_budget.ts`);
 * - whatever answers a write of a known caller carries the newest checkpoint. It covers the entry of the failed
 *   or refused act, because that was durable before;
 * - an unexpected error is logged in full and told in general.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { z } from "zod";
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";
import type { ApiContext, ApiKernel } from "./context.ts";
import { faultsMax, faultsOf, inputInvalid } from "./json_faults.ts";
import { requestPath } from "./request_path.ts";
import { checkpointHeader, requestIdHeader, securityHeaders } from "./security_headers.ts";

const logger = getLogger(["airlock", "api"]);

const reads = new Set(["GET", "HEAD"]);

/** Airlock's own failures, and those of an end that may have been recorded already. */
const unrecorded: ReadonlySet<ProblemCode> = new Set(["INTERNAL", "NOT_READY"]);

/** Answers with a problem, after it was recorded if it refuses an act. */
export async function answerProblem(
  kernel: ApiKernel,
  error: unknown,
  c: ApiContext,
  headers: Record<string, string> = {},
): Promise<Response> {
  let problem = toProblemError(error);
  if (isRefusedAct(problem, c)) {
    try {
      await refuse(kernel, problem, c);
    } catch (cause) {
      // An act that cannot be recorded is not answered as if it were.
      problem = toProblemError(cause);
    }
  }
  const isWrite = c.get("caller") !== undefined && !reads.has(c.req.method);
  return problemResponse(problem, {
    ...headers,
    [requestIdHeader]: c.get("requestId"),
    ...(isWrite ? { [checkpointHeader]: kernel.ledger.checkpointBase64() } : {}),
  });
}

/** The error as it may be shown: what is not a ProblemError is a bug of ours, and logged. */
export function toProblemError(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  logger.error("Request failed: {error}", { error });
  return new ProblemError("INTERNAL", "Cannot answer the request: an unexpected error, see the log", {
    cause: error,
  });
}

/** `hook` of the routes: what does not fit a route's schema is INPUT_INVALID. */
export function refuseInvalid(result: { success: true } | { success: false; error: z.core.$ZodError }): void {
  if (result.success) return;
  throw inputInvalid(faultsOf(result.error, { faultsMax, names: () => [] }));
}

function isRefusedAct(problem: ProblemError, c: ApiContext): boolean {
  if (c.get("caller") === undefined || c.get("recorded")) return false;
  if (problem.code === "FORBIDDEN") return true;
  return !reads.has(c.req.method) && !unrecorded.has(problem.code);
}

async function refuse(kernel: ApiKernel, problem: ProblemError, c: ApiContext): Promise<void> {
  const pathname = requestPath(c.req.url);
  await kernel.refuse({
    code: problem.code,
    target: `${c.req.method} ${pathname}`,
    plugin: /^\/v1\/plugins\/([^/]+)/.exec(pathname)?.[1] ?? "",
    actor: c.get("caller")?.actor ?? "",
    request: c.get("requestId"),
  });
}

function problemResponse(problem: ProblemError, headers: Record<string, string>): Response {
  const { retryAfterMs } = problem.options;
  return new Response(JSON.stringify(problem.toProblem()), {
    status: problem.status,
    headers: {
      ...securityHeaders,
      ...headers,
      "content-type": "application/problem+json",
      ...(problem.code === "UNAUTHENTICATED" ? { "www-authenticate": 'Bearer realm="airlock"' } : {}),
      ...(problem.code === "UPGRADE_REQUIRED" ? { upgrade: "websocket", connection: "upgrade" } : {}),
      ...(retryAfterMs === undefined ? {} : { "retry-after": String(Math.ceil(retryAfterMs / 1_000)) }),
    },
  });
}
