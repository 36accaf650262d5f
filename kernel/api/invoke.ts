/**
 * Invocation: `POST /v1/plugins/{id}/actions/{action}`, answered as JSON or as an event stream.
 *
 * The hottest path of the kernel. So the route is documented like the others but handled by hand: the input
 * is checked to be one JSON value and passed on as the bytes that came, and the output's bytes, which the
 * router has parsed, are set into the answer as they are.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { type Clock, systemClock } from "../../sandbox/clock.ts";
import { invokeResultSchema, progressSchema } from "../../schemas/api.ts";
import { type ProblemCode, problemCodes, ProblemError } from "../../schemas/problem.ts";
import type { Call, CallResult } from "../kernel.ts";
import { authenticate, checkReady, checkRole, tokenStands } from "./authenticate.ts";
import type { Api, ApiContext, ApiKernel, Caller } from "./context.ts";
import { EventStream } from "./event_stream.ts";
import { eventStreamHeaders, keepAliveMs } from "./event_text.ts";
import { checkJsonBytes, readBody } from "./json_body.ts";
import { toProblemError } from "./problems.ts";
import { checkpointMember, largeResultBody, largeResultPieces, resultMembers } from "./result_text.ts";
import { bodyProblems, writeProblems, writtenHeaders } from "./responses.ts";
import { checkpointHeader, requestIdHeader, securityHeaders } from "./security_headers.ts";

const callProblems = problemCodes.filter((code): code is ProblemCode =>
  ![
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "UPGRADE_REQUIRED",
    "TOKEN_NOT_FOUND",
    "ENTRY_NOT_FOUND",
    "GRANT_REFUSED",
    "CONFIG_INVALID",
  ].includes(code)
);

const invokeRoute = createRoute({
  method: "post",
  path: "/v1/plugins/{id}/actions/{action}",
  operationId: "invokeAction",
  tags: ["plugins"],
  summary: "Invoke an action",
  description:
    "Needs the role `invoker`. With `Accept: text/event-stream` the answer is a stream of the events " +
    "`TOKEN` (data: one JSON value) and `PROGRESS`, then `COMPLETE` (data: what the JSON answer would be) or " +
    "`ERROR` (data: the problem), both with the member `checkpoint`: what `Airlock-Checkpoint` would be, since " +
    "a stream's header is sent before its call has ended and covers its beginning only. A call that fails " +
    "before its first event is answered with its problem. No body stands for the input `{}`.",
  security: [{ bearer: [] }],
  request: {
    params: z.object({ id: z.string(), action: z.string() }),
    body: { required: false, content: { "application/json": { schema: z.unknown() } } },
  },
  responses: {
    200: {
      description:
        "The action's output. `inputSha256` covers the bytes of the body, `outputSha256` those of `output`.",
      content: {
        "application/json": { schema: invokeResultSchema.meta({ id: "InvokeResult" }) },
        "text/event-stream": {
          schema: progressSchema.meta({ id: "Progress", description: "Data of PROGRESS" }),
        },
      },
      headers: writtenHeaders,
    },
    ...writeProblems(...bodyProblems, ...callProblems),
  },
});

export function registerInvoke(app: Api, kernel: ApiKernel, clock: Clock = systemClock): void {
  app.openAPIRegistry.registerPath(invokeRoute);
  app.post(invokeRoute.getRoutingPath(), async (c) => {
    checkReady(kernel);
    const { raw } = c.req;
    const caller = authenticate(kernel, raw);
    c.set("caller", caller);
    checkRole(caller, "invoker");
    const input = await readBody(raw, kernel.config.http);
    if (input.length > 0) await checkJsonBytes(input, kernel, raw.signal);
    const call: Call = {
      plugin: c.req.param("id"),
      action: c.req.param("action"),
      input,
      actor: caller.actor,
      request: c.get("requestId"),
      signal: raw.signal,
    };
    c.set("recorded", true);
    return acceptsEventStream(raw.headers.get("accept"))
      ? await answerAsStream(kernel, c, { call, caller, clock })
      : answerAsJson(c, await kernel.router.invoke(call));
  });
}

function acceptsEventStream(accept: string | null): boolean {
  return accept !== null && /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(accept);
}

/** A larger output is sent as it is. */
const stringBytesMax = 262_144;

function answerAsJson(c: ApiContext, result: CallResult): Response {
  if (result.output.length > stringBytesMax) {
    const { body, bytes } = largeResultBody(result);
    const headers = answerHeaders(c, jsonHeaders, result.checkpoint);
    return new Response(body, { headers: { ...headers, "content-length": String(bytes) } });
  }
  // A string, because Deno sends one faster than it sends bytes.
  return new Response(`{${resultMembers(result)}}`, {
    headers: answerHeaders(c, jsonHeaders, result.checkpoint),
  });
}

/** The data of an ERROR: the problem, with one more member at its end. */
function errorText(kernel: ApiKernel, error: unknown): string {
  const problem = JSON.stringify(toProblemError(error).toProblem());
  return `${problem.slice(0, -1)},${checkpointMember(kernel.ledger.checkpointBase64())}}`;
}

/**
 * Until the first event the status is open: a call that fails by then is answered with its problem.
 *
 * The stream's header carries the checkpoint of its beginning, and its last event the one that covers the
 * call's outcome. A caller whose token is revoked meanwhile hears nothing more than that.
 */
async function answerAsStream(
  kernel: ApiKernel,
  c: ApiContext,
  { call, caller, clock }: { call: Call; caller: Caller; clock: Clock },
): Promise<Response> {
  const gone = new AbortController();
  const stands = tokenStands(kernel, c.req.raw, caller);
  const events = new EventStream({
    ...{ keepAliveMs, clock },
    refusal: () => stands() ? undefined : errorText(kernel, revoked()),
    onCancel: () => gone.abort(),
  });
  const settled = kernel.router.invoke({
    ...call,
    // The request's own signal stays silent when the connection breaks in the middle of a write.
    signal: AbortSignal.any([call.signal, gone.signal]),
    sink: {
      token: (json) => events.send("TOKEN", json),
      progress: ({ fraction, note }) => events.sendProgress(JSON.stringify({ fraction, note })),
    },
  }).then((result) => {
    const checkpoint = `,${checkpointMember(result.checkpoint)}`;
    if (result.output.length > stringBytesMax) {
      events.endInPieces("COMPLETE", largeResultPieces(result, checkpoint));
    } else events.end("COMPLETE", `{${resultMembers(result)}${checkpoint}}`);
    return result.checkpoint;
  }).catch((error) => {
    if (events.state === "waiting") {
      events.close();
      throw error;
    }
    events.end("ERROR", errorText(kernel, error));
  });
  const checkpoint = await Promise.race([settled, events.opened]);
  return new Response(events.body, {
    headers: answerHeaders(c, eventStreamHeaders, checkpoint ?? kernel.ledger.checkpointBase64()),
  });
}

function revoked(): ProblemError {
  return new ProblemError("UNAUTHENTICATED", "Cannot go on with the call: the token was revoked");
}

const jsonHeaders = { "content-type": "application/json" };

function answerHeaders(
  c: ApiContext,
  headers: Record<string, string>,
  checkpoint: string,
): Record<string, string> {
  return {
    ...securityHeaders,
    ...headers,
    [requestIdHeader]: c.get("requestId"),
    [checkpointHeader]: checkpoint,
  };
}
