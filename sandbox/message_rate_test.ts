import { deepEqual, equal } from "node:assert/strict";
import { MessageRate } from "./message_rate.ts";
import { TestingClock } from "./testing_clock.ts";

Deno.test("MessageRate allows the rate for ever, and what one second allows at once", () => {
  const clock = new TestingClock();
  const rate = new MessageRate(100, clock);
  equal(rate.take(100), true);
  for (let second = 0; second < 600; second++) {
    for (let tenth = 0; tenth < 10; tenth++) {
      clock.advance(100);
      equal(rate.take(10), true);
    }
  }
  // However long it was quiet.
  clock.advance(3_600_000);
  deepEqual([rate.take(100), rate.take(1)], [true, false]);
});

Deno.test("MessageRate refuses what is above it, in one piece or in many", () => {
  const clock = new TestingClock();
  equal(new MessageRate(100, clock).take(101), false);
  const rate = new MessageRate(100, clock);
  let taken = 0;
  while (rate.take(1)) taken += 1, clock.advance(5);
  // It fills by half a message in the time of one.
  equal(taken, 199);
});
