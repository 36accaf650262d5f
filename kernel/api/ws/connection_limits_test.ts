import assert from "node:assert/strict";
import { ProblemError } from "../../../schemas/problem.ts";
import { Feed } from "../../bus/feed.ts";
import { jobIds } from "../testing_jobs.ts";
import { createTestingKernel } from "../testing_kernel.ts";
import { envelopeBytesMax } from "./connection.ts";
import { serveWs, TestingClient } from "./testing_client.ts";

const invoke = (id: string) => ({ type: "INVOKE", id, payload: { plugin: "hello", action: "greet" } });

// Where all slots are taken, cancelling is what one wants most.
Deno.test("Connection cancels requests when no other is taken, and does not begin another by it", async () => {
  await using server = serveWs({
    config: { streams: { requestsMax: 2 } },
    invoke: async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw new ProblemError("CANCELLED", "Cannot go on: cancelled");
    },
  });
  await using client = await server.ready();
  for (const id of ["a", "b", "c"]) client.send(invoke(id));
  await client.expectError("QUEUE_FULL", "c");
  client.send({ type: "CANCEL", id: "d", payload: { job: jobIds.own } });
  await client.expectError("QUEUE_FULL", "d");
  client.send({ type: "CANCEL", id: "d", payload: { request: "c" } });
  await client.expectError("NOT_FOUND", "d");
  for (const request of ["a", "b"]) {
    client.send({ type: "CANCEL", id: "d", payload: { request } });
    const answers = [await client.next(), await client.next()].map(({ type, id }) => `${type} ${id}`).sort();
    assert.deepEqual(answers, [`ERROR ${request}`, "RESULT d"]);
  }
});

Deno.test("Connection tells where the feed begins, and goes on exactly there", async () => {
  const feed = Object.assign(new Feed({ feedEventsMax: 100, life: "0a1b2c3d" }), { asked: [] });
  const publish = (plugin: string) =>
    feed.publish("PLUGIN_CHANGED", { plugin, state: "running", status: "ready", breaker: "closed" });
  await using server = serveWs({ kernel: { ...createTestingKernel(), feed } });
  publish("before");
  let position: string;
  {
    await using client = new TestingClient(server.port);
    await client.opened;
    client.send({ type: "INIT", id: "1" });
    const { payload } = await client.expect("READY");
    assert.ok(payload.feed !== null);
    position = payload.feed;
  }
  assert.equal(position, "0a1b2c3d-1");
  publish("meanwhile");
  await using client = new TestingClient(server.port);
  await client.opened;
  client.send({ type: "INIT", id: "1", payload: { feedAfter: position } });
  assert.equal((await client.expect("READY")).payload.feed, position);
  publish("after");
  for (const [plugin, seq] of [["meanwhile", "0a1b2c3d-2"], ["after", "0a1b2c3d-3"]]) {
    const { payload } = await client.expect("EVENT");
    assert.deepEqual([Reflect.get(Object(payload.data), "plugin"), payload.seq], [plugin, seq]);
  }
});

// A short text may stand for a long number.
Deno.test("Connection bounds an input as a body is, as it is passed on", async () => {
  await using server = serveWs({ config: { http: { bodyBytesMax: 1_000 } } });
  await using client = new TestingClient(server.port);
  await client.opened;
  client.send({ type: "INIT", id: "1", payload: { feed: false } });
  assert.equal((await client.expect("READY")).payload.messageBytesMax, 1_000 + envelopeBytesMax);
  const payload = (input: string) => `{"plugin":"hello","action":"greet","input":${input}}`;
  for (const type of ["INVOKE", "ENQUEUE"]) {
    for (const input of [`"${"x".repeat(999)}"`, `[${"1e20,".repeat(60)}0]`]) {
      client.send(`{"type":"${type}","id":"2","payload":${payload(input)}}`);
      await client.expectError("BODY_TOO_LARGE", "2");
    }
    client.send(`{"type":"${type}","id":"2","payload":${payload(`"${"x".repeat(998)}"`)}}`);
    await client.expect("RESULT");
  }
  assert.deepEqual(server.kernel.refusals.map(({ code }) => code), Array(4).fill("BODY_TOO_LARGE"));
  assert.deepEqual([server.kernel.calls.length, server.kernel.jobs.asked.length], [1, 1]);
});
