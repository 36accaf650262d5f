/**
 * The receiving half of a cell's socket: reads frames, and bounds what a cell can make of that.
 *
 * A read that finds something comes back before anything else in the process has its turn, so a cell that
 * writes without end would have the kernel to itself. A small part of the loop's time is each cell's own, and all
 * those parts together are bounded too, see `own_time.ts`; what its frames take beyond that they take in the slow
 * lane, and it is read no further while it waits there. A cell above its rate is read no further at all.
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
/** So many small frames take about a slice. What a frame that has begun still lacks is taken as it comes. */
const pieceBytes = 4_096;

/** Runs until the cell hangs up or is above its rate. Rejects with FrameError, and with what `onFrame` threw. */
export async function readFrames(
  connection: Pick<Deno.Conn, "read">,
  { frameBytesMax, messagesPerSecond, lane = new SlowLane(), onFrame }: FrameLoopOptions,
): Promise<"closed" | "flooded"> {
  const frames = new FrameReader(frameBytesMax);
  const rate = new Rate(messagesPerSecond);
  const own = lane.own.open();
  const chunk = new Uint8Array(readBytes);
  for (;;) {
    const read = await connection.read(chunk);
    if (read === null) return "closed";
    let at = 0;
    const takePiece = (): "taken" | "flooded" => {
      const end = Math.min(read, at + Math.max(pieceBytes, frames.lackedBytes));
      const arrived = frames.push(chunk.subarray(at, end));
      at = end;
      if (!rate.take(arrived.length)) return "flooded";
      for (const frame of arrived) onFrame(frame);
      return "taken";
    };
    while (at < read) {
      const taken = own.isSpent() ? await lane.run(takePiece) : own.run(takePiece);
      if (taken === "flooded") return taken;
    }
  }
}
