/**
 * The receiving half of a cell's socket: reads frames, and bounds what a cell can make of that.
 *
 * A read that finds something comes back before anything else in the process has its turn, so a cell that
 * writes without end would have the kernel to itself. A small part of the loop's time is each cell's own; what
 * its frames take beyond that they take in the slow lane, and it is read no further while it waits there. A cell
 * above its rate is read no further at all.
 *
 * @module
 */
import { type Frame, FrameReader } from "./frame.ts";
import { Rate } from "./rate.ts";
import { SlowLane } from "./slow_lane.ts";

export interface FrameLoopOptions {
  readonly frameBytesMax: number;
  readonly messagesPerSecond: number;
  readonly lane?: SlowLane | undefined;
  /** May throw, which ends the loop. */
  onFrame(frame: Frame): void;
}

const readBytes = 65_536;
/** So many small frames take about a slice. A large frame is taken as it comes. */
const pieceBytes = 4_096;
/** Of the loop's time, that each cell has outside of the lane; and as much of it at once. */
const ownPart = 0.05;
const ownMsMax = 0.5;

/** Runs until the cell hangs up or is above its rate. Rejects with FrameError, and with what `onFrame` threw. */
export async function readFrames(
  connection: Pick<Deno.Conn, "read">,
  { frameBytesMax, messagesPerSecond, lane = new SlowLane(), onFrame }: FrameLoopOptions,
): Promise<"closed" | "flooded"> {
  const frames = new FrameReader(frameBytesMax);
  const rate = new Rate(messagesPerSecond);
  const own = new OwnTime();
  const chunk = new Uint8Array(readBytes);
  for (;;) {
    const read = await connection.read(chunk);
    if (read === null) return "closed";
    for (let at = 0; at < read;) {
      const leave = own.isSpent() ? await lane.enter() : undefined;
      const startedMs = performance.now();
      try {
        const end = frames.heldBytes > pieceBytes ? read : Math.min(read, at + pieceBytes);
        const arrived = frames.push(chunk.subarray(at, end));
        at = end;
        if (!rate.take(arrived.length)) return "flooded";
        for (const frame of arrived) onFrame(frame);
      } finally {
        leave?.();
      }
      if (leave === undefined) own.spend(startedMs);
    }
  }
}

/** What a cell may take of the loop's time outside of the lane. */
class OwnTime {
  #leftMs = ownMsMax;
  #atMs = performance.now();

  isSpent(): boolean {
    const nowMs = performance.now();
    this.#leftMs = Math.min(ownMsMax, this.#leftMs + (nowMs - this.#atMs) * ownPart);
    this.#atMs = nowMs;
    return this.#leftMs <= 0;
  }

  spend(sinceMs: number): void {
    this.#leftMs -= performance.now() - sinceMs;
  }
}
