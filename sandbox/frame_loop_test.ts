import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { encodeFrame, FrameError } from "./frame.ts";
import { readFrames } from "./frame_loop.ts";
import { SlowLane } from "./slow_lane.ts";

const frame = encodeFrame({ type: "log", level: "info", message: "x" });

/** A connection that always has something to read, until it is closed. */
class Flood {
  isClosed = false;

  read(chunk: Uint8Array): Promise<number | null> {
    if (this.isClosed) return Promise.resolve(null);
    const frames = Math.floor(chunk.length / frame.length);
    for (let index = 0; index < frames; index++) chunk.set(frame, index * frame.length);
    return Promise.resolve(frames * frame.length);
  }
}

// Without its pauses the loop would never let the timer fire.
Deno.test("readFrames() leaves others their turn while a cell sends without end", async () => {
  const flood = new Flood();
  setTimeout(() => flood.isClosed = true, 20);
  let frames = 0;
  const end = await readFrames(flood, {
    ...{ frameBytesMax: 65_536, messagesPerSecond: 10_000_000 },
    onFrame: () => frames++,
  });
  equal(end, "closed");
  ok(frames > 0);
});

Deno.test("readFrames() reads no further when the rate is exceeded, and hands on nothing of that", async () => {
  let frames = 0;
  const startedMs = performance.now();
  const end = await readFrames(new Flood(), {
    ...{ frameBytesMax: 65_536, messagesPerSecond: 3_000 },
    onFrame: () => frames++,
  });
  // Others have their turns meanwhile, and what it may send grows with time.
  const framesMax = 3_000 * (1 + (performance.now() - startedMs) / 1_000);
  deepEqual([end, frames <= framesMax], ["flooded", true]);
});

Deno.test("readFrames() ends with what was wrong with a frame, and with what its receiver threw", async () => {
  const options = { frameBytesMax: 8, messagesPerSecond: 1_000_000 };
  await rejects(readFrames(new Flood(), { ...options, onFrame() {} }), FrameError);
  const thrown = new Error("it greeted twice");
  const onFrame = () => {
    throw thrown;
  };
  await rejects(readFrames(new Flood(), { ...options, frameBytesMax: 65_536, onFrame }), thrown);
});

// Two that send without end share the lane; the third, which sends little, does not wait for it.
Deno.test("readFrames() takes few frames at once, whoever is in the slow lane", async () => {
  const lane = new SlowLane();
  const floods = [new Flood(), new Flood()];
  const options = { frameBytesMax: 65_536, messagesPerSecond: 10_000_000, lane };
  const flooding = floods.map((flood) => readFrames(flood, { ...options, onFrame() {} }));
  const leave = await lane.enter();
  const modest = new Flood();
  let frames = 0;
  const end = await readFrames({ read: (chunk) => modest.read(chunk.subarray(0, frame.length)) }, {
    ...options,
    onFrame: () => modest.isClosed = ++frames === 3,
  });
  deepEqual([end, frames], ["closed", 3]);
  leave();
  for (const flood of floods) flood.isClosed = true;
  deepEqual(await Promise.all(flooding), ["closed", "closed"]);
});
