import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { encodeFrame, FrameError } from "./frame.ts";
import { readFrames } from "./frame_loop.ts";
import { HeldLane } from "./testing_lane.ts";

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

// Two that send without end wait for the lane; the third, which sends little, does not.
Deno.test("readFrames() takes few frames at once, whoever is in the slow lane", async () => {
  const lane = new HeldLane();
  const floods = [new Flood(), new Flood()];
  const options = { frameBytesMax: 65_536, messagesPerSecond: 10_000_000, lane };
  const flooding = floods.map((flood) => readFrames(flood, { ...options, onFrame() {} }));
  const modest = new Flood();
  let frames = 0;
  const end = await readFrames({ read: (chunk) => modest.read(chunk.subarray(0, frame.length)) }, {
    ...options,
    onFrame: () => modest.isClosed = ++frames === 3,
  });
  deepEqual([end, frames], ["closed", 3]);
  for (const flood of floods) flood.isClosed = true;
  lane.release();
  deepEqual(await Promise.all(flooding), ["closed", "closed"]);
});

Deno.test("readFrames() takes what a large frame lacks as it comes, and of what is behind it no more than a slice", async () => {
  const large = encodeFrame({ type: "result", id: 1 }, new Uint8Array(100_000));
  const behind = Math.floor((3 * 65_536 - large.length) / frame.length);
  const bytes = new Uint8Array(large.length + behind * frame.length);
  bytes.set(large);
  for (let index = 0; index < behind; index++) bytes.set(frame, large.length + index * frame.length);
  let at = 0;
  const read = (chunk: Uint8Array) => {
    if (at === bytes.length) return Promise.resolve(null);
    const piece = bytes.subarray(at, at += chunk.length);
    at = Math.min(at, bytes.length);
    chunk.set(piece);
    return Promise.resolve(piece.length);
  };
  // The large frame uses up for good what its cell has of its own, so all pieces after it wait for the lane.
  let nowMs = 0;
  const lane = new HeldLane(() => nowMs);
  const framesIn: number[] = [];
  const end = readFrames({ read }, {
    ...{ frameBytesMax: 1_048_576, messagesPerSecond: 10_000_000, lane },
    onFrame() {
      if (nowMs === 0) nowMs = 1_000;
      framesIn[lane.asked] = (framesIn[lane.asked] ?? 0) + 1;
    },
  });
  lane.release();
  equal(await end, "closed");
  const slices = framesIn.filter((count) => count > 0);
  equal(slices.reduce((sum, count) => sum + count, 0), 1 + behind);
  ok(Math.max(...slices) <= 4_096 / frame.length + 1, `${Math.max(...slices)} frames in one slice`);
  ok(lane.asked <= behind * frame.length / 4_096 + 2, `${lane.asked} slices`);
});
