/**
 * What the client reads, beside what the server says that it sends.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import {
  type ServerMessage as SentMessage,
  serverMessageSchema as sentMessageSchema,
} from "../../schemas/ws_protocol.ts";
import { testingInvoked, testingJob, testingReady } from "../testing_socket.ts";
import { readFeedEvent, readJobEvent, readMessage } from "./read_message.ts";
import type { ServerMessage } from "./server_messages.ts";

/** Of each type one, as the server's schema has it. */
const sent: SentMessage[] = [
  { type: "READY", id: "init", payload: testingReady },
  { type: "PONG", id: null, payload: { uptimeMs: 1 } },
  { type: "RESULT", id: "r1", payload: { kind: "invoked", ...testingInvoked } },
  { type: "TOKEN", id: "r1", payload: null },
  { type: "PROGRESS", id: "r1", payload: { fraction: 1, note: "" } },
  { type: "COMPLETE", id: "r1", payload: { kind: "subscribed", seq: 3 } },
  {
    type: "ERROR",
    id: null,
    payload: { code: "INTERNAL", message: "m", errors: [{ path: "", message: "m" }] },
  },
  { type: "EVENT", id: "r1", payload: { event: "JOB_QUEUED", seq: 1, data: testingJob("pending") } },
];

Deno.test("readMessage() takes each type of message that the server's schema has", () => {
  // The types say the same of every value: this compiles.
  const read = (message: SentMessage): ServerMessage => message;
  deepEqual(sent.map(({ type }) => type), sentMessageSchema.options.map(({ shape }) => shape.type.value));
  for (const message of sent) {
    const text = JSON.stringify(sentMessageSchema.parse(message));
    const { type, id } = readMessage(text, 10_000) ?? { type: "none", id: "none" };
    deepEqual([type, id], [read(message).type, message.id]);
  }
});

Deno.test("readMessage() of what is not known gives undefined, and leaves out members that are not", () => {
  equal(readMessage('{"type":"HELLO"}', 100), undefined);
  const read = readMessage('{"type":"TOKEN","id":"r1","payload":1,"more":1}', 100);
  deepEqual(read, { type: "TOKEN", id: "r1", payload: 1 });
});

Deno.test("readJobEvent() and readFeedEvent() of what is not known give none, and a feed's place", () => {
  equal(readJobEvent({ event: "JOB_PAUSED", seq: 1, data: 1 }), undefined);
  // The name of a property that every object has is none of an event.
  equal(readJobEvent({ event: "constructor", seq: 1, data: 1 }), undefined);
  deepEqual(readFeedEvent({ event: "NEWS", seq: "e1", data: 1 }), { seq: "e1", event: undefined });
  const known = readFeedEvent({ event: "EVENTS_DROPPED", seq: "e2", data: { count: null } });
  ok(known.event?.event === "EVENTS_DROPPED");
});
