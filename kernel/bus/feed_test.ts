import assert from "node:assert/strict";
import type { FeedEventData } from "../../schemas/event.ts";
import type { EventCursor } from "./event_cursor.ts";
import { Feed } from "./feed.ts";

const life = "0badcafe";
const all = 1e9;

function create(feedEventsMax = 8) {
  const feed = new Feed({ feedEventsMax, life });
  const publish = (count: number) => {
    for (let index = 0; index < count; index++) feed.publish("PLUGIN_CHANGED", fact);
  };
  return { feed, publish };
}

const fact: FeedEventData<"PLUGIN_CHANGED"> = {
  plugin: "hello",
  state: "running",
  status: "ready",
  breaker: "closed",
};

/** Numbers of the events that are there; of a marker "-<count>". */
function read(cursor: EventCursor, bytesMax = all): (number | string)[] {
  return cursor.read(bytesMax).map(({ id, type, json }) => {
    if (type === "EVENTS_DROPPED") return `-${JSON.parse(json).count}`;
    assert.deepEqual(JSON.parse(json), fact);
    return Number(new RegExp(`^${life}-(\\d+)$`).exec(id)?.[1] ?? assert.fail(id));
  });
}

/** A signal that tells how many listen to it. */
function countingSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    count += 1;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    count -= 1;
    removeEventListener.apply(signal, args);
  };
  return { signal, abort: () => controller.abort(), listening: () => count };
}

Deno.test("Feed.watch() begins with what is published next", () => {
  const { feed, publish } = create();
  publish(2);
  using cursor = feed.watch();
  assert.deepEqual([read(cursor), cursor.isEnded, cursor.id], [[], false, `${life}-2`]);
  publish(3);
  assert.deepEqual([read(cursor), read(cursor), cursor.id], [[3, 4, 5], [], `${life}-5`]);
});

Deno.test("Feed.watch() goes on after every id there is, and after where a reader is", () => {
  const { feed, publish } = create();
  publish(5);
  for (let number = 0; number <= 5; number++) {
    const expected = [1, 2, 3, 4, 5].slice(number);
    using cursor = feed.watch(`${life}-${number}`);
    assert.deepEqual([cursor.id, read(cursor)], [`${life}-${number}`, expected]);
  }
  using quiet = feed.watch();
  publish(1);
  assert.deepEqual(read(feed.watch(quiet.id)), [6]);
});

Deno.test("Feed makes the JSON of an event once, for all its readers", () => {
  const { feed, publish } = create();
  const cursors = Array.from({ length: 10_000 }, () => feed.watch());
  publish(1);
  const [[first], ...others] = cursors.map((cursor) => cursor.read(all));
  assert.ok(others.every(([event]) => event === first));
});

Deno.test("Feed tells a reader that fell behind exactly how many it missed, and goes on", () => {
  const { feed, publish } = create(8);
  using cursor = feed.watch();
  publish(8);
  assert.equal(read(feed.watch(cursor.id)).length, 8);
  publish(1);
  assert.deepEqual(read(cursor), ["-1", 2, 3, 4, 5, 6, 7, 8, 9]);
  publish(1_000);
  assert.deepEqual(read(cursor), ["-992", 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009]);
  assert.deepEqual(read(feed.watch(`${life}-3`)).slice(0, 2), ["-998", 1002]);
});

Deno.test("Feed resumes at a marker's id without loss or doubles", () => {
  const { feed, publish } = create(4);
  publish(10);
  for (const after of [`${life}-1`, "deadbeef-1"]) {
    const [marker] = feed.watch(after).read(1);
    assert.equal(marker?.type, "EVENTS_DROPPED");
    assert.deepEqual(read(feed.watch(marker.id)), [7, 8, 9, 10]);
  }
  const [marker] = feed.watch(`${life}-1`).read(1);
  publish(3);
  assert.deepEqual(read(feed.watch(marker?.id)), ["-3", 10, 11, 12, 13]);
});

Deno.test("Feed.watch() answers an id that is none of its own with a marker of unknown count", () => {
  const { feed, publish } = create(4);
  const ids = [
    "deadbeef-3",
    `${life}-7`,
    `${life}-999999999999999`,
    `${life}-9999999999999999999999`,
    `${life}--1`,
    `${life}-01`,
    `${life}-1.5`,
    `${life}-1e0`,
    `${life}-`,
    `${life}-1\n`,
    ` ${life}-1`,
    life.toUpperCase() + "-1",
    "NaN",
    "",
    "__proto__",
    "9".repeat(100_000),
  ];
  for (const id of ids) assert.deepEqual(read(feed.watch(id)), ["-null"], id.slice(0, 40));
  publish(6);
  for (const id of ids.filter((id) => id !== `${life}-7`)) {
    assert.deepEqual(read(feed.watch(id)), ["-null", 3, 4, 5, 6], id.slice(0, 40));
  }
  assert.deepEqual(read(feed.watch(`${life}-7`)), ["-null", 3, 4, 5, 6]);
  // Whoever has read the marker is a reader like any other.
  using cursor = feed.watch("deadbeef-3");
  assert.deepEqual(read(cursor, 1), ["-null"]);
  publish(2);
  assert.deepEqual(read(cursor), ["-2", 5, 6, 7, 8]);
});

Deno.test("Feed's cursors read about as much as was asked for, and at least one event", () => {
  const { feed, publish } = create(100);
  using cursor = feed.watch();
  publish(50);
  assert.deepEqual(read(cursor, 1), [1]);
  const size = JSON.stringify(fact).length;
  const some = read(cursor, 10 * size);
  assert.ok(some.length > 1 && some.length <= 10, String(some.length));
  assert.equal(read(cursor).length, 49 - some.length);
});

Deno.test("Feed's cursors wait for the next event, the signal or their end, and leave no listener", async () => {
  const { feed, publish } = create();
  using cursor = feed.watch();
  const waiting = countingSignal();
  for (let round = 0; round < 100; round++) {
    const changed = cursor.changed(waiting.signal);
    assert.equal(waiting.listening(), 1);
    publish(1);
    await changed;
    assert.deepEqual([read(cursor).length, waiting.listening()], [1, 0]);
  }
  const ended = cursor.changed(waiting.signal);
  const aborted = cursor.changed(waiting.signal);
  waiting.abort();
  await aborted;
  await ended;
  await cursor.changed(waiting.signal);
  const last = countingSignal();
  const disposed = cursor.changed(last.signal);
  cursor[Symbol.dispose]();
  await disposed;
  await cursor.changed(last.signal);
  assert.deepEqual([waiting.listening(), last.listening(), cursor.isEnded], [0, 0, true]);
  publish(1);
  assert.deepEqual(read(cursor), []);
});

Deno.test("Feed's cursors do not wait where there is something to read", async () => {
  const { feed, publish } = create(2);
  const { signal } = new AbortController();
  publish(5);
  for (const id of [`${life}-4`, `${life}-1`, "deadbeef-1"]) {
    using cursor = feed.watch(id);
    await cursor.changed(signal);
    assert.ok(read(cursor).length > 0);
  }
});

// A reader is told its place before it reads, and may be cut in between.
Deno.test("FeedCursor.id resumes where its reader is, also before that was told of a gap", () => {
  const { feed, publish } = create(4);
  using fresh = feed.watch();
  assert.equal(fresh.id, `${life}-0`);
  publish(2);
  assert.equal(fresh.id, `${life}-0`);
  {
    using again = feed.watch(fresh.id);
    assert.deepEqual(read(again), [1, 2]);
    assert.equal(again.id, `${life}-2`);
  }
  publish(4);
  for (
    const [id, expected] of [[fresh.id, ["-2", 3, 4, 5, 6]], ["cafecafe-5", ["-null", 3, 4, 5, 6]]] as const
  ) {
    using cut = feed.watch(id);
    using again = feed.watch(cut.id);
    assert.deepEqual(read(again), expected);
    assert.equal(again.id, `${life}-6`);
  }
});
