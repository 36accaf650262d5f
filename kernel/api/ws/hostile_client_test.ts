import assert from "node:assert/strict";
import { jobIds } from "../testing_jobs.ts";
import { createTestingKernel, resultOf } from "../testing_kernel.ts";
import { RawClient, serveWs } from "./testing_client.ts";

const init = { type: "INIT", id: "init", payload: { version: "1.0", feed: false } };
const invoke = { type: "INVOKE", id: "1", payload: { plugin: "hello", action: "greet", stream: true } };

Deno.test("Connection refuses a message that is too large or binary, and lives", async () => {
  await using server = serveWs({ config: { streams: { messageBytesMax: 1_000 } } });
  await using client = await server.ready();
  const ping = (chars: string) => `{"type":"PING","id":"1"${chars}}`;
  const limit = { path: "", message: "must have at most 1000 bytes" };
  for (const text of [ping(" ".repeat(1_000)), " ".repeat(2_000_000), `"${"€".repeat(340)}"`]) {
    client.send(text);
    assert.deepEqual((await client.expectError("INVALID_MESSAGE", null)).payload.errors, [limit]);
  }
  client.send(ping(" ".repeat(1_000 - ping("").length)));
  await client.expect("PONG");
  for (const binary of [new Uint8Array(3), new Blob(["{}"]), new Uint8Array(3_000).buffer]) {
    client.socket.send(binary);
    const { payload } = await client.expectError("INVALID_MESSAGE", null);
    assert.deepEqual(payload.errors, [{ path: "", message: "must be text" }]);
  }
  assert.equal(server.connections.count, 1);
});

Deno.test("Connection takes little from who may only read", async () => {
  await using server = serveWs();
  await using client = await server.ready("viewer");
  client.send(`{"type":"PING","id":"1"${" ".repeat(65_536)}}`);
  await client.expectError("INVALID_MESSAGE", null);
});

// What follows breaks the WebSocket protocol itself: Deno ends the socket, and nothing else may suffer.
const broken: [what: string, frames: (client: RawClient) => Promise<void>][] = [
  ["text that is not UTF-8", (client) => client.frame(0x81, Uint8Array.of(0xc3, 0x28))],
  ["a frame above 64 MiB", (client) => client.frame(0x81, new Uint8Array(), 64 * 1_048_576 + 1)],
  ["a frame of an unknown kind", (client) => client.frame(0x83, new Uint8Array(1))],
  ["reserved bits", (client) => client.frame(0xf1, new Uint8Array(1))],
  ["a long ping", (client) => client.frame(0x89, new Uint8Array(200))],
  ["HTTP", (client) => client.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"))],
];
for (const [what, frames] of broken) {
  Deno.test(`Connection ends by ${what}, and gives its place back`, async () => {
    await using server = serveWs();
    await using other = await server.ready();
    {
      using client = await RawClient.open(server.port);
      await client.send(init);
      await frames(client);
      await client.ended();
    }
    other.send({ type: "PING", id: "1" });
    await other.expect("PONG");
    await server.connections.closeAll();
    assert.deepEqual([server.connections.count, server.readers.count], [0, 0]);
  });
}

Deno.test("Connection gives its place back when the client goes away in the middle of the upgrade", async () => {
  await using server = serveWs({ config: { http: { drainTimeoutMs: 5_000 } } });
  for (let round = 0; round < 20; round++) {
    (await RawClient.open(server.port, { awaited: false }))[Symbol.dispose]();
  }
  await using other = await server.ready();
  other.send({ type: "PING", id: "1" });
  await other.expect("PONG");
  await server.connections.closeAll();
  assert.deepEqual([server.connections.count, server.readers.count], [0, 0]);
});

Deno.test("Connection cuts off a client that never reads, at bounded memory, and others are on time", async () => {
  const token = JSON.stringify("x".repeat(10_000));
  const aborted = Promise.withResolvers<void>();
  let sent = 0;
  const kernel = createTestingKernel({
    config: { streams: { readerBytesMax: 100_000, readerTimeoutMs: 200 }, http: { drainTimeoutMs: 100 } },
    invoke: async ({ sink, signal }) => {
      for (; !signal.aborted; sent++) await sink?.token(token);
      aborted.resolve();
      return resultOf("1");
    },
    // An event that is always there.
    jobs: {
      watch: () => ({
        read: () => [{ id: "1", type: "JOB_TOKEN", json: token }],
        isEnded: false,
        changed: () => Promise.resolve(),
        [Symbol.dispose]: () => undefined,
      }),
    },
  });
  await using server = serveWs({ kernel });
  await using other = await server.ready();
  using client = await RawClient.open(server.port);
  await client.send(init);
  await client.send(invoke);
  await client.send({ type: "SUBSCRIBE", id: "2", payload: { job: jobIds.own } });
  let isAborted = false;
  void aborted.promise.then(() => isAborted = true);
  let pings = 0;
  for (; !isAborted; pings++) {
    other.send({ type: "PING", id: "1" });
    await other.expect("PONG");
  }
  // What the system's own buffers took beside what is ours.
  assert.ok(sent < 2_000, `${sent} tokens`);
  assert.ok(pings > 10, `${pings}`);
  // The socket is the client's to end, and its place is taken until then.
  assert.deepEqual([server.connections.count, server.readers.count], [2, 2]);
});

Deno.test("Connection cuts off a client that asks on and on and never reads", async () => {
  await using server = serveWs({
    config: { streams: { readerBytesMax: 1_000 }, http: { drainTimeoutMs: 100 } },
  });
  using client = await RawClient.open(server.port);
  await client.send(init);
  const keys = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`key${n}`, n]));
  const wrong = new TextEncoder().encode(JSON.stringify({ type: "PING", id: "1", ...keys }));
  await assert.rejects(async () => {
    for (let count = 0; count < 100_000; count++) await client.frame(0x81, wrong);
  }, (error) => error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe);
  await using other = await server.ready();
  other.send({ type: "PING", id: "1" });
  await other.expect("PONG");
});

Deno.test("Connection answers a thousand messages that came in one breath", async () => {
  await using server = serveWs();
  await using client = await server.ready();
  for (let count = 0; count < 1_000; count++) client.send("{}");
  for (let count = 0; count < 1_000; count++) await client.expectError("INVALID_MESSAGE", null);
});
