/**
 * What the client asks by HTTP, with a `fetch` and a clock of the test's.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import {
  AirlockError,
  ClientClosedError,
  ConnectionLostError,
  ProtocolError,
  RequestTimeoutError,
} from "./client.ts";
import { testingClient, testingJob, testingJobId } from "./testing_socket.ts";

interface Asked {
  readonly url: string;
  readonly init: RequestInit;
}

/** A client whose requests are answered by `answer`, and what it asked. */
function askingClient(answer: (asked: Asked) => Response | Promise<Response>, options = {}) {
  const asked: Asked[] = [];
  const made = testingClient({
    fetch: async (url, init = {}) => {
      asked.push({ url: String(url), init });
      return await answer({ url: String(url), init });
    },
    ...options,
  });
  return { ...made, asked };
}

const json = (value: unknown, init?: ResponseInit) => new Response(JSON.stringify(value), init);

/** Never answers, and rejects with the signal's reason. */
const hanging = ({ init: { signal } }: Asked) =>
  new Promise<Response>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

Deno.test("job(), retry() and pipeline() ask the same Airlock with the token, and give the job", async () => {
  const { client, asked, sockets } = askingClient(() =>
    json({ ...testingJob("completed"), output: 7, more: 1 })
  );
  equal((await client.job(testingJobId)).output, 7);
  await client.retry("../../tokens");
  const request = { steps: [{ id: "a", plugin: "hello", action: "greet" }] };
  equal((await client.pipeline(request)).id, testingJobId);
  deepEqual(asked.map(({ url, init }) => [init.method, url.replace("http://127.0.0.1:8787", "")]), [
    ["GET", `/v1/jobs/${testingJobId}`],
    ["POST", "/v1/jobs/..%2F..%2Ftokens/retry"],
    ["POST", "/v1/pipelines"],
  ]);
  for (const { init } of asked) {
    equal(new Headers(init.headers).get("authorization"), "Bearer airlock_secret");
    deepEqual([init.redirect, init.credentials], ["error", "omit"]);
  }
  deepEqual(asked.map(({ init }) => init.body), [undefined, undefined, JSON.stringify(request)]);
  equal(sockets.length, 0);
});

Deno.test("job() goes to where the WebSocket's address has its root", async () => {
  for (
    const [url, expected] of [
      ["wss://h/airlock/v1/ws", "https://h/airlock"],
      ["http://h:1", "http://h:1"],
    ] as const
  ) {
    const { client, asked } = askingClient(() => json(testingJob("pending")), { url });
    await client.job(testingJobId);
    equal(asked[0]?.url, `${expected}/v1/jobs/${testingJobId}`);
  }
});

Deno.test("job() rejects with Airlock's own error, of a code that it does not know too", async () => {
  const { client } = askingClient(() =>
    json(
      { type: "about:blank", title: "t", status: 503, code: "TOO_GREEDY", detail: "Cannot", more: 1 },
      { status: 503, headers: { "retry-after": "2", "airlock-checkpoint": "bm90ZQ==" } },
    )
  );
  await rejects(client.job(testingJobId), (error: unknown) => {
    if (!(error instanceof AirlockError)) return false;
    const { code, message, retryAfterMs, checkpoint } = error;
    deepEqual([code, message, retryAfterMs, checkpoint], ["TOO_GREEDY", "Cannot", 2_000, "bm90ZQ=="]);
    return true;
  });
});

Deno.test("job() rejects an answer that is no job, or too large", async () => {
  for (const text of ["<html>", "{}", "[]", '{"__proto__":{"id":1}}', `"${"x".repeat(5_000)}"`]) {
    for (const status of [200, 502]) {
      const { client } = askingClient(() => new Response(text, { status }), { messageCharsMax: 5_000 });
      await rejects(client.job(testingJobId), ProtocolError);
    }
  }
});

Deno.test("job() has a deadline, and ends with its signal, its connection and its client", async () => {
  const late = askingClient(hanging);
  const timedOut = rejects(late.client.job(testingJobId, { timeoutMs: 10 }), (error: unknown) => {
    return error instanceof RequestTimeoutError && error.outcome === "unknown";
  });
  await late.clock.pass(10);
  await timedOut;
  const going = new AbortController();
  const aborted = rejects(late.client.job(testingJobId, { signal: going.signal }), /enough/);
  going.abort(new Error("enough"));
  await aborted;
  await rejects(late.client.job(testingJobId, { signal: going.signal }), /enough/);
  const closed = rejects(late.client.job(testingJobId), ClientClosedError);
  await late.client.close();
  await closed;
  await rejects(late.client.job(testingJobId), ClientClosedError);
  deepEqual(late.clock.pendingMs, []);
  const { client } = askingClient(() => Promise.reject(new TypeError("refused")));
  await rejects(client.retry(testingJobId), (error: unknown) => {
    return error instanceof ConnectionLostError && error.outcome === "unknown";
  });
});

Deno.test("job() without a fetch, and a pipeline that is no JSON, are the caller's errors", async () => {
  await rejects(testingClient().client.job(testingJobId), TypeError);
  const { client, asked } = askingClient(() => json({}));
  const steps = [{ id: "a", plugin: "hello", action: "greet", input: 1n }];
  await rejects(client.pipeline({ steps }), TypeError);
  deepEqual(asked, []);
});
