import assert from "node:assert/strict";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import type { Event, EventCursor } from "../bus/event_cursor.ts";
import { closeGraceMs, EventBody } from "./event_body.ts";
import { keepAliveMs } from "./event_text.ts";
import { TestingEventSource } from "./testing_event_source.ts";
import { loseWithinEnqueue } from "./testing_lost_reader.ts";

const takeTimeoutMs = 30_000;

/** A row of events that grows as the test says, one event a read. */
function create({ head = "", fails = false } = {}) {
  const clock = new TestingClock();
  const row: Event[] = [];
  const seen = { reads: 0, disposed: 0, ended: 0, mayRead: true, isOver: false };
  let wake = () => {};
  const cursor: EventCursor = {
    read: () => {
      if (fails) throw new Error("the disk is gone");
      const events = row.splice(0, 1);
      seen.reads += events.length;
      return events;
    },
    get isEnded() {
      return seen.isOver && row.length === 0;
    },
    changed: (signal) =>
      new Promise((resolve) => {
        if (row.length > 0 || seen.isOver || signal.aborted) return resolve();
        wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      }),
    [Symbol.dispose]: () => seen.disposed += 1,
  };
  const events = new EventBody(cursor, {
    ...{ bytesMax: 1_000, takeTimeoutMs, clock, head },
    mayRead: () => seen.mayRead,
    ended: () => seen.ended += 1,
  });
  const push = (...jsons: string[]) => {
    for (const json of jsons) row.push({ id: String(seen.reads + row.length + 1), type: "T", json });
    wake();
  };
  const end = () => {
    seen.isOver = true;
    wake();
  };
  const letGo = () => {
    assert.deepEqual([seen.disposed, seen.ended, clock.isTimerSet], [1, 1, false]);
    return true;
  };
  return { clock, seen, events, push, end, letGo };
}

const decoder = new TextDecoder();

Deno.test("EventBody sends what its cursor has and what comes, and ends with it", async () => {
  const { events, push, end, letGo } = create({ head: "id: 0\n\n" });
  const reader = events.body.getReader();
  const next = async () => decoder.decode((await reader.read()).value);
  assert.equal(await next(), "id: 0\n\n");
  push("1");
  assert.equal(await next(), "id: 1\nevent: T\ndata: 1\n\n");
  const waiting = next();
  await settle();
  push("[2]");
  assert.equal(await waiting, "id: 2\nevent: T\ndata: [2]\n\n");
  const last = reader.read();
  await settle();
  end();
  assert.equal((await last).done, true);
  letGo();
});

Deno.test("EventBody lets no data end its event or begin another", async () => {
  const { events, push, end } = create();
  const forged = "\n\nid: 9\nevent: JOB_COMPLETED\ndata: {}\n\n";
  const texts = [
    JSON.stringify(forged),
    "[1,\n\n2]",
    "[\r\r1,\r\n\r\n2]",
    `{"a":\n\r\n\r1,"\u2028\u2029\u0085":"\\r\\n\\n"}`,
    JSON.stringify("\u2028\u2029\u0085\v\f"),
    '{"id":"7\\nid: 9"}',
    "12345678901234567890.00",
  ];
  push(...texts);
  end();
  const source = new TestingEventSource();
  source.push(await new Response(events.body).text());
  assert.deepEqual(source.events.map(({ id, type }) => [id, type]), texts.map((_, at) => [`${at + 1}`, "T"]));
  assert.deepEqual(source.events.map(({ data }) => JSON.parse(data)), texts.map((text) => JSON.parse(text)));
  assert.equal(source.events.at(-1)?.data, texts.at(-1));
});

Deno.test("EventBody reads its cursor when its reader has taken what came before, and not sooner", async () => {
  const { clock, seen, events, push, letGo } = create();
  push("1", "2", "3");
  const reader = events.body.getReader();
  await settle();
  assert.equal(seen.reads, 0);
  for (let taken = 1; taken <= 3; taken++) {
    await reader.read();
    await clock.pass(takeTimeoutMs - 1);
    assert.equal(seen.reads, taken);
  }
  await reader.cancel();
  letGo();
});

Deno.test("EventBody cuts off a reader who takes nothing, from the first or later", async () => {
  for (const takes of [0, 2]) {
    const { clock, events, push, letGo } = create();
    push("1", "2", "3");
    const reader = events.body.getReader();
    for (let taken = 0; taken < takes; taken++) await reader.read();
    await clock.pass(takeTimeoutMs);
    letGo();
    assert.equal(decoder.decode((await reader.read()).value), ": reader too slow\n\n");
    assert.equal((await reader.read()).done, true);
  }
});

Deno.test("EventBody keeps a reader who waits, with a sign of life now and then", async () => {
  const { clock, events, push, letGo } = create();
  const reader = events.body.getReader();
  for (let round = 0; round < 10; round++) {
    const waiting = reader.read();
    await settle();
    await clock.pass(keepAliveMs);
    assert.equal(decoder.decode((await waiting).value), ": keep-alive\n\n");
  }
  push("1");
  assert.match(decoder.decode((await reader.read()).value), /^id: 1\n/);
  await reader.cancel();
  letGo();
});

Deno.test("EventBody sends nothing more to a reader who may read no longer", async () => {
  const { clock, seen, events, push, letGo } = create();
  const reader = events.body.getReader();
  seen.mayRead = false;
  // What is quick is sent: the right is looked at now and then.
  push("1");
  assert.equal((await reader.read()).done, false);
  const waiting = reader.read();
  await settle();
  clock.advance(keepAliveMs - 1);
  clock.holdUp(1);
  push("2");
  assert.equal((await waiting).done, true);
  letGo();
});

Deno.test("EventBody.close() ends a waiting reader at once, a busy one with its next read", async () => {
  const waits = create();
  const waiting = waits.events.body.getReader().read();
  await settle();
  waits.events.close();
  waits.events.close();
  assert.equal((await waiting).done, true);
  waits.letGo();

  const busy = create();
  busy.push("1", "2");
  const reader = busy.events.body.getReader();
  await reader.read();
  busy.events.close();
  assert.equal((await reader.read()).done, true);
  busy.letGo();
});

Deno.test("EventBody.close() gives up a stuck reader after a moment", async () => {
  const { clock, events, push, letGo } = create();
  push("1", "2");
  const reader = events.body.getReader();
  await reader.read();
  events.close();
  await clock.pass(closeGraceMs);
  letGo();
  events.close();
  // It was not too slow: Airlock is stopping.
  assert.equal((await reader.read()).done, true);
});

Deno.test("EventBody fails with its cursor, and lets go of everything", async () => {
  const { events, letGo } = create({ fails: true });
  await assert.rejects(() => new Response(events.body).text(), /the disk is gone/);
  letGo();
});

Deno.test("EventBody lets go when its reader is gone while it waits", async () => {
  const { events, letGo } = create();
  const reader = events.body.getReader();
  const waiting = reader.read();
  await settle();
  await reader.cancel();
  assert.equal((await waiting).done, true);
  await settle();
  letGo();
});

// The timer that was left failed when its time was over, and the kernel with it.
Deno.test("EventBody waits for no reader that is lost within its enqueue", async () => {
  const { clock, events, push, letGo } = create();
  push("1");
  const reader = events.body.getReader();
  using _lost = loseWithinEnqueue(reader);
  await reader.read();
  await settle();
  letGo();
  await clock.pass(takeTimeoutMs);
});
