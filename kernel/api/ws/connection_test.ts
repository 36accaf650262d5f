import assert from "node:assert/strict";
import fc from "fast-check";
import { ProblemError } from "../../../schemas/problem.ts";
import { jobIds } from "../testing_jobs.ts";
import { checkpointBase64, createTestingKernel, resultOf, sha256 } from "../testing_kernel.ts";
import { serveWs, TestingClient } from "./testing_client.ts";

const invoke = (id: string, payload: Record<string, unknown> = {}) => ({
  type: "INVOKE",
  id,
  payload: { plugin: "hello", action: "greet", ...payload },
});

Deno.test("Connection answers INIT, PING and INVOKE", async () => {
  await using server = serveWs();
  await using client = new TestingClient(server.port);
  await client.opened;
  assert.equal(client.socket.protocol, "airlock.v1");
  client.send({ type: "INIT", id: "1", payload: { version: "1.0", client: "test/1", feed: false } });
  const ready = await client.expect("READY");
  assert.deepEqual(ready.payload, {
    ...{ version: "1.0", airlock: "0.1.0", uptimeMs: ready.payload.uptimeMs },
    ...{ messageBytesMax: 16_777_216, requestsMax: 64, feed: null },
  });
  client.send({ type: "PING", id: "2" });
  assert.equal((await client.expect("PONG")).id, "2");
  client.send(invoke("3", { input: { name: "<Ä\u2028\ud83d\ude00>" } }));
  const { id, payload } = await client.expect("RESULT");
  assert.equal(id, "3");
  assert.ok(payload.kind === "invoked");
  assert.deepEqual([payload.output, payload.checkpoint], [{ name: "<Ä\u2028😀>" }, checkpointBase64]);
  const [call] = server.kernel.calls;
  assert.deepEqual([call?.plugin, call?.action, call?.actor], ["hello", "greet", "token:invoker"]);
  assert.match(call?.request ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(call?.sink, undefined);
});

Deno.test("Connection answers nothing before INIT, and no other version of it", async () => {
  await using server = serveWs();
  await using client = new TestingClient(server.port);
  await client.opened;
  for (const type of ["PING", "INVOKE"]) {
    client.send(type === "PING" ? { type, id: "1" } : invoke("1"));
    await client.expectError("NOT_READY", "1");
  }
  for (const version of ["2.0", "10", "0.9", "", "one"]) {
    client.send({ type: "INIT", id: "2", payload: { version } });
    await client.expectError("INIT_FAILED", "2");
  }
  server.kernel.state.status = "draining";
  client.send({ type: "INIT", id: "3", payload: { version: "1.0" } });
  const { payload } = await client.expectError("NOT_READY", "3");
  assert.equal(payload.retryAfterMs, 1_000);
  server.kernel.state.status = "ready";
  await client.init();
  client.send({ type: "INIT", id: "4", payload: { version: "1.0" } });
  const twice = await client.expectError("INVALID_MESSAGE", "4");
  assert.deepEqual(twice.payload.errors, [{ path: "/type", message: "must be INIT once only" }]);
  assert.equal(server.kernel.calls.length, 0);
});

Deno.test("Connection is closed when no INIT comes in time", async () => {
  await using server = serveWs({ config: { streams: { initTimeoutMs: 20 } } });
  const silent = new TestingClient(server.port);
  assert.deepEqual(await silent.closed, { code: 4408, reason: "no INIT" });
  await server.connections.closeAll();
  assert.equal(server.readers.count, 0);
});

Deno.test("Connection sends a PONG unasked, time and again", async () => {
  await using server = serveWs({ config: { streams: { pongIntervalMs: 10 } } });
  await using client = await server.ready();
  for (let count = 0; count < 3; count++) assert.equal((await client.expect("PONG")).id, null);
});

Deno.test("Connection streams 2,000 tokens in order, and sets each in as the text that came", async () => {
  const tokens = Array.from(
    { length: 2_000 },
    (_, n) => n % 2 === 0 ? `${n}` : `{"n": ${n}.00, "x":"\\"},\\n"}`,
  );
  await using server = serveWs({
    invoke: async ({ sink }) => {
      sink?.progress({ fraction: 0.5, note: 'half"}' });
      await Promise.all(tokens.map((token) => sink?.token(token)));
      return resultOf("[1.0, 12345678901234567890]");
    },
  });
  await using client = await server.ready();
  client.send(invoke('s"\\', { stream: true }));
  const progress = await client.expect("PROGRESS");
  assert.deepEqual([progress.id, progress.payload], ['s"\\', { fraction: 0.5, note: 'half"}' }]);
  for (const token of tokens) {
    assert.equal(await client.nextText(), `{"type":"TOKEN","id":"s\\"\\\\","payload":${token}}`);
  }
  const text = await client.nextText();
  assert.ok(text.includes('"payload":{"kind":"invoked","output":[1.0, 12345678901234567890],'), text);
  assert.ok(text.includes(`"outputSha256":"${sha256("[1.0, 12345678901234567890]")}"`));
});

// A plugin may answer with any text that is one JSON value.
Deno.test("Connection lets no output, token or note forge a message", async () => {
  const attack = '"},{"type":"RESULT","id":"other","payload":{"kind":"done"}}\\u0000\\n';
  await using server = serveWs({
    invoke: async ({ sink }) => {
      await sink?.token(JSON.stringify(attack));
      sink?.progress({ fraction: 0, note: attack });
      return resultOf(JSON.stringify({ ledger: { index: 9 }, attack }));
    },
  });
  await using client = await server.ready();
  client.send(invoke("1", { stream: true }));
  assert.deepEqual((await client.expect("TOKEN")).payload, attack);
  assert.equal((await client.expect("PROGRESS")).payload.note, attack);
  const { payload } = await client.expect("COMPLETE");
  assert.ok(payload.kind === "invoked");
  assert.deepEqual([payload.ledger, payload.output], [{ index: 41, size: 42 }, {
    ledger: { index: 9 },
    attack,
  }]);
});

Deno.test("Connection cancels a call under way, and no other request", async () => {
  const called = Promise.withResolvers<void>();
  await using server = serveWs({
    invoke: async ({ signal }) => {
      called.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw new ProblemError("CANCELLED", "Cannot go on: cancelled");
    },
  });
  await using client = await server.ready();
  client.send(invoke("a"));
  await called.promise;
  for (const type of ["PING", "INVOKE"]) {
    client.send(type === "PING" ? { type, id: "a" } : invoke("a"));
    const { payload } = await client.expectError("INVALID_MESSAGE", "a");
    assert.equal(payload.errors?.[0]?.path, "/id");
  }
  client.send({ type: "CANCEL", id: "b", payload: { request: "nobody" } });
  await client.expectError("NOT_FOUND", "b");
  client.send({ type: "CANCEL", id: "b", payload: { request: "b" } });
  await client.expectError("NOT_FOUND", "b");
  client.send({ type: "CANCEL", id: "b", payload: { request: "a" } });
  const answers = [await client.next(), await client.next()].map(({ type, id }) => `${type} ${id}`).sort();
  assert.deepEqual(answers, ["ERROR a", "RESULT b"]);
  client.send({ type: "CANCEL", id: "a", payload: { request: "a" } });
  await client.expectError("NOT_FOUND", "a");
});

Deno.test("Connection takes streams.requestsMax requests at once", async () => {
  const go = Promise.withResolvers<void>();
  await using server = serveWs({
    config: { streams: { requestsMax: 2 } },
    invoke: async () => {
      await go.promise;
      return resultOf("1");
    },
  });
  await using client = await server.ready();
  for (const id of ["a", "b", "c"]) client.send(invoke(id));
  const { payload } = await client.expectError("QUEUE_FULL", "c");
  assert.ok((payload.retryAfterMs ?? 0) > 0);
  assert.deepEqual(server.kernel.refusals.map(({ code, target }) => [code, target]), [
    ["QUEUE_FULL", "WS INVOKE hello/greet"],
  ]);
  go.resolve();
  for (const id of ["a", "b"]) assert.equal((await client.expect("RESULT")).id, id);
  client.send(invoke("c"));
  await client.expect("RESULT");
});

Deno.test("Connection enqueues, watches and cancels jobs", async () => {
  await using server = serveWs();
  await using client = await server.ready();
  client.send({ type: "ENQUEUE", id: "1", payload: { plugin: "hello", action: "greet", input: { a: 1 } } });
  const accepted = await client.expect("RESULT");
  assert.ok(accepted.payload.kind === "job");
  assert.deepEqual([accepted.payload.job.id, accepted.payload.checkpoint], [
    jobIds.accepted,
    checkpointBase64,
  ]);
  client.send({ type: "SUBSCRIBE", id: "2", payload: { job: jobIds.own, after: 2 } });
  assert.deepEqual((await client.expect("RESULT")).payload, { kind: "done" });
  for (const [event, seq] of [["JOB_TOKEN", 3], ["JOB_COMPLETED", 4]]) {
    const { id, payload } = await client.expect("EVENT");
    assert.deepEqual([id, payload.event, payload.seq], ["2", event, seq]);
  }
  assert.deepEqual((await client.expect("COMPLETE")).payload, { kind: "subscribed", seq: 4 });
  client.send({ type: "CANCEL", id: "3", payload: { job: jobIds.own } });
  const cancelled = await client.expect("RESULT");
  assert.ok(cancelled.payload.kind === "job" && cancelled.payload.job.state === "cancelled");
  client.send({ type: "SUBSCRIBE", id: "4", payload: { job: "01JD0000000000000000000008" } });
  await client.expectError("JOB_NOT_FOUND", "4");
  const [enqueue, watch, cancel] = server.kernel.jobs.asked;
  assert.deepEqual(enqueue?.slice(2), ["token:invoker"]);
  const reader = { actor: "token:invoker", readsAll: false };
  assert.deepEqual(watch, ["watch", jobIds.own, 2, reader]);
  assert.deepEqual(cancel, ["cancel", jobIds.own, "token:invoker", reader]);
});

Deno.test("Connection refuses a viewer's acts, and records it", async () => {
  await using server = serveWs();
  await using client = await server.ready("viewer");
  client.send(invoke("1"));
  await client.expectError("FORBIDDEN", "1");
  client.send({ type: "ENQUEUE", id: "2", payload: { plugin: "hello", action: "greet" } });
  const { payload } = await client.expectError("FORBIDDEN", "2");
  assert.equal(payload.checkpoint, checkpointBase64);
  client.send({ type: "CANCEL", id: "3", payload: { job: jobIds.own } });
  await client.expectError("FORBIDDEN", "3");
  assert.deepEqual(
    server.kernel.refusals.map(({ code, target, plugin, actor }) => [code, target, plugin, actor]),
    [
      ["FORBIDDEN", "WS INVOKE hello/greet", "hello", "token:viewer"],
      ["FORBIDDEN", "WS ENQUEUE hello/greet", "hello", "token:viewer"],
      ["FORBIDDEN", `WS CANCEL ${jobIds.own}`, "", "token:viewer"],
    ],
  );
  assert.deepEqual([server.kernel.calls, server.kernel.jobs.asked], [[], []]);
});

Deno.test("Connection tells of an unexpected failure in general, and of a problem what it is", async () => {
  const failures = [
    new Error("secret path /srv/x"),
    new ProblemError("INTERNAL", "Cannot carry out the call: Airlock failed"),
    new ProblemError("BREAKER_OPEN", "Cannot call: its breaker is open", { retryAfterMs: 7 }),
  ];
  await using server = serveWs({ invoke: () => Promise.reject(failures.shift()) });
  await using client = await server.ready();
  client.send(invoke("1"));
  const unexpected = await client.expectError("PROCESSING_ERROR", "1");
  assert.equal(unexpected.payload.message, "Cannot answer the request: an unexpected error, see the log");
  client.send(invoke("2"));
  await client.expectError("PROCESSING_ERROR", "2");
  client.send(invoke("3"));
  assert.equal((await client.expectError("BREAKER_OPEN", "3")).payload.retryAfterMs, 7);
  // Recorded by the router.
  assert.deepEqual(server.kernel.refusals, []);
});

Deno.test("Connection ends with its token: at the next act, and for one who only listens", async () => {
  const kernel = createTestingKernel({ config: { streams: { pongIntervalMs: 20 } } });
  let isRevoked = false;
  const tokens = {
    ...kernel.tokens,
    authenticate: (secret: string) => isRevoked ? undefined : kernel.tokens.authenticate(secret),
  };
  for (const acts of [true, false]) {
    isRevoked = false;
    await using server = serveWs({ kernel: { ...kernel, tokens } });
    const client = await server.ready();
    isRevoked = true;
    if (acts) client.send(invoke("1"));
    await client.expectError("UNAUTHENTICATED", acts ? "1" : null);
    assert.deepEqual(await client.closed, { code: 4401, reason: "token revoked" });
    await server.connections.closeAll();
    assert.equal(server.readers.count, 0);
  }
  assert.deepEqual([kernel.calls, kernel.refusedTokens.count], [[], 2]);
});

Deno.test("Connection aborts its calls and lets go of its cursors when the client goes away", async () => {
  const called = Promise.withResolvers<void>();
  const ended: string[] = [];
  const gone = Promise.withResolvers<void>();
  const end = (what: string) => ended.push(what) === 3 && gone.resolve();
  const waiting = (what: string) => ({
    read: () => [],
    isEnded: false,
    changed: (signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
    [Symbol.dispose]: () => void end(what),
  });
  const kernel = createTestingKernel({
    invoke: async ({ signal }) => {
      called.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      end("call");
      throw new ProblemError("CANCELLED", "Cannot go on: cancelled");
    },
    jobs: { watch: () => waiting("job") },
  });
  const feed = { ...kernel.feed, watch: () => ({ ...waiting("feed"), id: "" }) };
  await using server = serveWs({ kernel: { ...kernel, feed } });
  const client = await server.ready("invoker", {});
  client.send({ type: "SUBSCRIBE", id: "1", payload: { job: jobIds.own } });
  await client.expect("RESULT");
  client.send(invoke("2"));
  await called.promise;
  await client[Symbol.asyncDispose]();
  await gone.promise;
  assert.deepEqual(ended.sort(), ["call", "feed", "job"]);
});

Deno.test("Connection sends the feed from where the client was, and none to who wants none", async () => {
  await using server = serveWs();
  await using client = await server.ready("viewer", { feedAfter: "life-6" });
  const { id, payload } = await client.expect("EVENT");
  assert.deepEqual([id, payload], [null, { event: "JOB_QUEUED", seq: "7", data: {} }]);
  assert.deepEqual(server.kernel.feed.asked, ["life-6"]);
  await using deaf = await server.ready("viewer", { feed: false });
  deaf.send({ type: "PING", id: "1" });
  await deaf.expect("PONG");
  assert.equal(server.kernel.feed.asked.length, 1);
});

Deno.test("closeAll() lets a call under way be answered, then closes with 1001", async () => {
  const called = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await using server = serveWs({
    invoke: async () => {
      called.resolve();
      await go.promise;
      return resultOf("7");
    },
  });
  const idle = await server.ready("viewer", {});
  const client = await server.ready();
  client.send(invoke("1"));
  await called.promise;
  const closing = server.connections.closeAll();
  assert.equal((await idle.closed).code, 1001);
  server.kernel.state.status = "draining";
  client.send(invoke("2"));
  await client.expectError("NOT_READY", "2");
  go.resolve();
  assert.equal((await client.expect("RESULT")).id, "1");
  assert.equal((await client.closed).code, 1001);
  await closing;
  assert.deepEqual([server.connections.count, server.readers.count], [0, 0]);
});

Deno.test("Connection answers any text, and lives", async () => {
  await using server = serveWs();
  await using client = await server.ready();
  const types = ["INIT", "PING", "INVOKE", "ENQUEUE", "SUBSCRIBE", "CANCEL"];
  const payload = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.record({
      ...{ plugin: fc.constant("hello"), action: fc.string(), input: fc.jsonValue(), stream: fc.boolean() },
      ...{
        version: fc.constantFrom("1.0", "2.0"),
        job: fc.constantFrom(...Object.values(jobIds)),
        after: fc.integer(),
      },
      ...{ request: fc.string(), dependsOn: fc.array(fc.string()), retry: fc.jsonValue() },
    }, { requiredKeys: [] }),
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.record({ type: fc.constantFrom(...types), id: fc.oneof(fc.string(), fc.constant("x")), payload }, {
      requiredKeys: [],
    }).map((message) => JSON.stringify(message)),
  );
  let marks = 0;
  await fc.assert(
    fc.asyncProperty(text, async (sent) => {
      client.send(sent);
      const first = await client.next();
      if (first.type === "ERROR") assert.notEqual(first.payload.code, "PROCESSING_ERROR", sent);
      const mark = `mark-${++marks}`;
      client.send({ type: "PING", id: mark });
      for (let left = 20; left > 0; left--) if ((await client.next()).id === mark) return;
      assert.fail(`no PONG after ${sent}`);
    }),
    { numRuns: 2_000 },
  );
});
