import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { Turnstile } from "./turnstile.ts";

const never = () => new AbortController().signal;

Deno.test("Turnstile lets so many through at once, and the next when one leaves", async () => {
  const turnstile = new Turnstile(2, 10);
  deepEqual([turnstile.tryEnter(), turnstile.tryEnter(), turnstile.tryEnter()], [true, true, false]);
  const third = turnstile.enter(never(), 10_000);
  deepEqual([turnstile.insideCount, turnstile.waitingCount], [2, 1]);
  turnstile.leave();
  equal(await third, true);
  deepEqual([turnstile.insideCount, turnstile.waitingCount], [2, 0]);
});

Deno.test("Turnstile admits those who wait in the order they came", async () => {
  const turnstile = new Turnstile(1, 10);
  turnstile.tryEnter();
  const order: number[] = [];
  const entering = [1, 2, 3].map((who) => turnstile.enter(never(), 10_000).then(() => order.push(who)));
  for (let left = 0; left < 3; left++) turnstile.leave();
  await Promise.all(entering);
  deepEqual(order, [1, 2, 3]);
});

Deno.test("Turnstile turns away who comes when the line is full", async () => {
  const turnstile = new Turnstile(1, 1);
  turnstile.tryEnter();
  const first = turnstile.enter(never(), 10_000);
  equal(await turnstile.enter(never(), 10_000), false);
  turnstile.leave();
  equal(await first, true);
});

Deno.test("Turnstile hands no place to one who gave up, and frees the place in line", async () => {
  const turnstile = new Turnstile(1, 1);
  turnstile.tryEnter();
  const impatient = new AbortController();
  const first = turnstile.enter(impatient.signal, 10_000);
  impatient.abort();
  equal(await first, false);
  const second = turnstile.enter(never(), 10_000);
  turnstile.leave();
  equal(await second, true);
  // After the admission an abort changes nothing.
  impatient.abort();
  equal(turnstile.insideCount, 1);
});

Deno.test("Turnstile lets nobody wait whose signal has aborted", async () => {
  const turnstile = new Turnstile(1, 1);
  equal(await turnstile.enter(AbortSignal.abort(), 10_000), true);
  equal(await turnstile.enter(AbortSignal.abort(), 10_000), false);
  equal(turnstile.waitingCount, 0);
});

type Step = { kind: "enter" } | { kind: "leave" } | { kind: "abort"; who: number };
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>({ kind: "enter" }),
  fc.constant<Step>({ kind: "leave" }),
  fc.nat({ max: 20 }).map((who): Step => ({ kind: "abort", who })),
);

Deno.test("Turnstile never exceeds its two limits, loses no place, and answers everybody once", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 0, max: 4 }),
    fc.array(steps, { maxLength: 60 }),
    async (insideMax, waitingMax, plan) => {
      const turnstile = new Turnstile(insideMax, waitingMax);
      const visitors: { controller: AbortController; state: "waiting" | "inside" | "away" }[] = [];
      const inside = () => visitors.filter(({ state }) => state === "inside").length;
      for (const step of plan) {
        if (step.kind === "enter") {
          const visitor: typeof visitors[number] = { controller: new AbortController(), state: "waiting" };
          visitors.push(visitor);
          void turnstile.enter(visitor.controller.signal, 10_000).then((entered) => {
            equal(visitor.state, "waiting");
            visitor.state = entered ? "inside" : "away";
          });
        } else if (step.kind === "leave") {
          const leaving = visitors.find(({ state }) => state === "inside");
          if (leaving !== undefined) {
            leaving.state = "away";
            turnstile.leave();
          }
        } else visitors[step.who]?.controller.abort();
        for (let tick = 0; tick < 4; tick++) await null;
        equal(turnstile.insideCount, inside());
        ok(turnstile.insideCount <= insideMax && turnstile.waitingCount <= waitingMax);
        ok(turnstile.waitingCount === 0 || turnstile.insideCount === insideMax);
      }
      while (inside() > 0) {
        const leaving = visitors.find(({ state }) => state === "inside");
        if (leaving !== undefined) leaving.state = "away";
        turnstile.leave();
        for (let tick = 0; tick < 4; tick++) await null;
      }
      ok(visitors.every(({ state }) => state === "away"));
      deepEqual([turnstile.insideCount, turnstile.waitingCount], [0, 0]);
    },
  ));
});

Deno.test("Turnstile.enter() gives up when the time is over, and its place goes to nobody", async () => {
  const turnstile = new Turnstile(1, 4);
  ok(turnstile.tryEnter());
  equal(await turnstile.enter(never(), 1), false);
  equal(turnstile.waitingCount, 0);
  turnstile.leave();
  equal(turnstile.insideCount, 0);
});
