import { equal, rejects } from "node:assert/strict";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import { Changes, Patience } from "./patience.ts";

Deno.test("Patience.until() gives what was waited for, and is over for all waits together", async () => {
  const timing = new TestingClock();
  using patience = new Patience("echo", timing, { waitMs: 100 });
  equal(await patience.until(Promise.resolve(7), () => "it is 7"), 7);
  await timing.pass(100);
  await rejects(patience.until(new Promise(() => {}), () => "it is busy"), { code: "QUEUE_FULL" });
});

Deno.test("Changes wakes those who wait, and forgets those who gave up", async () => {
  const changes = new Changes();
  let woken = 0;
  using next = changes.next();
  void next.change.then(() => woken++);
  {
    using _given_up = changes.next();
    equal(changes.waitingCount, 2);
  }
  equal(changes.waitingCount, 1);
  changes.announce();
  await settle();
  equal(woken, 1);
  equal(changes.waitingCount, 0);
});
