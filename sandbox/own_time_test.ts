import { equal, ok } from "node:assert/strict";
import { type OwnTime, OwnTimes } from "./own_time.ts";

/** A loop on which time passes as its cells use it, and a little between two rounds. */
function setUp(cells: number) {
  const state = { nowMs: 0 };
  const times = new OwnTimes(() => state.nowMs);
  const opened = Array.from({ length: cells }, () => times.open());
  /** What these take until then, where each always has something to be read. */
  const takenMs = (untilMs: number, own: readonly OwnTime[] = opened) => {
    let takenMs = 0;
    for (; state.nowMs < untilMs; state.nowMs += 0.5) {
      for (const one of own.filter((one) => !one.isSpent())) {
        one.run(() => state.nowMs += 0.2);
        takenMs += 0.2;
      }
    }
    return takenMs;
  };
  return { state, opened, takenMs };
}

Deno.test("OwnTimes gives each cell its part, and all of them together no more than theirs", () => {
  for (const [cells, most] of [[1, 0.05], [4, 0.2], [16, 0.2], [256, 0.2]] as const) {
    const { takenMs } = setUp(cells);
    takenMs(5_000);
    const part = takenMs(10_000) / 5_000;
    ok(part > most * 0.7 && part < most * 1.3, `${cells} cells had ${part} of the loop`);
  }
});

Deno.test("OwnTimes counts who takes much, while that lasts", () => {
  const { opened, takenMs } = setUp(100);
  const [first] = opened;
  const alone = first === undefined ? [] : [first];
  takenMs(1_000);
  const beside = takenMs(2_000, alone);
  takenMs(4_000, alone);
  const after = takenMs(5_000, alone);
  ok(beside < 10 && after > 40 && after < 60, `${beside} ms beside others, ${after} ms when they rest`);
});

Deno.test("OwnTimes does not count who only answers to pings", () => {
  const { state, opened, takenMs } = setUp(256);
  const [first, ...others] = opened;
  let busyMs = 0;
  for (let second = 0; second < 5; second++) {
    for (const own of others) {
      equal(own.isSpent(), false);
      own.run(() => state.nowMs += 0.05);
    }
    busyMs = takenMs((second + 1) * 1_000, first === undefined ? [] : [first]);
  }
  ok(busyMs > 40, `${busyMs} ms in a second`);
});

Deno.test("OwnTimes bounds what many that rested take at once", () => {
  const { state, opened } = setUp(256);
  state.nowMs += 500;
  const atMs = state.nowMs;
  for (const own of opened) while (!own.isSpent()) own.run(() => state.nowMs += 0.01);
  const tookMs = state.nowMs - atMs;
  ok(tookMs < 256 * 0.25, `${tookMs} ms at once`);
});
