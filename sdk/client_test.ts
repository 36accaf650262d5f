/**
 * A client's requests under a clock of the test's: answers, deadlines, cancelling, slow readers, lost connections.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import {
  AirlockError,
  BufferOverflowError,
  ConnectionLostError,
  JobFailedError,
  MessageTooLargeError,
  RequestTimeoutError,
  TooManyRequestsError,
} from "./client.ts";
import { settle, testingClient, testingInvoked, testingJob, testingJobId } from "./testing_socket.ts";

type Options = NonNullable<Parameters<typeof testingClient>[0]>;

/** A client that is READY. */
async function readyClient(options: Options = {}) {
  const made = testingClient(options);
  const connected = made.client.connect();
  made.socket().makeReady();
  await connected;
  const cut = async () => {
    made.socket().emit("close", { code: 1_006 });
    await settle();
    await made.clock.pass(250);
  };
  return { ...made, cut };
}

const jobEvent = (seq: number, event = "JOB_TOKEN", data: unknown = `t${seq}`) => ({ event, seq, data });
const enqueued = { kind: "job", job: testingJob("pending"), checkpoint: "" };

Deno.test("invoke() rejects with Airlock's own error, faults and pause included", async () => {
  const { client, socket } = await readyClient();
  const errors = [{ path: "/n", message: "must be a number" }];
  const invoked = rejects(client.invoke("hello", "greet", { n: "x" }), (error: unknown) => {
    ok(error instanceof AirlockError);
    deepEqual([error.code, error.errors, error.retryAfterMs], ["INPUT_INVALID", errors, 5]);
    return true;
  });
  const { id, payload } = socket().last("INVOKE");
  deepEqual([payload.plugin, payload.action, payload.input, payload.stream], [
    "hello",
    "greet",
    { n: "x" },
    false,
  ]);
  socket().receive("ERROR", id, { code: "INPUT_INVALID", message: "Cannot", errors, retryAfterMs: 5 });
  await invoked;
});

Deno.test("invoke() gives what parse makes of the output, and rejects with what it throws", async () => {
  const { client, socket } = await readyClient();
  const answer = () =>
    socket().receive("RESULT", socket().last("INVOKE").id, { kind: "invoked", ...testingInvoked });
  const parsed = client.invoke("hello", "greet", {}, { parse: (output) => JSON.stringify(output) });
  answer();
  equal((await parsed).output, '{"n":1}');
  const refused = client.invoke("hello", "greet", {}, {
    parse: () => {
      throw new RangeError("not this");
    },
  });
  answer();
  await rejects(refused, RangeError);
});

Deno.test("invoke() times out after 30 s, cancels the call and ignores the late answer", async () => {
  const { client, clock, socket } = await readyClient({ pongIntervalMs: 60_000 });
  const late = rejects(client.invoke("hello", "greet"), (error: unknown) => {
    return error instanceof RequestTimeoutError && error.outcome === "unknown";
  });
  const { id } = socket().last("INVOKE");
  await clock.pass(29_999);
  deepEqual(socket().sent.filter(({ type }) => type === "CANCEL"), []);
  await clock.pass(1);
  await late;
  deepEqual(socket().last("CANCEL").payload, { request: id });
  socket().receive("ERROR", id, { code: "CANCELLED", message: "cancelled" });
  socket().receive("RESULT", socket().last("CANCEL").id, { kind: "done" });
  equal(client.state, "READY");
});

Deno.test("invoke() with a signal is cancelled at once and rejects with its reason", async () => {
  const { client, socket } = await readyClient();
  const going = new AbortController();
  const invoked = rejects(client.invoke("hello", "greet", {}, { signal: going.signal }), /enough/);
  going.abort(new Error("enough"));
  await invoked;
  deepEqual(socket().last("CANCEL").payload, { request: socket().last("INVOKE").id });
  const sent = socket().sent.length;
  await rejects(
    client.invoke("hello", "greet", {}, { signal: AbortSignal.abort(new Error("before")) }),
    /before/,
  );
  equal(socket().sent.length, sent);
});

Deno.test("invoke() under way when the connection is lost says that its outcome is unknown, and is not sent again", async () => {
  const { client, socket, cut } = await readyClient();
  const lost = rejects(client.invoke("hello", "greet"), (error: unknown) => {
    return error instanceof ConnectionLostError && error.outcome === "unknown" &&
      /unknown/.test(error.message);
  });
  await cut();
  await lost;
  socket().makeReady();
  deepEqual(socket().sent.map(({ type }) => type), ["INIT"]);
});

Deno.test("enqueue() makes up a key and is sent again under it after a lost connection", async () => {
  const { client, socket, cut } = await readyClient();
  const job = client.enqueue({ plugin: "hello", action: "greet" });
  const first = socket().last("ENQUEUE").payload.idempotencyKey;
  ok(first !== null && first.length >= 32);
  await cut();
  socket().makeReady();
  equal(socket().last("ENQUEUE").payload.idempotencyKey, first);
  socket().receive("RESULT", socket().last("ENQUEUE").id, enqueued);
  equal((await job).id, testingJobId);
});

Deno.test("enqueue() without a key is not sent again", async () => {
  const { client, cut } = await readyClient();
  const lost = rejects(
    client.enqueue({ plugin: "hello", action: "greet", idempotencyKey: null }),
    ConnectionLostError,
  );
  await cut();
  await lost;
});

Deno.test("a request that is too large, or one too many, is refused before it is sent", async () => {
  const { client, socket } = testingClient();
  const connected = client.connect();
  socket().makeReady({ messageBytesMax: 1_000, requestsMax: 1_024 });
  await connected;
  await rejects(client.invoke("hello", "greet", "ü".repeat(500)), MessageTooLargeError);
  await rejects(client.watch("x".repeat(1_000)).next(), MessageTooLargeError);
  await rejects(client.invoke("hello", "greet", 1n), TypeError);
  equal(client.state, "READY");
  const pending = Array.from({ length: 1_024 }, () => client.invoke("hello", "greet"));
  const ends = Promise.allSettled(pending);
  await rejects(client.invoke("hello", "greet"), TooManyRequestsError);
  const closed = client.close();
  socket().emit("close");
  await Promise.all([ends, closed]);
});

Deno.test("stream() yields tokens and progress, and its result", async () => {
  const { client, socket } = await readyClient();
  const progress: unknown[] = [];
  const stream = client.stream("ngram", "infer", {}, { onProgress: (told) => progress.push(told) });
  const { id } = socket().last("INVOKE");
  socket().receive("TOKEN", id, "a");
  socket().receive("PROGRESS", id, { fraction: 0.5, note: "half" });
  socket().receive("TOKEN", id, null);
  socket().receive("COMPLETE", id, { kind: "invoked", ...testingInvoked });
  const tokens: unknown[] = [];
  for await (const token of stream) tokens.push(token);
  deepEqual([tokens, progress], [["a", null], [{ fraction: 0.5, note: "half" }]]);
  deepEqual((await stream.result).output, { n: 1 });
});

Deno.test("stream() read too slowly is cancelled, and fails after what waited", async () => {
  const { client, socket } = await readyClient({ bufferItemsMax: 3 });
  const stream = client.stream("ngram", "infer");
  const { id } = socket().last("INVOKE");
  for (let token = 0; token < 1_000; token++) socket().receive("TOKEN", id, token);
  deepEqual(socket().last("CANCEL").payload, { request: id });
  const tokens: unknown[] = [];
  await rejects(async () => {
    for await (const token of stream) tokens.push(token);
  }, BufferOverflowError);
  deepEqual(tokens, [0, 1, 2]);
  await rejects(stream.result, BufferOverflowError);
});

Deno.test("stream() fails with its connection, and is cancelled when its reader stops or its signal aborts", async () => {
  const { client, socket, cut } = await readyClient();
  const stopped = client.stream("ngram", "infer");
  const { id } = socket().last("INVOKE");
  socket().receive("TOKEN", id, "a");
  for await (const token of stopped) if (token === "a") break;
  deepEqual(socket().last("CANCEL").payload, { request: id });
  const going = new AbortController();
  const aborted = client.stream("ngram", "infer", {}, { signal: going.signal });
  const next = rejects(aborted[Symbol.asyncIterator]().next(), /enough/);
  going.abort(new Error("enough"));
  await next;
  deepEqual(socket().last("CANCEL").payload, { request: socket().last("INVOKE").id });
  const lost = client.stream("ngram", "infer");
  await cut();
  await rejects(lost[Symbol.asyncIterator]().next(), ConnectionLostError);
});

Deno.test("watch() resumes after the last seq and drops what it has", async () => {
  const { client, socket, cut } = await readyClient();
  const events = client.watch(testingJobId, { after: 4 });
  const first = events.next();
  await settle();
  deepEqual(socket().last("SUBSCRIBE").payload, { job: testingJobId, after: 4 });
  const { id } = socket().last("SUBSCRIBE");
  socket().receive("RESULT", id, { kind: "done" });
  for (const seq of [3, 5, 5, 7]) socket().receive("EVENT", id, jobEvent(seq));
  await cut();
  socket().makeReady();
  equal(socket().last("SUBSCRIBE").payload.after, 7);
  const again = socket().last("SUBSCRIBE").id;
  for (const seq of [6, 7, 8]) socket().receive("EVENT", again, jobEvent(seq));
  socket().receive("COMPLETE", again, { kind: "subscribed", seq: 8 });
  const seqs = [(await first).value?.seq];
  for await (const { seq } of events) seqs.push(seq);
  deepEqual(seqs, [5, 7, 8]);
});

Deno.test("watch() read slowly ends its subscription, and makes it again after the last event it has", async () => {
  const { client, socket } = await readyClient({ bufferItemsMax: 2 });
  const events = client.watch(testingJobId);
  const first = events.next();
  await settle();
  const { id } = socket().last("SUBSCRIBE");
  for (let seq = 1; seq <= 100; seq++) socket().receive("EVENT", id, jobEvent(seq));
  deepEqual(socket().last("CANCEL").payload, { request: id });
  socket().receive("ERROR", id, { code: "CANCELLED", message: "cancelled" });
  const seqs = [(await first).value?.seq, (await events.next()).value?.seq];
  equal(socket().sent.filter(({ type }) => type === "SUBSCRIBE").length, 1);
  const third = events.next();
  await settle();
  const { id: again, payload } = socket().last("SUBSCRIBE");
  equal(payload.after, 2);
  socket().receive("EVENT", again, jobEvent(3));
  deepEqual([...seqs, (await third).value?.seq], [1, 2, 3]);
  await events.return();
  deepEqual(socket().last("CANCEL").payload, { request: again });
});

Deno.test("watch() of a job that may not be read throws, and a signal ends it", async () => {
  const { client, socket } = await readyClient();
  const refused = rejects(client.watch(testingJobId).next(), (error: unknown) => {
    return error instanceof AirlockError && error.code === "JOB_NOT_FOUND";
  });
  await settle();
  socket().receive("ERROR", socket().last("SUBSCRIBE").id, { code: "JOB_NOT_FOUND", message: "none" });
  await refused;
  const going = new AbortController();
  const aborted = rejects(client.watch(testingJobId, { signal: going.signal }).next(), /enough/);
  await settle();
  going.abort(new Error("enough"));
  await aborted;
  deepEqual(socket().last("CANCEL").payload, { request: socket().last("SUBSCRIBE").id });
});

Deno.test("tokens() tells of a second attempt before its tokens, and throws when the job has failed", async () => {
  const { client, socket } = await readyClient();
  const told: unknown[] = [];
  const failed = rejects(async () => {
    const tokens = client.tokens(testingJobId, { onAttempt: (attempt) => told.push(attempt) });
    for await (const token of tokens) told.push(token);
  }, (error: unknown) => error instanceof JobFailedError && error.job.error?.code === "ACTION_FAILED");
  await settle();
  const { id } = socket().last("SUBSCRIBE");
  const row = [
    ["JOB_STARTED", testingJob("running", 1)],
    ["JOB_TOKEN", "a"],
    ["JOB_FAILED", testingJob("pending", 1)],
    ["JOB_STARTED", testingJob("running", 2)],
    ["JOB_TOKEN", "b"],
    ["JOB_FAILED", testingJob("failed", 2)],
  ] as const;
  for (const [index, [event, data]] of row.entries()) {
    socket().receive("EVENT", id, jobEvent(index + 1, event, data));
  }
  socket().receive("COMPLETE", id, { kind: "subscribed", seq: row.length });
  await failed;
  deepEqual(told, [1, "a", 2, "b"]);
});

Deno.test("tokens() of a job that was tried again after it had failed gives all, and does not throw", async () => {
  const { client, socket } = await readyClient();
  const told: unknown[] = [];
  const read = (async () => {
    for await (const token of client.tokens(testingJobId)) told.push(token);
  })();
  await settle();
  const { id } = socket().last("SUBSCRIBE");
  const row = [
    ["JOB_TOKEN", "a"],
    ["JOB_FAILED", testingJob("failed", 1)],
    ["JOB_QUEUED", testingJob("pending", 1)],
    ["JOB_STARTED", testingJob("running", 2)],
    ["JOB_TOKEN", "b"],
    ["JOB_COMPLETED", testingJob("completed", 2)],
  ] as const;
  for (const [index, [event, data]] of row.entries()) {
    socket().receive("EVENT", id, jobEvent(index + 1, event, data));
  }
  await read;
  deepEqual(told, ["a", "b"]);
});

Deno.test("cancel() of a job is sent again after a lost connection", async () => {
  const { client, socket, cut } = await readyClient();
  const cancelled = client.cancel(testingJobId);
  await cut();
  socket().makeReady();
  deepEqual(socket().last("CANCEL").payload, { job: testingJobId });
  const payload = { kind: "job", job: testingJob("cancelled"), checkpoint: "" };
  socket().receive("RESULT", socket().last("CANCEL").id, payload);
  equal((await cancelled)?.state, "cancelled");
});

const dropped = (seq: string, count: number | null = 1) => ({
  event: "EVENTS_DROPPED",
  seq,
  data: { count },
});

Deno.test("events() resumes the feed after its last event, over connections", async () => {
  const heard: string[] = [];
  const { client, socket, clock } = testingClient({ onEvent: ({ seq }) => heard.push(seq) });
  const events = client.events({ after: "e1" });
  const first = events.next();
  await settle();
  socket().makeReady();
  equal(socket().last("INIT").payload.feedAfter, "e1");
  socket().receive("EVENT", null, dropped("e2"));
  equal((await first).value?.seq, "e2");
  socket().emit("close", { code: 1_006 });
  await clock.pass(250);
  socket().makeReady();
  equal(socket().last("INIT").payload.feedAfter, "e2");
  socket().receive("EVENT", null, dropped("e2"));
  socket().receive("EVENT", null, dropped("e3"));
  equal((await events.next()).value?.seq, "e3");
  deepEqual(heard, ["e2", "e3"]);
  await rejects(client.events({ after: "e9" }).next(), TypeError);
  await events.return();
});

Deno.test("events() read too slowly has a marker in the place of what was dropped", async () => {
  const { client, socket } = await readyClient({ bufferItemsMax: 2 });
  const events = client.events();
  const first = events.next();
  await settle();
  for (let seq = 1; seq <= 10; seq++) socket().receive("EVENT", null, dropped(`e${seq}`));
  const seen = [(await first).value, (await events.next()).value, (await events.next()).value];
  deepEqual(seen.map((event) => event?.seq), ["e1", "e2", "e10"]);
  deepEqual(seen[2], { event: "EVENTS_DROPPED", seq: "e10", data: { count: 8 } });
  socket().receive("EVENT", null, dropped("e11"));
  equal((await events.next()).value?.seq, "e11");
  await events.return();
  throws(() => socket().last("PING"));
});

Deno.test("events() drops a marker with its count, and one that is unknown stays unknown", async () => {
  for (const [counts, missing] of [[[5, 7], 12], [[5, null, 7], null]] as const) {
    const { client, socket } = await readyClient({ bufferItemsMax: 1 });
    const events = client.events();
    const first = events.next();
    await settle();
    socket().receive("EVENT", null, dropped("e0"));
    for (const [seq, count] of counts.entries()) {
      socket().receive("EVENT", null, dropped(`e${seq + 1}`, count));
    }
    await first;
    const { value } = await events.next();
    deepEqual(value, { event: "EVENTS_DROPPED", seq: `e${counts.length}`, data: { count: missing } });
    await events.return();
  }
});

Deno.test("events() of a client that is cut before its first event go on where the feed began", async () => {
  const { client, clock, socket } = testingClient();
  const first = client.events().next();
  await settle();
  socket().makeReady({ feed: "e41" });
  equal(socket().last("INIT").payload.feedAfter, undefined);
  socket().emit("close", { code: 1_006 });
  await clock.pass(250);
  socket().makeReady({ feed: "e44" });
  equal(socket().last("INIT").payload.feedAfter, "e41");
  socket().receive("EVENT", null, dropped("e42"));
  equal((await first).value?.seq, "e42");
});
