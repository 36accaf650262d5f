/**
 * The HTTP API: the one gateway to the kernel, composed from one file a resource.
 *
 * Invariants:
 * - no answer without a request id and the security headers;
 * - no way to a `/v1` route without a token, known or not; nor to `/log`, unless `ledger.public` is set;
 * - a path that is not spelt plainly (`%`, a doubled or trailing slash) names nothing.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { ProblemError } from "../../schemas/problem.ts";
import { registerAudit } from "./audit.ts";
import { admitToLog, authenticate, checkReady } from "./authenticate.ts";
import { registerCommitments } from "./commitments.ts";
import type { Api, ApiContext, ApiEnv, ApiKernel } from "./context.ts";
import { registerDocs } from "./docs.ts";
import { EventReaders } from "./event_readers.ts";
import { registerEvents } from "./events.ts";
import { registerGrants } from "./grants.ts";
import { registerHealth } from "./health.ts";
import { registerInvoke } from "./invoke.ts";
import { registerJobEvents } from "./job_events.ts";
import { registerJobs } from "./jobs.ts";
import { registerLedger } from "./ledger.ts";
import { registerLedgerExport } from "./ledger_export.ts";
import { registerLedgerKeys } from "./ledger_keys.ts";
import { registerLogTiles } from "./log_tiles.ts";
import { registerLogs } from "./logs.ts";
import { registerMetrics } from "./metrics.ts";
import { observeRequest } from "./observe_request.ts";
import { registerOpenApi } from "./openapi.ts";
import { registerPipelines } from "./pipelines.ts";
import { registerPlugins } from "./plugins.ts";
import { answerProblem, refuseInvalid } from "./problems.ts";
import { registerProofs } from "./proofs.ts";
import { ReadSlots } from "./read_slots.ts";
import { requestPath } from "./request_path.ts";
import { registerSchedules } from "./schedules.ts";
import { setSecurityHeaders } from "./security_headers.ts";
import { registerTokens } from "./tokens.ts";
import { registerWs, WsConnections } from "./ws.ts";

export interface AppOptions {
  /** The folder of swagger-ui-dist, see `swagger_ui_folder.ts`. */
  readonly swaggerUiFolder: string;
  /** Those who watch events: whoever ends the server has to end them. New ones, if left out. */
  readonly readers?: EventReaders;
  /** Likewise. */
  readonly connections?: WsConnections;
}

export function createApp(
  kernel: ApiKernel,
  {
    swaggerUiFolder,
    readers = new EventReaders(kernel.config.streams),
    connections = new WsConnections(kernel.config.http),
  }: AppOptions,
): Api {
  const app: Api = new OpenAPIHono<ApiEnv>({ getPath: plainPath, defaultHook: refuseInvalid });
  app.onError((error, c) => answerProblem(kernel, error, c));
  app.notFound((c) => answerUnrouted(app, kernel, c));

  app.use(observeRequest(kernel));
  // Before the headers are prepared: the hottest route builds its own answer at once.
  registerInvoke(app, kernel);
  app.use(setSecurityHeaders);
  registerHealth(app, kernel);
  registerMetrics(app, kernel);
  registerPlugins(app, kernel);
  registerLogs(app, kernel);
  registerGrants(app, kernel);
  registerTokens(app, kernel);
  const bounds = {
    ...{ perCallerMax: 4, max: 32, retryAfterMs: 1_000 },
    ...{ waitingMax: 1_024, waitMs: 30_000 },
  };
  const jobReads = new ReadSlots({ action: "read jobs", ...bounds });
  registerJobs(app, kernel, jobReads);
  registerJobEvents(app, kernel, readers);
  registerPipelines(app, kernel);
  registerSchedules(app, kernel, jobReads);
  registerAudit(app, kernel, new ReadSlots({ action: "read an audit", ...bounds }));
  registerEvents(app, kernel, readers);
  registerWs(app, kernel, { readers, connections });
  const reads = new ReadSlots({ action: "read the ledger", ...bounds });
  registerLedger(app, kernel, reads);
  registerLedgerKeys(app, kernel);
  registerProofs(app, kernel, reads);
  registerLedgerExport(app, kernel);
  registerCommitments(app, kernel);
  registerLogTiles(app, kernel);
  registerOpenApi(app, kernel);
  registerDocs(app, swaggerUiFolder);
  return app;
}

/** What the routes are matched against. Every name we route by is plain, so an escaped one is not ours. */
function plainPath({ url }: Request): string {
  const path = requestPath(url);
  return path === "" || path.includes("%") ? "*" : path;
}

const routableMethods = ["GET", "POST", "PUT", "DELETE"];

async function answerUnrouted(app: Api, kernel: ApiKernel, c: ApiContext): Promise<Response> {
  const { path, method } = c.req;
  try {
    // The path as it was sent: an escaped one is no route, and still asks for one of ours.
    const pathname = requestPath(c.req.url);
    if (pathname.startsWith("/log/")) admitToLog(kernel, c);
    if (pathname.startsWith("/v1/")) {
      checkReady(kernel);
      c.set("caller", authenticate(kernel, c.req.raw));
    }
  } catch (error) {
    return await answerProblem(kernel, error, c);
  }
  const allowed = routableMethods.filter((routable) =>
    app.router.match(routable, path)[0].some(([[, route]]) => route.method === routable)
  );
  if (allowed.length === 0) {
    return await answerProblem(
      kernel,
      new ProblemError("NOT_FOUND", `Cannot find "${path}": no such address`),
      c,
    );
  }
  if (allowed.includes("GET")) allowed.push("HEAD");
  const problem = new ProblemError(
    "METHOD_NOT_ALLOWED",
    `Cannot ${method} "${path}": it takes ${allowed.join(", ")}`,
  );
  return await answerProblem(kernel, problem, c, { allow: allowed.join(", ") });
}
