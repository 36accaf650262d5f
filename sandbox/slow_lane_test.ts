import { deepEqual, equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers";
import { hashInSlices, SlowLane } from "./slow_lane.ts";

Deno.test("SlowLane.enter() lets one in at a time, in the order in which they came", async () => {
  const lane = new SlowLane();
  const seen: string[] = [];
  await Promise.all(["a", "b", "c"].map(async (name) => {
    const leave = await lane.enter();
    seen.push(`${name} in`);
    await Promise.resolve();
    seen.push(`${name} out`);
    leave();
  }));
  deepEqual(seen, ["a in", "a out", "b in", "b out", "c in", "c out"]);
});

// By a clock that moves with what is done: 1 ms in the lane, and 1 ms of others in each turn.
Deno.test("SlowLane leaves others several times what a slice took, where they have use for it", async () => {
  let nowMs = 0;
  let isOver = false;
  const lane = new SlowLane(() => nowMs);
  const busy = () => {
    nowMs++;
    if (!isOver) setImmediate(busy);
  };
  setImmediate(busy);
  for (let slice = 0; slice < 10; slice++) {
    const leave = await lane.enter();
    nowMs++;
    leave();
  }
  isOver = true;
  // Nobody rests before the first slice.
  ok(nowMs >= 10 + 9 * 3, `${nowMs} ms for 10 ms in the lane`);
});

Deno.test("hashInSlices() hashes as in one piece", async () => {
  const bytes = new Uint8Array(1_000_003).map((_, index) => index * 31);
  const sliced = await hashInSlices(new SlowLane(), createHash("sha256"), bytes);
  equal(sliced.digest("hex"), createHash("sha256").update(bytes).digest("hex"));
});
