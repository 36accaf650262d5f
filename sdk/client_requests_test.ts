/**
 * Requests by the slots of a connection, under a clock of the test's: turns, what callbacks send, refused cancels.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import {
  type AirlockClient,
  ConnectionLostError,
  ConnectionRefusedError,
  RequestTimeoutError,
} from "./client.ts";
import { settle, testingClient, testingInvoked, testingJob, testingJobId } from "./testing_socket.ts";

type Sockets = ReturnType<typeof testingClient>;

const sentOf = ({ socket }: Pick<Sockets, "socket">, type: string) =>
  socket().sent.filter((message) => message.type === type);
const invoked = { kind: "invoked", ...testingInvoked };
const full = { code: "QUEUE_FULL", message: "full", retryAfterMs: 1_000 };

/** A client that calls `act` at each of its states. */
function actingClient(act: (state: string, client: AirlockClient) => void) {
  const made: Sockets = testingClient({ onStateChange: (state) => act(state, made.client) });
  made.client.connect().catch(() => {});
  return made;
}

Deno.test("a request made in the callback of READY is sent once", async () => {
  const results: Promise<unknown>[] = [];
  const made = actingClient((state, client) => {
    if (state !== "READY") return;
    results.push(client.invoke("hello", "greet"));
    const stream = client.stream("ngram", "infer");
    results.push((async () => {
      const tokens: unknown[] = [];
      for await (const token of stream) tokens.push(token);
      return tokens;
    })());
  });
  const { socket } = made;
  socket().makeReady();
  deepEqual(sentOf(made, "INVOKE").map(({ id }) => id), ["r1", "r2"]);
  socket().receive("RESULT", "r1", invoked);
  socket().receive("TOKEN", "r2", "a");
  socket().receive("COMPLETE", "r2", invoked);
  const [, tokens] = await Promise.all(results);
  deepEqual(tokens, ["a"]);
});

Deno.test("a request made in the callback of CONNECTING waits for the next connection", async () => {
  const results: Promise<unknown>[] = [];
  const made = actingClient((state, client) => {
    if (state === "CONNECTING") results.push(client.invoke("hello", "greet"));
  });
  const { socket, clock } = made;
  socket().makeReady();
  socket().emit("close", { code: 1_006 });
  await clock.pass(250);
  socket().makeReady();
  deepEqual(sentOf(made, "INVOKE").length, 1);
  socket().receive("RESULT", socket().last("INVOKE").id, invoked);
  await Promise.all(results);
});

Deno.test("connect() in the callback of ERROR is not failed by what came before it", async () => {
  const results: Promise<unknown>[] = [];
  const made = actingClient((state, client) => {
    if (state === "ERROR") results.push(client.connect(), client.invoke("hello", "greet"));
  });
  const { socket, sockets, client } = made;
  const before = rejects(client.invoke("hello", "greet"), ConnectionRefusedError);
  socket().emit("close", { code: 4_401 });
  await before;
  equal(sockets.length, 2);
  socket().makeReady();
  socket().receive("RESULT", socket().last("INVOKE").id, invoked);
  await Promise.all(results);
  equal(client.state, "READY");
});

Deno.test("100 calls at once are under way by requestsMax at a time, each sent once and in order", async () => {
  const made = testingClient();
  const { client, socket } = made;
  const calls = Promise.all(Array.from({ length: 100 }, (_, n) => client.invoke("hello", "greet", { n })));
  socket().makeReady({ requestsMax: 64 });
  equal(sentOf(made, "INVOKE").length, 64);
  for (let answered = 1; answered <= 100; answered++) {
    socket().receive("RESULT", `r${answered}`, invoked);
    equal(sentOf(made, "INVOKE").length, Math.min(100, 64 + answered));
  }
  equal((await calls).length, 100);
  const inputs = socket().sent.flatMap((message) => message.type === "INVOKE" ? [message.payload.input] : []);
  deepEqual(inputs, Array.from({ length: 100 }, (_, n) => ({ n })));
});

Deno.test("a call that times out while it waits was not sent, and ready() needs no turn", async () => {
  const made = testingClient({ requestTimeoutMs: 1_000 });
  const { client, clock, socket } = made;
  const outcome = (expected: string) => (error: unknown) =>
    error instanceof RequestTimeoutError && error.outcome === expected;
  const first = rejects(client.invoke("hello", "greet"), outcome("unknown"));
  const second = rejects(client.invoke("hello", "greet"), outcome("not_sent"));
  const stream = client.stream("ngram", "infer");
  socket().makeReady({ requestsMax: 1 });
  await client.ready();
  await clock.pass(1_000);
  await Promise.all([first, second, rejects(stream.result, outcome("not_sent"))]);
  // The first one holds its slot until the server says that it has ended.
  const third = client.invoke("hello", "greet");
  deepEqual(socket().sent.map(({ type }) => type), ["INIT", "INVOKE", "CANCEL"]);
  socket().receive("ERROR", "r1", { code: "CANCELLED", message: "cancelled" });
  socket().receive("RESULT", socket().last("INVOKE").id, invoked);
  await third;
});

Deno.test("a watch that is resumed waits for its turn as any other request", async () => {
  const made = testingClient({ bufferItemsMax: 1 });
  const { client, socket } = made;
  const events = client.watch(testingJobId);
  const first = events.next();
  await settle();
  socket().makeReady({ requestsMax: 1 });
  const { id } = socket().last("SUBSCRIBE");
  const event = (seq: number) => ({ event: "JOB_TOKEN", seq, data: "t" });
  socket().receive("EVENT", id, event(1));
  await first;
  const second = events.next();
  await settle();
  equal(sentOf(made, "SUBSCRIBE").length, 1);
  socket().receive("ERROR", id, { code: "CANCELLED", message: "cancelled" });
  equal(sentOf(made, "SUBSCRIBE").length, 2);
  socket().receive("EVENT", socket().last("SUBSCRIBE").id, event(2));
  equal((await second).value?.seq, 2);
  await events.return();
});

Deno.test("a CANCEL that is refused is sent again with the next message, and its request holds its slot", async () => {
  const made = testingClient();
  const { client, socket } = made;
  const going = new AbortController();
  const aborted = rejects(client.invoke("hello", "greet", {}, { signal: going.signal }), /enough/);
  socket().makeReady({ requestsMax: 1 });
  going.abort(new Error("enough"));
  await aborted;
  const next = client.invoke("hello", "greet");
  socket().receive("ERROR", socket().last("CANCEL").id, full);
  equal(sentOf(made, "CANCEL").length, 1);
  socket().receive("PONG", null, { uptimeMs: 1 });
  deepEqual(sentOf(made, "CANCEL").map(({ payload }) => payload), [{ request: "r1" }, { request: "r1" }]);
  equal(sentOf(made, "INVOKE").length, 1);
  socket().receive("RESULT", socket().last("CANCEL").id, { kind: "done" });
  socket().receive("ERROR", "r1", { code: "CANCELLED", message: "cancelled" });
  socket().receive("RESULT", socket().last("INVOKE").id, invoked);
  await next;
  socket().receive("PONG", null, { uptimeMs: 2 });
  equal(sentOf(made, "CANCEL").length, 2);
});

Deno.test("a CANCEL of what has ended is not sent again", async () => {
  const made = testingClient();
  const { client, socket } = made;
  const events = client.watch(testingJobId);
  const first = events.next();
  await settle();
  socket().makeReady();
  socket().receive("EVENT", "r1", { event: "JOB_TOKEN", seq: 1, data: "t" });
  await first;
  await events.return();
  socket().receive("COMPLETE", "r1", { kind: "subscribed", seq: 2 });
  for (const answer of [full, { code: "NOT_FOUND", message: "none" }]) {
    socket().receive("ERROR", socket().last("CANCEL").id, answer);
    socket().receive("PONG", null, { uptimeMs: 1 });
  }
  equal(sentOf(made, "CANCEL").length, 1);
});

Deno.test("what is made again after a lost connection goes before what waited, and what waited is not lost", async () => {
  const made = testingClient();
  const { client, clock, socket } = made;
  const enqueued = client.enqueue({ plugin: "hello", action: "greet" });
  const waiting = client.invoke("hello", "greet");
  socket().makeReady({ requestsMax: 1 });
  socket().emit("close", { code: 1_006 });
  await clock.pass(250);
  socket().makeReady({ requestsMax: 1 });
  deepEqual(socket().sent.map(({ type }) => type), ["INIT", "ENQUEUE"]);
  const job = { kind: "job", job: testingJob("pending"), checkpoint: "" };
  socket().receive("RESULT", socket().last("ENQUEUE").id, job);
  socket().receive("RESULT", socket().last("INVOKE").id, invoked);
  await Promise.all([enqueued, waiting]);
});

Deno.test("a job's request that is NOT_READY is made again with the next connection, and not before", async () => {
  const made = testingClient();
  const { client, clock, socket } = made;
  const enqueued = client.enqueue({ plugin: "hello", action: "greet" });
  const lost = rejects(client.invoke("hello", "greet"), ConnectionLostError);
  socket().makeReady();
  socket().receive("ERROR", socket().last("ENQUEUE").id, { code: "NOT_READY", message: "stopping" });
  equal(sentOf(made, "ENQUEUE").length, 1);
  socket().emit("close", { code: 1_001 });
  await lost;
  await clock.pass(250);
  socket().makeReady();
  const job = { kind: "job", job: testingJob("pending"), checkpoint: "" };
  socket().receive("RESULT", socket().last("ENQUEUE").id, job);
  equal((await enqueued).id, testingJobId);
});
