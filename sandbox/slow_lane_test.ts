import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers";
import { hashInSlices, runInSlices, SlowLane } from "./slow_lane.ts";

Deno.test("SlowLane.run() runs one slice at a time, in the order in which they came", async () => {
  const lane = new SlowLane();
  const seen: string[] = [];
  const runs = ["a", "b", "c"].map((name) => lane.run(() => seen.push(name)));
  deepEqual([await Promise.all(runs), seen], [[1, 2, 3], ["a", "b", "c"]]);
});

Deno.test("SlowLane.run() hands on what a slice throws, and is free for the next", async () => {
  const lane = new SlowLane();
  const error = new Error("no");
  const thrown = lane.run(() => {
    throw error;
  });
  const next = lane.run(() => "next");
  await rejects(thrown, error);
  equal(await next, "next");
});

/** How long ten slices of `sliceMs` take where turns of everything else take so long: by a clock that they move. */
async function timeOfTen(turnsMs: readonly number[], sliceMs = 1): Promise<number> {
  let nowMs = 0;
  let isOver = false;
  const clock = {
    nowMs: () => nowMs,
    setTimer(fire: () => void, inMs: number) {
      nowMs += inMs;
      queueMicrotask(fire);
      return () => {};
    },
  };
  const lane = new SlowLane(clock);
  const busy = (turn: number) => {
    nowMs += turnsMs[turn % turnsMs.length] ?? 0;
    if (!isOver) setImmediate(busy, turn + 1);
  };
  setImmediate(busy, 0);
  for (let slice = 0; slice < 10; slice++) await lane.run(() => nowMs += sliceMs);
  isOver = true;
  return nowMs;
}

Deno.test("SlowLane rests for several times what a slice took, where there are others", async () => {
  // Nobody rests before there were others twice. A turn of 0.08 ms has one small request; the last traffic is uneven.
  for (const turnsMs of [[1], [0.08], [0.05, 0.09], [0.2, 0, 0]]) {
    const tookMs = await timeOfTen(turnsMs);
    ok(tookMs >= 10 + 6 * 5 && tookMs <= 10 + 9 * 5 + 12, `${tookMs} ms for 10 ms, turns of ${turnsMs} ms`);
  }
});

Deno.test("SlowLane owes the short rests of small slices", async () => {
  const tookMs = await timeOfTen([0.08], 0.1);
  ok(tookMs >= 3 && tookMs <= 7, `${tookMs} ms for 1 ms in the lane`);
});

Deno.test("SlowLane does not rest for long after a slice that was held up", async () => {
  const tookMs = await timeOfTen([0.08], 60_000);
  ok(tookMs < 10 * 60_000 + 9 * 51, `${tookMs} ms for ten minutes in the lane`);
});

Deno.test("SlowLane waits for nobody where the loop has nothing else to do", async () => {
  const tookMs = await timeOfTen([0.002]);
  ok(tookMs < 11, `${tookMs} ms for 10 ms in the lane`);
  // One long turn now and then is the collection of garbage.
  const withGarbageMs = await timeOfTen([0.002, 0.002, 0.002, 0.5, ...Array(60).fill(0.002)], 10);
  ok(withGarbageMs < 102, `${withGarbageMs} ms for 100 ms in the lane`);
});

Deno.test("runInSlices() ends with what a step throws", async () => {
  const lane = new SlowLane();
  let steps = 0;
  const error = new Error("no");
  const step = () => {
    if (++steps === 3) throw error;
    return "more" as const;
  };
  await rejects(runInSlices(lane, step), error);
  equal(steps, 3);
});

Deno.test("hashInSlices() hashes as in one piece", async () => {
  const bytes = new Uint8Array(1_000_003).map((_, index) => index * 31);
  const sliced = await hashInSlices(new SlowLane(), createHash("sha256"), bytes);
  equal(sliced.digest("hex"), createHash("sha256").update(bytes).digest("hex"));
});
