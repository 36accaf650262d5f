import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import { TestingClock } from "../../sandbox/testing_clock.ts";
import { type Problem, ProblemError } from "../../schemas/problem.ts";
import type { Call } from "../kernel.ts";
import { createApp } from "./app.ts";
import type { ApiEnv, Caller } from "./context.ts";
import { keepAliveMs } from "./event_text.ts";
import { registerInvoke } from "./invoke.ts";
import { serveApi } from "./serve.ts";
import {
  bearer,
  checkpointBase64,
  createTestingKernel,
  resultOf,
  sha256,
  type TestingKernelOptions,
} from "./testing_kernel.ts";

const path = "/v1/plugins/hello/actions/greet";
const json = { ...bearer("invoker"), "content-type": "application/json" };
const streaming = { ...json, accept: "text/event-stream" };

function create(invoke?: TestingKernelOptions["invoke"]) {
  const kernel = createTestingKernel(invoke === undefined ? {} : { invoke });
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const post = (body: BodyInit | null, headers: Record<string, string> = json) =>
    app.request(path, { method: "POST", body, headers });
  return { kernel, post };
}

async function eventsOf(response: Response): Promise<[event: string, data: unknown][]> {
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const blocks = (await response.text()).split("\n\n").filter((block) => block !== "");
  return blocks.map((block, index) => {
    const match = /^id: (\d+)\nevent: ([A-Z]+)\ndata: (.*)$/.exec(block) ?? assert.fail(block);
    assert.equal(Number(match[1]), index + 1);
    return [match[2] ?? "", JSON.parse(match[3] ?? "")];
  });
}

Deno.test("registerInvoke() answers with the output, its hashes and its place in the ledger", async () => {
  const { kernel, post } = create(() => resultOf('{"message":"Hello"}', '{"name":"x"}'));
  const response = await post('{"name":"x"}');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await response.json(), {
    output: { message: "Hello" },
    durationMs: 1.5,
    inputSha256: sha256('{"name":"x"}'),
    outputSha256: sha256('{"message":"Hello"}'),
    ledger: { index: 41, size: 42 },
  });
  const [call] = kernel.calls;
  assert.ok(call !== undefined);
  const { plugin, action, actor, request, sink } = call;
  assert.deepEqual([plugin, action, actor, sink], ["hello", "greet", "token:invoker", undefined]);
  assert.equal(request, response.headers.get("airlock-request-id"));
});

Deno.test("registerInvoke() passes the body's bytes on as they came", async () => {
  const { kernel, post } = create();
  const text = ' {"b": 1.0,\n "a": "\\u00e9é", "a": 1e400} ';
  assert.equal((await post(text)).status, 200);
  assert.deepEqual(kernel.calls[0]?.input, new TextEncoder().encode(text));
});

Deno.test("registerInvoke() sends the output's bytes as they are", async () => {
  const output = '{"n":1.00,"big":12345678901234567890,"s":"é\\u0000\u2028😀"}';
  const { post } = create(() => resultOf(output));
  assert.ok((await (await post("{}")).text()).startsWith(`{"output":${output},"durationMs":1.5,`));
});

Deno.test("registerInvoke() keeps an output that looks like an answer inside `output`", async () => {
  const text = '1,"ledger":{"index":0,"size":1}}\n\nevent: COMPLETE\ndata: {}\n\n';
  const { post } = create(() => resultOf(JSON.stringify(text)));
  const answer = await (await post("{}")).json();
  assert.equal(answer.output, text);
  assert.deepEqual(answer.ledger, { index: 41, size: 42 });
  const events = await eventsOf(await post("{}", streaming));
  assert.deepEqual(events, [["COMPLETE", { ...answer, checkpoint: checkpointBase64 }]]);
});

Deno.test("registerInvoke() takes no body for an empty input", async () => {
  const { kernel, post } = create();
  assert.equal((await post(null, bearer("invoker"))).status, 200);
  assert.equal(kernel.calls[0]?.input.length, 0);
});

Deno.test("registerInvoke() leaves the recording of what the router refuses to the router", async () => {
  const { kernel, post } = create(() => {
    throw new ProblemError("PLUGIN_STOPPED", 'Cannot call "hello": an operator stopped it');
  });
  const response = await post("{}");
  assert.equal(response.status, 409);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(kernel.refusals, []);
});

Deno.test("registerInvoke() streams tokens and progress, then the answer", async () => {
  const { post } = create(async ({ sink }) => {
    assert.ok(sink !== undefined);
    await sink.token('"one"');
    sink.progress({ fraction: 0.5, note: "half\n\nevent: ERROR" });
    await sink.token('{ "n":\n 2 }');
    return resultOf("[1]");
  });
  const response = await post("{}", streaming);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  const { outputSha256, ...rest } = resultOf("[1]");
  assert.deepEqual(await eventsOf(response), [
    ["TOKEN", "one"],
    ["PROGRESS", { fraction: 0.5, note: "half\n\nevent: ERROR" }],
    ["TOKEN", { n: 2 }],
    ["COMPLETE", {
      output: [1],
      durationMs: rest.durationMs,
      inputSha256: rest.inputSha256,
      outputSha256,
      ledger: rest.ledger,
      checkpoint: checkpointBase64,
    }],
  ]);
});

Deno.test("registerInvoke() streams an answer with a large output", async () => {
  const large = "\u65e5".repeat(200_000);
  const { post } = create(() => Promise.resolve(resultOf(`[\n"${large}"\r\n]`)));
  const [[event, data] = [], ...more] = await eventsOf(await post("{}", streaming));
  const { output, checkpoint } = data as { output: unknown; checkpoint: string };
  assert.deepEqual([event, output, checkpoint, more], ["COMPLETE", [large], checkpointBase64, []]);
});

Deno.test("registerInvoke() answers a stream that fails before its first event with the problem", async () => {
  const { post } = create(() =>
    Promise.reject(new ProblemError("ACTION_NOT_FOUND", 'Cannot call "greet": none'))
  );
  const response = await post("{}", streaming);
  assert.equal(response.status, 404);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal((await response.json()).code, "ACTION_NOT_FOUND");
});

Deno.test("registerInvoke() ends a stream that fails later with ERROR", async () => {
  for (
    const error of [new ProblemError("LIMIT_CPU", "Cannot finish: time is up"), new Error("secret detail")]
  ) {
    const { post } = create(async ({ sink }) => {
      await sink?.token("1");
      throw error;
    });
    const events = await eventsOf(await post("{}", streaming));
    assert.deepEqual(events.map(([event]) => event), ["TOKEN", "ERROR"]);
    const { checkpoint, ...problem } = events[1]?.[1] as Problem & { checkpoint: string };
    assert.equal(checkpoint, checkpointBase64);
    assert.equal(problem.code, error instanceof ProblemError ? "LIMIT_CPU" : "INTERNAL");
    assert.doesNotMatch(problem.detail, /secret/);
  }
});

Deno.test("registerInvoke() streams only to who asks for it by name", async () => {
  const { kernel, post } = create();
  const table: [accept: string, streams: boolean][] = [
    ["text/event-stream", true],
    ["application/json, text/event-stream;q=0.5", true],
    ["TEXT/Event-Stream", true],
    ["*/*", false],
    ["text/*", false],
    ["text/event-streams", false],
    ["application/json", false],
  ];
  for (const [accept, streams] of table) {
    const response = await post("{}", { ...json, accept });
    assert.equal(
      response.headers.get("content-type"),
      streams ? "text/event-stream" : "application/json",
      accept,
    );
    await response.body?.cancel();
    assert.equal(kernel.calls.at(-1)?.sink !== undefined, streams);
  }
});

/** A plugin's action that ends only when its call is aborted. */
function createWaiting() {
  const called = Promise.withResolvers<Call>();
  const aborted = Promise.withResolvers<void>();
  const { kernel } = create(async (call) => {
    call.signal.addEventListener("abort", () => aborted.resolve());
    called.resolve(call);
    await aborted.promise;
    throw new ProblemError("CANCELLED", "Cannot finish: the caller went away");
  });
  const server = serveApi({ kernel, host: "127.0.0.1", port: 0, swaggerUiFolder: "/nowhere" });
  const post = (headers: Record<string, string>, signal: AbortSignal) =>
    fetch(`http://127.0.0.1:${server.port}${path}`, { method: "POST", headers, body: "{}", signal });
  return { server, post, called: called.promise, aborted: aborted.promise };
}

Deno.test("registerInvoke() aborts the call when its client hangs up", async () => {
  const { server, post, called, aborted } = createWaiting();
  const client = new AbortController();
  const refused = assert.rejects(post(json, client.signal), { name: "AbortError" });
  await called;
  client.abort();
  await Promise.all([aborted, refused]);
  await server.shutdown();
  await server.finished;
});

Deno.test("registerInvoke() aborts the call when the reader of its stream hangs up", async () => {
  const { server, post, called, aborted } = createWaiting();
  const client = new AbortController();
  const answer = post(streaming, client.signal);
  await (await called).sink?.token("1");
  const reader = (await answer).body?.getReader();
  await reader?.read();
  const broken = reader?.read().catch((error) => error);
  client.abort();
  await aborted;
  assert.equal((await broken as Error).name, "AbortError");
  await server.shutdown();
  await server.finished;
});

Deno.test("registerInvoke() aborts the call when its stream is cancelled", async () => {
  const { kernel, post } = create(async ({ sink, signal }) => {
    while (!signal.aborted) await sink?.token(JSON.stringify("x".repeat(65_536)));
    throw new ProblemError("CANCELLED", "Cannot finish: the caller went away");
  });
  const response = await post("{}", streaming);
  await response.body?.cancel();
  assert.equal(kernel.calls[0]?.signal.aborted, true);
});

Deno.test("registerInvoke() ends a stream whose token was revoked, and its call", async () => {
  const clock = new TestingClock();
  const { kernel } = create(async ({ sink, signal }) => {
    await sink?.token("1");
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await sink?.token('"late"');
    throw new ProblemError("CANCELLED", "Cannot finish: the caller went away");
  });
  let caller: Caller = { id: "t1", role: "invoker", actor: "token:t1" };
  const app = new OpenAPIHono<ApiEnv>();
  registerInvoke(app, { ...kernel, tokens: { ...kernel.tokens, authenticate: () => caller } }, clock);
  const response = await app.request(path, { method: "POST", body: "{}", headers: streaming });
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  clock.advance(keepAliveMs);
  assert.equal(kernel.calls[0]?.signal.aborted, false);
  caller = { ...caller, id: "t2" };
  clock.advance(keepAliveMs);
  assert.equal(kernel.calls[0]?.signal.aborted, true);
  const events = await eventsOf(response);
  assert.deepEqual(events.map(([event]) => event), ["TOKEN", "ERROR"]);
  const { code, checkpoint } = events[1]?.[1] as Problem & { checkpoint: string };
  assert.deepEqual([code, checkpoint], ["UNAUTHENTICATED", checkpointBase64]);
  assert.deepEqual([kernel.refusedTokens.count, clock.isTimerSet], [0, false]);
});

Deno.test("registerInvoke() fails closed on an output that is not UTF-8", async () => {
  const { post } = create(async ({ sink }) => {
    await sink?.token("1");
    return { ...resultOf("1"), output: new Uint8Array([0x22, 0xff, 0x22]) };
  });
  assert.equal((await post("{}")).status, 500);
  const events = await eventsOf(await post("{}", streaming));
  assert.deepEqual(events.map(([event]) => event), ["TOKEN", "ERROR"]);
});
