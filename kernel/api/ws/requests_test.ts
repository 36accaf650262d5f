import assert from "node:assert/strict";
import { ProblemError } from "../../../schemas/problem.ts";
import { jobIds } from "../testing_jobs.ts";
import { createTestingKernel, resultOf } from "../testing_kernel.ts";
import { Requests, waitingCharsFull } from "./requests.ts";
import { serveWs } from "./testing_client.ts";

const invoke = (id: string) => ({
  type: "INVOKE",
  id,
  payload: { plugin: "hello", action: "greet", stream: true },
});

Deno.test("Requests ends a subscription that is cancelled, and lets go of its cursor", async () => {
  const disposed = Promise.withResolvers<void>();
  await using server = serveWs({
    jobs: {
      watch: () => ({
        read: () => [],
        isEnded: false,
        changed: (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
        [Symbol.dispose]: () => disposed.resolve(),
      }),
    },
  });
  await using client = await server.ready("viewer");
  client.send({ type: "SUBSCRIBE", id: "1", payload: { job: jobIds.own } });
  await client.expect("RESULT");
  client.send({ type: "CANCEL", id: "2", payload: { request: "1" } });
  const answers = [await client.next(), await client.next()].map(({ type, id }) => `${type} ${id}`).sort();
  assert.deepEqual(answers, ["ERROR 1", "RESULT 2"]);
  await disposed.promise;
});

Deno.test("Requests tells a role that reads everything, and records a subscription that is refused", async () => {
  const watch = () => {
    throw new ProblemError("FORBIDDEN", "Cannot watch job: it is another's");
  };
  await using server = serveWs({ jobs: { watch } });
  await using client = await server.ready("operator");
  client.send({ type: "SUBSCRIBE", id: "1", payload: { job: jobIds.other, after: 7 } });
  const { payload } = await client.expectError("FORBIDDEN", "1");
  assert.equal(payload.checkpoint, undefined);
  assert.deepEqual(server.kernel.jobs.asked, [
    ["watch", jobIds.other, 7, { actor: "token:operator", readsAll: true }],
  ]);
  assert.deepEqual(server.kernel.refusals.map(({ code, target }) => [code, target]), [
    ["FORBIDDEN", `WS SUBSCRIBE ${jobIds.other}`],
  ]);
});

Deno.test("Requests does not tell of a refusal that could not be recorded", async () => {
  const kernel = createTestingKernel();
  const refuse = () =>
    Promise.reject(new ProblemError("QUEUE_FULL", "Cannot append: the ledger's queue is full"));
  await using server = serveWs({ kernel: { ...kernel, refuse } });
  await using client = await server.ready("viewer");
  client.send(invoke("1"));
  await client.expectError("QUEUE_FULL", "1");
});

Deno.test("Requests tells a slow reader the latest progress only, before what came of the call", async () => {
  await using server = serveWs({
    config: { streams: { readerBytesMax: 100 } },
    invoke: async ({ sink }) => {
      const token = sink?.token(JSON.stringify("x".repeat(1_000)));
      for (let step = 1; step <= 100; step++) sink?.progress({ fraction: step / 100, note: `${step}` });
      await token;
      return resultOf("1");
    },
  });
  await using client = await server.ready();
  client.send(invoke("1"));
  await client.expect("TOKEN");
  assert.deepEqual((await client.expect("PROGRESS")).payload, { fraction: 1, note: "100" });
  await client.expect("COMPLETE");
});

Deno.test("Requests gives an id free with its answer", async () => {
  await using server = serveWs();
  await using client = await server.ready();
  for (let round = 0; round < 100; round++) {
    client.send(invoke("same"));
    await client.expect("COMPLETE");
  }
  assert.equal(new Set(server.kernel.calls.map(({ request }) => request)).size, 100);
});

Deno.test("Requests begins none while much waits for the client, and cancels all the same", async () => {
  const kernel = createTestingKernel();
  const texts: string[] = [];
  const outbox = {
    waitingChars: waitingCharsFull,
    send: (text: string) => Promise.resolve(outbox.post(text)),
    take: () => Promise.resolve(),
    post: (text: string) => void texts.push(text),
  };
  const authenticate = () => ({ id: "t1", role: "invoker" as const, actor: "token:invoker" });
  const requests = new Requests({ kernel, outbox, authenticate, revoked: () => assert.fail("revoked") });
  const payload = { plugin: "hello", action: "greet", input: {}, stream: false };
  requests.begin({ type: "INVOKE", id: "1", payload });
  requests.begin({ type: "CANCEL", id: "2", payload: { request: "0" } });
  await requests.abort();
  assert.deepEqual(texts.map((text) => JSON.parse(text).payload.code).sort(), ["NOT_FOUND", "QUEUE_FULL"]);
  outbox.waitingChars -= 1;
  requests.begin({ type: "INVOKE", id: "1", payload });
  await requests.abort();
  assert.equal(JSON.parse(texts.at(-1) ?? "").type, "RESULT");
  assert.equal(kernel.calls.length, 1);
});
