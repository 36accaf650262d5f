/**
 * A client's connection under a clock of the test's: states, pauses, signs of life, refusals, malformed messages.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import {
  AirlockClient,
  AirlockError,
  ClientClosedError,
  ConnectionLostError,
  ConnectionRefusedError,
  GaveUpError,
  ProtocolError,
  RequestTimeoutError,
} from "./client.ts";
import { pauseBefore } from "./client/backoff.ts";
import {
  settle,
  testingClient,
  testingInvoked,
  testingJob,
  testingJobId,
  type TestingSocket,
} from "./testing_socket.ts";

Deno.test("AirlockClient refuses an address that holds a secret, and a token that cannot be one", () => {
  const make = (url: string, token = "t") => () => new AirlockClient({ url, token });
  for (
    const url of [
      "http://u:secret@h",
      "http://h/?token=secret",
      "http://h/#secret",
      "file:///secret",
      "secret",
    ]
  ) {
    throws(make(url), (error: unknown) => error instanceof TypeError && !error.message.includes("secret"));
  }
  for (const token of ["", "a b", "a,b", "a\r\nb", "ü".repeat(3), "a".repeat(513)]) {
    throws(make("http://h", token), TypeError);
  }
});

Deno.test("connect() offers the token as a subprotocol, sends INIT and is READY", async () => {
  const states: string[] = [];
  const { client, socket } = testingClient({ onStateChange: (state) => states.push(state) });
  equal(client.state, "CONNECTING");
  const connected = client.connect();
  equal(socket().url, "ws://127.0.0.1:8787/v1/ws");
  deepEqual(socket().protocols, ["airlock.v1", "bearer.airlock_secret"]);
  socket().makeReady();
  await connected;
  await client.ready();
  deepEqual([client.state, states], ["READY", ["READY"]]);
  const { version, feed, feedAfter } = socket().last("INIT").payload;
  deepEqual([version, feed, feedAfter], ["1.0", true, undefined]);
});

Deno.test("pauseBefore() doubles up to its maximum, and chance takes up to a half", () => {
  const backoff = { backoffMs: 100, backoffMaxMs: 1_000 };
  deepEqual([1, 2, 3, 4, 5, 1_000].map((attempt) => pauseBefore(attempt, backoff, 1)), [
    100,
    200,
    400,
    800,
    1_000,
    1_000,
  ]);
  equal(pauseBefore(3, backoff, 0), 200);
});

Deno.test("a client connects again after growing pauses, from the first one again once it was READY for an interval", async () => {
  const { client, clock, socket, sockets } = testingClient({ backoffMs: 100, backoffMaxMs: 400 });
  client.connect().catch(() => {});
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 4; attempt++) {
    socket().emit("close", { code: 1_006 });
    await settle();
    pauses.push(clock.pendingMs[0] ?? -1);
    await clock.pass(pauses.at(-1) ?? 0);
  }
  deepEqual([pauses, sockets.length], [[100, 200, 400, 400], 5]);
  // One that ends right after READY is no better than one that did not open.
  socket().makeReady();
  await clock.pass(4_999);
  socket().emit("close", { code: 1_001 });
  deepEqual([client.state, clock.pendingMs], ["CONNECTING", [400]]);
  await clock.pass(400);
  socket().makeReady();
  await clock.pass(5_000);
  socket().emit("close", { code: 1_001 });
  deepEqual([client.state, clock.pendingMs], ["CONNECTING", [100]]);
  ok(client.cause instanceof ConnectionLostError);
});

Deno.test("a socket that fails to open and never closes, as in Node 20, is tried again once", async () => {
  const { client, clock, socket, sockets } = testingClient();
  client.connect().catch(() => {});
  socket().emit("error");
  socket().emit("close", { code: 1_006 });
  await settle();
  await clock.pass(250);
  equal(sockets.length, 2);
  await clock.pass(5_000);
  equal(sockets.length, 2);
});

Deno.test("a client gives up after attemptsMax, and connect() begins anew", async () => {
  const { client, clock, socket, sockets } = testingClient({ attemptsMax: 3 });
  const connected = client.connect();
  const failed = rejects(connected, GaveUpError);
  for (let attempt = 0; attempt < 3; attempt++) {
    socket().emit("close", { code: 1_006 });
    await settle();
    await clock.pass(2_000);
  }
  await failed;
  deepEqual([client.state, sockets.length, clock.pendingMs], ["ERROR", 3, []]);
  await rejects(client.invoke("hello", "greet"), GaveUpError);
  equal(sockets.length, 3);
  const again = client.connect();
  equal(client.state, "CONNECTING");
  socket().makeReady();
  await again;
});

Deno.test("an INIT that is refused ends the client; one that came too early does not", async () => {
  const { client, clock, socket, sockets } = testingClient();
  const connected = client.connect();
  const failed = rejects(connected, (error: unknown) => {
    ok(error instanceof ConnectionRefusedError);
    match(error.message, /INIT_FAILED: version/);
    return true;
  });
  socket().emit("open");
  socket().receive("ERROR", "init", { code: "NOT_READY", message: "not yet" });
  equal(client.state, "CONNECTING");
  await clock.pass(1_000);
  equal(sockets.length, 2);
  socket().emit("open");
  socket().receive("ERROR", "init", { code: "INIT_FAILED", message: "version" });
  await failed;
  deepEqual([client.state, clock.pendingMs], ["ERROR", []]);
});

Deno.test("a token that is revoked ends the client, told by a message or by the close", async () => {
  const ends: ((socket: TestingSocket) => void)[] = [
    (socket) => socket.receive("ERROR", null, { code: "UNAUTHENTICATED", message: "revoked" }),
    (socket) => socket.emit("close", { code: 4_401 }),
  ];
  for (const end of ends) {
    const { client, socket, clock } = testingClient();
    const invoked = rejects(client.invoke("hello", "greet"), ConnectionRefusedError);
    socket().makeReady();
    end(socket());
    await invoked;
    deepEqual([client.state, clock.pendingMs], ["ERROR", []]);
  }
});

Deno.test("a server that is silent for three intervals is taken for dead; any message is a sign of life", async () => {
  const { client, clock, socket, sockets } = testingClient();
  client.connect().catch(() => {});
  socket().makeReady();
  await clock.pass(14_000);
  socket().receive("PONG", null, { uptimeMs: 2 });
  await clock.pass(10_000);
  equal(client.state, "READY");
  await clock.pass(6_000);
  match(String(client.cause), /no sign of life/);
  equal(client.state, "CONNECTING");
  await clock.pass(250);
  equal(sockets.length, 2);
  // What the dead one still says is not heard.
  sockets[0]?.receive("READY", "init", {});
  equal(client.state, "CONNECTING");
});

Deno.test("a server is given silenceMaxMs for a message that takes long", async () => {
  const { client, clock, socket } = testingClient({ silenceMaxMs: 60_000 });
  client.connect().catch(() => {});
  socket().makeReady();
  await clock.pass(59_999);
  equal(client.state, "READY");
  await clock.pass(1);
  equal(client.state, "CONNECTING");
});

Deno.test("ready() and a connection that does not open have a deadline", async () => {
  const { client, clock, sockets } = testingClient({ requestTimeoutMs: 1_000 });
  const late = rejects(client.connect(), RequestTimeoutError);
  await clock.pass(1_000);
  await late;
  equal(client.state, "CONNECTING");
  await clock.pass(500);
  equal(sockets.length, 2);
});

Deno.test("close() ends what is under way and forbids the rest", async () => {
  const { client, clock, socket } = testingClient();
  const invoked = rejects(client.invoke("hello", "greet"), ClientClosedError);
  const watched = rejects(client.watch(testingJobId).next(), ClientClosedError);
  socket().makeReady();
  const closed = client.close();
  equal(socket().closedBy, 1_000);
  await Promise.all([invoked, watched]);
  socket().emit("close", { code: 1_000 });
  await closed;
  deepEqual([client.state, clock.pendingMs], ["ERROR", []]);
  await rejects(client.connect(), ClientClosedError);
  await rejects(client.invoke("hello", "greet"), ClientClosedError);
});

const job = { id: "r1" };
const malformed: readonly (readonly [what: string, data: unknown])[] = [
  ["bytes", new Uint8Array(4)],
  ["text that is not JSON", "{"],
  ["JSON that is not a message", "[]"],
  ["null", "null"],
  ["no type", JSON.stringify({ id: null, payload: {} })],
  ["a prototype in the place of a type", '{"__proto__":{"type":"PONG"},"id":null,"payload":{}}'],
  ["what cannot be read under an id never given", JSON.stringify({ type: "RESULT", id: "r99" })],
  ["a token for a call that does not stream", JSON.stringify({ type: "TOKEN", ...job, payload: 1 })],
  ["a token without an id", JSON.stringify({ type: "TOKEN", payload: 1 })],
  ["a token under an id too long", JSON.stringify({ type: "TOKEN", id: "r".repeat(65), payload: 1 })],
  ["an answer that nothing asked for", JSON.stringify({ type: "TOKEN", id: "r99", payload: 1 })],
  [
    "an answer under the name of a property",
    JSON.stringify({ type: "TOKEN", id: "constructor", payload: 1 }),
  ],
  ["a second READY", JSON.stringify({ type: "READY", id: "init", payload: {} })],
  ["an answer to another request", JSON.stringify({ type: "RESULT", ...job, payload: { kind: "done" } })],
  [
    "an event of the feed that does not fit",
    JSON.stringify({ type: "EVENT", id: null, payload: { event: "EVENTS_DROPPED", seq: "1", data: 1 } }),
  ],
  [
    "an event of the feed with a number",
    JSON.stringify({
      type: "EVENT",
      id: null,
      payload: { event: "EVENTS_DROPPED", seq: 1, data: { count: 1 } },
    }),
  ],
  [
    "a message that is too large",
    JSON.stringify({ type: "NEWER", id: null, payload: "x".repeat(5_000) }),
  ],
];
for (const [what, data] of malformed) {
  Deno.test(`a client sent ${what} drops the connection`, async () => {
    const { client, socket } = testingClient({ messageCharsMax: 5_000 });
    const lost = rejects(client.invoke("hello", "greet"), (error: unknown) => {
      ok(error instanceof ConnectionLostError && error.cause instanceof ProtocolError);
      ok(error.cause.message.length <= 500);
      return true;
    });
    socket().makeReady();
    socket().emit("message", { data });
    await lost;
    deepEqual([socket().closedBy, client.state], [4_002, "CONNECTING"]);
  });
}

const fromNewer: readonly (readonly [what: string, data: string])[] = [
  ["another type", JSON.stringify({ type: "HELLO", id: null, payload: {} })],
  ["a member too many", JSON.stringify({ type: "PONG", id: null, payload: { uptimeMs: 1, n: 1 }, more: 1 })],
  ["a prototype beside a payload", '{"type":"PONG","id":null,"payload":{},"__proto__":{"type":"READY"}}'],
  [
    "another event of the feed",
    JSON.stringify({ type: "EVENT", id: null, payload: { event: "NEWS", seq: "e1", data: 1 } }),
  ],
  [
    "other words in an event of the feed",
    JSON.stringify({
      type: "EVENT",
      id: null,
      payload: {
        ...{ event: "PLUGIN_CHANGED", seq: "e1", more: 1 },
        data: { plugin: "hello", state: "dreaming", status: "new", breaker: "ajar", more: 1 },
      },
    }),
  ],
];
for (const [what, data] of fromNewer) {
  Deno.test(`a client sent ${what} by a newer server goes on`, async () => {
    const { client, socket } = testingClient();
    const invoked = client.invoke("hello", "greet");
    socket().makeReady({ version: "1.7", more: { one: 1 } });
    socket().emit("message", { data });
    const ledger = { ...testingInvoked.ledger, more: 1 };
    socket().receive("RESULT", "r1", { kind: "invoked", ...testingInvoked, ledger, more: 1 });
    deepEqual((await invoked).ledger, testingInvoked.ledger);
    deepEqual([socket().closedBy, client.state], [undefined, "READY"]);
    socket().emit("close");
    await client.close();
  });
}

Deno.test("a client tells a code that it does not know as it is, and ignores a job's event that it does not know", async () => {
  const { client, socket, clock } = testingClient();
  const refused = rejects(client.invoke("hello", "greet"), (error: unknown) => {
    return error instanceof AirlockError && error.code === "TOO_GREEDY";
  });
  socket().makeReady();
  socket().receive("ERROR", "r1", { code: "TOO_GREEDY", message: "no", hint: "ask less" });
  await refused;
  const events = client.watch(testingJobId);
  const first = events.next();
  await settle();
  const { id } = socket().last("SUBSCRIBE");
  socket().receive("EVENT", id, { event: "JOB_PAUSED", seq: 1, data: {} });
  const error = { code: "TOO_GREEDY", message: "no", more: 1 };
  const data = { ...testingJob("failed"), kind: "swarm", waitingFor: "moon", error, more: 1 };
  socket().receive("EVENT", id, { event: "JOB_FAILED", seq: 2, data, more: 1 });
  const { value } = await first;
  deepEqual([value?.seq, value?.event === "JOB_FAILED" && value.data.error?.code], [2, "TOO_GREEDY"]);
  await events.return();
  socket().emit("close");
  await client.close();
  deepEqual(clock.pendingMs, []);
});

Deno.test("a READY of another major version, or without what the client uses, ends the connection", () => {
  for (const payload of [{ version: "2.0" }, { version: "1" }, { requestsMax: -1 }, { feed: undefined }]) {
    const { client, socket } = testingClient();
    client.connect().catch(() => {});
    socket().makeReady(payload);
    deepEqual([socket().closedBy, client.state], [4_002, "CONNECTING"]);
  }
});

Deno.test("a server that never keeps the protocol is given up, though it is READY each time", async () => {
  const { client, clock, socket, sockets } = testingClient();
  const watched = rejects(client.watch(testingJobId).next(), (error: unknown) => {
    return error instanceof GaveUpError && error.cause instanceof ProtocolError;
  });
  for (let connection = 0; connection < 5; connection++) {
    socket().makeReady();
    socket().emit("message", { data: "nonsense" });
    await clock.pass(30_000);
  }
  await watched;
  deepEqual([sockets.length, client.state], [5, "ERROR"]);
});

Deno.test("a prototype in a plugin's output stays a property of its own", async () => {
  const { client, socket } = testingClient();
  const invoked = client.invoke("hello", "greet");
  socket().makeReady();
  const text = JSON.stringify({ type: "RESULT", id: "r1", payload: { kind: "invoked", ...testingInvoked } });
  socket().emit("message", { data: text.replace('{"n":1}', '{"__proto__":{"polluted":true}}') });
  const { output } = await invoked;
  equal(Object.getPrototypeOf(output), Object.prototype);
  equal((output as { polluted?: boolean }).polluted, undefined);
  equal(Reflect.get({}, "polluted"), undefined);
});

Deno.test("a callback that throws does not stop the client", async () => {
  const failure = new Error("a callback's own");
  const reported = new Promise<unknown>((resolve) => {
    addEventListener("error", (event) => {
      event.preventDefault();
      resolve(event.error);
    }, { once: true });
  });
  const { client, socket } = testingClient({
    onStateChange: () => {
      throw failure;
    },
  });
  const connected = client.connect();
  socket().makeReady();
  await connected;
  equal(await reported, failure);
  equal(client.state, "READY");
});
