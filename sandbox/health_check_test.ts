import { deepEqual, equal } from "node:assert/strict";
import { HealthCheck } from "./health_check.ts";
import { TestingClock } from "./testing_clock.ts";

function createCheck() {
  const clock = new TestingClock();
  const asked: number[] = [];
  const check = new HealthCheck(() => asked.push(0), clock);
  return { clock, asked, check };
}

Deno.test("HealthCheck tells what was answered, clipped, and nothing where all is well", async () => {
  const { clock, check } = createCheck();
  const well = check.run(100);
  equal(check.answer(2, undefined), false);
  equal(check.answer(1, undefined), true);
  equal(await well, undefined);
  const unwell = check.run(100);
  equal(check.answer(2, "x".repeat(600)), true);
  equal((await unwell)?.length, 512);
  equal(clock.isTimerSet, false);
});

Deno.test("HealthCheck says who did not answer in time, and asks no second time meanwhile", async () => {
  const { clock, asked, check } = createCheck();
  const first = check.run(100);
  clock.advance(100);
  equal(await first, "it did not answer within 100 ms");
  const second = check.run(100);
  const third = check.run(200);
  clock.advance(100);
  equal(await second, "it did not answer within 100 ms");
  equal(asked.length, 1);
  equal(check.answer(1, "tired"), true);
  equal(await third, "tired");
  equal(check.answer(1, "tired"), false);
  const fourth = check.run(100);
  equal(asked.length, 2);
  check.answer(2, undefined);
  equal(await fourth, undefined);
});

Deno.test("HealthCheck lets go of whoever waits when it cannot be said", async () => {
  const { clock, check } = createCheck();
  const both = [check.run(100), check.run(100)];
  check.release();
  deepEqual(await Promise.all(both), [undefined, undefined]);
  equal(clock.isTimerSet, false);
});
