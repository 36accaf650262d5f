import { deepEqual, equal } from "node:assert/strict";
import { Rate } from "./rate.ts";
import { TestingClock } from "./testing_clock.ts";

Deno.test("Rate allows the rate for ever, and what one second allows at once", () => {
  const clock = new TestingClock();
  const rate = new Rate(100, clock);
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

Deno.test("Rate refuses what is above it, in one piece or in many", () => {
  const clock = new TestingClock();
  equal(new Rate(100, clock).take(101), false);
  const rate = new Rate(100, clock);
  let taken = 0;
  while (rate.take(1)) taken += 1, clock.advance(5);
  // It fills by half a message in the time of one.
  equal(taken, 199);
});

// What is refused costs nothing later: a flood does not silence what comes after it.
Deno.test("Rate takes nothing where it refuses", () => {
  const clock = new TestingClock();
  const rate = new Rate(100, clock);
  equal(rate.take(60), true);
  for (let count = 0; count < 1_000; count++) equal(rate.take(41), false);
  equal(rate.take(40), true);
  clock.advance(10);
  deepEqual([rate.take(2), rate.take(1)], [false, true]);
  equal(new Rate(0, clock).take(1), false);
});
