import assert from "node:assert/strict";
import { settle } from "../../../sandbox/testing_clock.ts";
import type { Event, EventCursor } from "../../bus/event_cursor.ts";
import type { Turn } from "./outbox.ts";
import { pump } from "./pump.ts";

/** Events come when the test says so. */
class Cursor implements EventCursor {
  readonly there: Event[] = [];
  isEnded = false;
  news = Promise.withResolvers<void>();

  read(bytesMax: number): Event[] {
    return this.there.splice(0, bytesMax);
  }

  async changed(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.news.resolve());
    await this.news.promise;
    this.news = Promise.withResolvers<void>();
  }

  [Symbol.dispose](): void {}
}

function startPump() {
  const cursor = new Cursor();
  const turns: Turn[] = [];
  const room = { now: Promise.withResolvers<void>() };
  const sent: string[] = [];
  const controller = new AbortController();
  const outbox = {
    take: async (turn: Turn) => {
      turns.push(turn);
      await room.now.promise;
      sent.push(...turn(2));
    },
  };
  const { signal } = controller;
  const done = pump({ cursor, outbox, signal, toText: ({ id }) => id });
  return { cursor, turns, room, sent, controller, done };
}

const event = (id: string): Event => ({ id, type: "JOB_TOKEN", json: "1" });

Deno.test("pump() reads only when there is room, and ends with its cursor", async () => {
  const { cursor, room, sent, done } = startPump();
  cursor.there.push(event("1"), event("2"), event("3"));
  await settle();
  assert.deepEqual([cursor.there.length, sent], [3, []]);
  room.now.resolve();
  await settle();
  assert.deepEqual(sent, ["1", "2", "3"]);
  cursor.there.push(event("4"));
  cursor.news.resolve();
  await settle();
  assert.deepEqual(sent, ["1", "2", "3", "4"]);
  cursor.there.push(event("5"));
  cursor.isEnded = true;
  cursor.news.resolve();
  await done;
  assert.deepEqual(sent, ["1", "2", "3", "4", "5"]);
});

Deno.test("pump() ends when it is aborted, whatever it waits for, and sends nothing after", async () => {
  const waiting = startPump();
  waiting.room.now.resolve();
  await settle();
  waiting.controller.abort();
  await waiting.done;
  const crowded = startPump();
  crowded.cursor.there.push(event("1"));
  crowded.controller.abort();
  crowded.room.now.resolve();
  await crowded.done;
  assert.deepEqual([crowded.sent, crowded.cursor.there.length], [[], 1]);
});
