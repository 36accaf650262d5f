import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Role } from "../../schemas/api.ts";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import type { FeedEventData } from "../../schemas/event.ts";
import { Feed } from "../bus/feed.ts";
import type { ApiEnv } from "./context.ts";
import { EventReaders, readersPerCallerMax } from "./event_readers.ts";
import { keepAliveMs } from "./event_text.ts";
import { registerEvents } from "./events.ts";
import { answerProblem, refuseInvalid } from "./problems.ts";
import { bearer, createTestingKernel, type TestingKernelOptions } from "./testing_kernel.ts";
import { type ReceivedEvent, TestingEventSource } from "./testing_event_source.ts";

const life = "0badcafe";

const fact: FeedEventData<"JOB_QUEUED"> = {
  ...{ job: "01JD0000000000000000000001", plugin: "hello", action: "greet", state: "pending", attempt: 0 },
  ...{ progress: 0, code: null, parent: null },
};

function create(streams: Partial<TestingKernelOptions["config"] & object> = {}) {
  const testing = createTestingKernel({ config: { streams } });
  const revoked = new Set<string>();
  const feed = new Feed({ feedEventsMax: testing.config.streams.feedEventsMax, life });
  const kernel = {
    ...testing,
    feed,
    tokens: {
      ...testing.tokens,
      authenticate: (secret: string) => revoked.has(secret) ? undefined : testing.tokens.authenticate(secret),
    },
  };
  const readers = new EventReaders(testing.config.streams);
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
  app.onError((error, c) => answerProblem(kernel, error, c));
  const clock = new TestingClock();
  registerEvents(app, kernel, readers, clock);
  const get = (path = "/v1/events", headers: Record<string, string> = {}, role: Role = "viewer") =>
    Promise.resolve(app.request(path, { headers: { ...bearer(role), ...headers } }));
  const publish = (count: number) => {
    for (let index = 0; index < count; index++) feed.publish("JOB_QUEUED", fact);
  };
  return { kernel, feed, readers, app, get, publish, revoked, clock };
}

/** A reader of an answer. `until` resolves when so many events have come. */
function follow(response: Response) {
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const reader = (response.body ?? assert.fail("there is no body")).pipeThrough(new TextDecoderStream())
    .getReader();
  const source = new TestingEventSource();
  const until = async (count: number): Promise<readonly ReceivedEvent[]> => {
    while (source.events.length < count) {
      const { done, value } = await reader.read();
      assert.equal(done, false, `${source.events.length} of ${count} events came`);
      source.push(value ?? "");
    }
    return source.events;
  };
  return { source, until, reader };
}

const numbersOf = (events: readonly ReceivedEvent[]) =>
  events.map(({ id, type }) => (type === "EVENTS_DROPPED" ? "-" : "") + id.replace(`${life}-`, ""));

Deno.test("registerEvents() sends what happens from now on, as what it is", async () => {
  const { get, publish, feed, readers } = create();
  publish(3);
  const { until, reader } = follow(await get());
  publish(1);
  feed.publish("PLUGIN_CHANGED", { plugin: "hello", state: "running", status: "ready", breaker: "open" });
  const events = await until(2);
  assert.deepEqual(numbersOf(events), ["4", "5"]);
  assert.deepEqual(events.map(({ type }) => type), ["JOB_QUEUED", "PLUGIN_CHANGED"]);
  assert.deepEqual(JSON.parse(events[0]?.data ?? ""), fact);
  assert.equal(readers.count, 1);
  await reader.cancel();
  assert.equal(readers.count, 0);
});

Deno.test("registerEvents() tells a reader where it is before the first event, to come back without loss", async () => {
  const { get, publish } = create();
  publish(3);
  const { source, reader } = follow(await get());
  source.push((await reader.read()).value ?? "");
  await reader.cancel();
  assert.deepEqual([source.lastId, source.events], [`${life}-3`, []]);
  publish(2);
  const back = follow(await get("/v1/events", { "last-event-id": source.lastId }));
  assert.deepEqual(numbersOf(await back.until(2)), ["4", "5"]);
  await back.reader.cancel();
});

Deno.test("registerEvents() goes on after any event, by header or parameter, the header first", async () => {
  const { get, publish } = create();
  publish(10);
  for (let after = 0; after < 10; after++) {
    const expected = Array.from({ length: 10 - after }, (_, index) => String(after + 1 + index));
    const asked: Promise<Response>[] = [
      get("/v1/events", { "Last-Event-ID": `${life}-${after}` }),
      get(`/v1/events?after=${life}-${after}`),
      get(`/v1/events?after=${life}-1`, { "last-event-id": `${life}-${after}` }),
    ];
    for (const response of asked) {
      const { until, reader } = follow(await response);
      assert.deepEqual(numbersOf(await until(10 - after)), expected);
      await reader.cancel();
    }
  }
});

Deno.test("registerEvents() answers a forged id with what there is, after a marker", async () => {
  const { get, publish } = create({ feedEventsMax: 2 });
  publish(5);
  for (const id of ["deadbeef-4", `${life}-6`, "null", "-1", "%00", "x".repeat(4_000), `${life}-4, x`]) {
    const { until, reader } = follow(await get("/v1/events", { "last-event-id": id }));
    const events = await until(3);
    assert.deepEqual(numbersOf(events), ["-3", "4", "5"]);
    assert.equal(events[0]?.data, '{"count":null}');
    await reader.cancel();
  }
});

Deno.test("registerEvents() is for viewers and above, and takes no parameter it does not know", async () => {
  const { app, get, readers, kernel } = create();
  assert.equal((await app.request("/v1/events")).status, 401);
  const misspelt = await get("/v1/events?afer=1");
  assert.deepEqual([misspelt.status, (await misspelt.json()).code], [422, "INPUT_INVALID"]);
  kernel.state.status = "draining";
  assert.equal((await get()).status, 503);
  assert.equal(readers.count, 0);
});

Deno.test("registerEvents() answers HEAD without taking a place", async () => {
  const { app, readers } = create();
  const response = await app.request("/v1/events", { method: "HEAD", headers: bearer("viewer") });
  assert.deepEqual([response.status, response.body, readers.count], [200, null, 0]);
});

Deno.test("registerEvents() refuses a caller with too many readers, and lets it in when one is gone", async () => {
  const { get, readers } = create();
  const open = await Promise.all(Array.from({ length: readersPerCallerMax }, () => get()));
  const refused = await get();
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "5"]);
  assert.equal((await refused.json()).code, "QUEUE_FULL");
  const other = await get("/v1/events", {}, "operator");
  assert.equal(other.status, 200);
  await open[0]?.body?.cancel();
  const again = await get();
  assert.equal(again.status, 200);
  for (const { body } of [...open.slice(1), other, again]) await body?.cancel();
  assert.equal(readers.count, 0);
});

Deno.test("registerEvents() serves 99 readers while one takes nothing", async () => {
  const { get, publish } = create({ feedEventsMax: 64 });
  const stuck = follow(await get());
  const others = await Promise.all(Array.from({ length: 99 }, async () => follow(await get())));
  for (let round = 1; round <= 20; round++) {
    publish(50);
    for (const { until } of others) await until(round * 50);
  }
  const expected = Array.from({ length: 1_000 }, (_, index) => String(index + 1));
  for (const { source } of others) assert.deepEqual(numbersOf(source.events), expected);
  const late = await stuck.until(65);
  assert.deepEqual(numbersOf(late), ["-936", ...expected.slice(-64)]);
  assert.equal(late[0]?.data, '{"count":936}');
  for (const { reader } of [stuck, ...others]) await reader.cancel();
});

Deno.test("registerEvents() ends the stream of a token that was revoked", async () => {
  const { get, revoked, clock, publish, readers } = create();
  const { reader, until, source } = follow(
    await get("/v1/events", { authorization: "bearer  secret-viewer" }),
  );
  publish(1);
  await until(1);
  const waiting = reader.read();
  await settle();
  await clock.pass(keepAliveMs);
  assert.equal((await waiting).value, ": keep-alive\n\n");
  revoked.add("secret-viewer");
  const last = reader.read();
  await settle();
  await clock.pass(keepAliveMs);
  publish(1);
  assert.equal((await last).done, true);
  assert.equal(source.events.length, 1);
  assert.equal(readers.count, 0);
});

Deno.test("EventReaders.closeAll() ends every stream of events", async () => {
  const { get, readers } = create();
  const streams = await Promise.all([get(), get(), get()]);
  const texts = streams.map((response) => response.text());
  // The first thing sent says that it is read.
  const { reader } = follow(await get());
  await reader.read();
  readers.closeAll();
  assert.equal((await reader.read()).done, true);
  for (const text of texts) assert.match(await text, /^(?:id: 0badcafe-0\n\n)?$/);
  assert.equal(readers.count, 0);
  const refused = await get();
  assert.deepEqual([refused.status, (await refused.json()).code], [503, "NOT_READY"]);
});
