/**
 * Over real sockets: a client whose connection is cut, refused, and closed.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { AirlockClient, ConnectionRefusedError } from "./client.ts";
import { CuttingProxy, testingJobId, TestingServer, testingToken } from "./testing_server.ts";

/** Numbers from 0 up to 1, the same at each run (mulberry32). */
function chance(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

Deno.test("tokens() cut 100 times at random gives each of 10,000 tokens once and in order", async () => {
  const random = chance(7);
  await using server = new TestingServer(10_000);
  await using proxy = new CuttingProxy(
    server.port,
    (connection) => connection < 100 ? 1 + Math.floor(random() * 8_000) : Infinity,
  );
  const states: string[] = [];
  await using client = new AirlockClient({
    url: proxy.url,
    token: testingToken,
    backoffMs: 2,
    backoffMaxMs: 4,
    // What it would ask by HTTP is a connection too, and would be counted.
    fetch: null,
    onStateChange: (state) => states.push(state),
  });
  const tokens: unknown[] = [];
  const attempts: number[] = [];
  for await (const token of client.tokens(testingJobId, { onAttempt: (attempt) => attempts.push(attempt) })) {
    tokens.push(token);
  }
  deepEqual(tokens, Array.from({ length: 10_000 }, (_, token) => token));
  deepEqual(attempts, [1]);
  equal(proxy.cuts, 100);
  deepEqual(new Set(states), new Set(["READY", "CONNECTING"]));
});

Deno.test("watch() read slowly keeps a bounded buffer and gives every event", async () => {
  await using server = new TestingServer(2_000);
  await using client = new AirlockClient({ url: server.url, token: testingToken, bufferItemsMax: 100 });
  const seqs: number[] = [];
  for await (const { seq } of client.watch(testingJobId)) {
    seqs.push(seq);
    // A macrotask for each event: the server is faster.
    if (seq % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  deepEqual(seqs, Array.from({ length: 2_003 }, (_, index) => index + 1));
});

Deno.test("invoke(), stream() and enqueue() are answered over a real socket", async () => {
  await using server = new TestingServer(0);
  await using client = new AirlockClient({ url: server.url, token: testingToken });
  await client.connect();
  equal(client.state, "READY");
  const { output, ledger } = await client.invoke("hello", "greet", { name: "world" });
  deepEqual([output, ledger.index], [{ n: 1 }, 1]);
  const stream = client.stream("ngram", "infer", {});
  const tokens: unknown[] = [];
  for await (const token of stream) tokens.push(token);
  deepEqual(tokens, [{ token: 0 }, { token: 1 }, { token: 2 }]);
  equal((await stream.result).durationMs, 1);
  equal((await client.enqueue({ plugin: "ngram", action: "infer" })).id, testingJobId);
});

Deno.test("connect() with a wrong token is refused with its status, and not tried again", async () => {
  await using server = new TestingServer(0);
  await using client = new AirlockClient({ url: server.url, token: "airlock_wrong" });
  await rejects(client.connect(), (error: unknown) => {
    equal(error instanceof ConnectionRefusedError && error.status, 401);
    equal(String(error).includes("airlock_wrong"), false);
    return true;
  });
  equal(client.state, "ERROR");
  await rejects(client.invoke("hello", "greet"), ConnectionRefusedError);
});
