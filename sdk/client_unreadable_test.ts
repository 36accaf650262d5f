/**
 * A client that is sent what it cannot read: what names a request fails that request alone.
 *
 * @module
 */
import { deepEqual, rejects } from "node:assert/strict";
import { ProtocolError } from "./client.ts";
import { settle, testingClient, testingInvoked, testingJob, testingJobId } from "./testing_socket.ts";

const unreadable: readonly (readonly [what: string, message: object])[] = [
  ["a result without a payload", { type: "RESULT" }],
  ["a result of another kind", { type: "RESULT", payload: { kind: "new" } }],
  ["an error without a message", { type: "ERROR", payload: { code: "X" } }],
  ["a result without an output", {
    type: "RESULT",
    payload: { kind: "invoked", ...testingInvoked, output: undefined },
  }],
  ["an output without its hash", { type: "RESULT", payload: { kind: "invoked", output: 1 } }],
  ["progress that is none", { type: "PROGRESS", payload: { fraction: "half" } }],
];
for (const [what, message] of unreadable) {
  Deno.test(`a client sent ${what} fails that request, and no other`, async () => {
    const { client, socket } = testingClient();
    const failed = rejects(client.invoke("hello", "greet"), ProtocolError);
    const other = client.invoke("hello", "greet");
    socket().makeReady();
    const data = JSON.stringify({ ...message, id: "r1" });
    socket().emit("message", { data });
    await failed;
    // Once more, when nobody waits for it.
    socket().emit("message", { data });
    socket().receive("RESULT", "r2", { kind: "invoked", ...testingInvoked });
    await other;
    deepEqual([socket().closedBy, client.state], [undefined, "READY"]);
    socket().emit("close");
    await client.close();
  });
}

// A server that shows a year of five digits: no job of others may suffer from it.
Deno.test("a client sent a job that it cannot read fails who asked for that job", async () => {
  const { client, socket } = testingClient();
  const events = client.watch(testingJobId);
  const watched = rejects(events.next(), ProtocolError);
  const other = client.invoke("hello", "greet");
  socket().makeReady();
  await settle();
  const { id } = socket().last("SUBSCRIBE");
  const data = { ...testingJob("pending"), runAt: "+010000-01-01T23:58:59.000Z" };
  socket().receive("EVENT", id, { event: "JOB_QUEUED", seq: 1, data });
  await watched;
  const enqueued = rejects(client.enqueue({ plugin: "hello", action: "greet" }), ProtocolError);
  await settle();
  const asked = socket().last("ENQUEUE").id;
  socket().receive("RESULT", asked, { kind: "job", job: data, checkpoint: "c" });
  await enqueued;
  deepEqual(socket().last("CANCEL").payload, { request: id });
  socket().receive("RESULT", socket().last("INVOKE").id, { kind: "invoked", ...testingInvoked });
  await other;
  deepEqual([socket().closedBy, client.state], [undefined, "READY"]);
  socket().emit("close");
  await client.close();
});
