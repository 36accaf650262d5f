/**
 * The receiving half of a cell's socket: reads frames, and bounds what a cell can make of that.
 *
 * A read that finds something comes back before anything else in the process has its turn, so a cell that
 * writes without end would have the kernel to itself: after some frames the loop steps back. A cell above its
 * rate is read no further.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Frame, FrameReader } from "./frame.ts";
import { Rate } from "./rate.ts";

export interface FrameLoopOptions {
  readonly frameBytesMax: number;
  readonly messagesPerSecond: number;
  /** May throw, which ends the loop. */
  onFrame(frame: Frame): void;
}

const readBytes = 65_536;
/** After so many frames of one cell everything else has its turn. */
const framesPerTurnMax = 256;

/** Runs until the cell hangs up or is above its rate. Rejects with FrameError, and with what `onFrame` threw. */
export async function readFrames(
  connection: Pick<Deno.Conn, "read">,
  { frameBytesMax, messagesPerSecond, onFrame }: FrameLoopOptions,
): Promise<"closed" | "flooded"> {
  const frames = new FrameReader(frameBytesMax);
  const rate = new Rate(messagesPerSecond);
  const chunk = new Uint8Array(readBytes);
  let framesInTurn = 0;
  for (;;) {
    const read = await connection.read(chunk);
    if (read === null) return "closed";
    const arrived = frames.push(chunk.subarray(0, read));
    if (!rate.take(arrived.length)) return "flooded";
    for (const frame of arrived) onFrame(frame);
    framesInTurn += arrived.length;
    if (framesInTurn < framesPerTurnMax) continue;
    framesInTurn = 0;
    await nextTurn();
  }
}

/** Resolves when everything else that is due has had its turn. */
function nextTurn(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}
