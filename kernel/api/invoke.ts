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
import { invokeResultSchema, progressSchema } from "../../schemas/api.ts";
import { type ProblemCode, problemCodes } from "../../schemas/problem.ts";
import type { Call, CallResult } from "../kernel.ts";
import { authenticate, checkReady, checkRole } from "./authenticate.ts";
import type { Api, ApiContext, ApiKernel } from "./context.ts";
import { EventStream } from "./event_stream.ts";
import { checkJsonBytes, readBody } from "./json_body.ts";
import { toProblemError } from "./problems.ts";
import { bodyProblems, writeProblems, writtenHeaders } from "./responses.ts";
import { checkpointHeader, requestIdHeader, securityHeaders } from "./security_headers.ts";

/** Proxies commonly give up on a connection that was idle for 30 to 60 seconds. */
const keepAliveMs = 15_000;

const callProblems = problemCodes.filter((code): code is ProblemCode =>
  ![
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
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

export function registerInvoke(app: Api, kernel: ApiKernel): void {
  app.openAPIRegistry.registerPath(invokeRoute);
  app.post(invokeRoute.getRoutingPath(), async (c) => {
    checkReady(kernel);
    const { raw } = c.req;
    const caller = authenticate(kernel, raw);
    c.set("caller", caller);
    checkRole(caller, "invoker");
    const input = await readBody(raw, kernel.config.http);
    if (input.length > 0) checkJsonBytes(input);
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
      ? await answerAsStream(kernel, c, call)
      : answerAsJson(c, await kernel.router.invoke(call));
  });
}

function acceptsEventStream(accept: string | null): boolean {
  return accept !== null && /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(accept);
}

// Fatal, and nothing stripped: what it decodes is sent as the very bytes that `outputSha256` covers.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function answerAsJson(c: ApiContext, result: CallResult): Response {
  return new Response(resultText(result), {
    headers: answerHeaders(c, "application/json", result.checkpoint),
  });
}

/** The answer, output set in as it is. A string, because Deno sends one faster than it sends bytes. */
function resultText({ output, durationMs, inputSha256, outputSha256, ledger }: CallResult): string {
  return `{"output":${utf8.decode(output)},"durationMs":${durationMs},"inputSha256":"${inputSha256}",` +
    `"outputSha256":"${outputSha256}","ledger":{"index":${ledger.index},"size":${ledger.size}}}`;
}

/** `json`, the text of an object, with one more member at its end. */
function withCheckpoint(json: string, checkpoint: string): string {
  return `${json.slice(0, -1)},"checkpoint":"${checkpoint}"}`;
}

/**
 * Until the first event the status is open: a call that fails by then is answered with its problem.
 *
 * The stream's header carries the checkpoint of its beginning, and its last event the one that covers the
 * call's outcome.
 */
async function answerAsStream(kernel: ApiKernel, c: ApiContext, call: Call): Promise<Response> {
  const gone = new AbortController();
  const events = new EventStream({ keepAliveMs, onCancel: () => gone.abort() });
  const settled = kernel.router.invoke({
    ...call,
    // The request's own signal stays silent when the connection breaks in the middle of a write.
    signal: AbortSignal.any([call.signal, gone.signal]),
    sink: {
      token: (json) => events.send("TOKEN", json),
      progress: ({ fraction, note }) => events.sendProgress(JSON.stringify({ fraction, note })),
    },
  }).then((result) => {
    events.end("COMPLETE", withCheckpoint(resultText(result), result.checkpoint));
    return result.checkpoint;
  }).catch((error) => {
    if (events.state === "waiting") {
      events.close();
      throw error;
    }
    const problem = JSON.stringify(toProblemError(error).toProblem());
    events.end("ERROR", withCheckpoint(problem, kernel.ledger.checkpointBase64()));
  });
  const checkpoint = await Promise.race([settled, events.opened]);
  return new Response(events.body, {
    headers: answerHeaders(c, "text/event-stream", checkpoint ?? kernel.ledger.checkpointBase64()),
  });
}

function answerHeaders(c: ApiContext, contentType: string, checkpoint: string): Record<string, string> {
  return {
    ...securityHeaders,
    "content-type": contentType,
    [requestIdHeader]: c.get("requestId"),
    [checkpointHeader]: checkpoint,
  };
}
