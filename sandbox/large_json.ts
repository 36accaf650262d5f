/**
 * The check of a large output, in slices of the slow lane.
 *
 * @module
 */
import { isUtf8 } from "node:buffer";
import { JsonScan } from "../schemas/is_json.ts";
import { sliceMs, type SlowLane } from "./slow_lane.ts";

const stepBytes = 32_768;

/** As `isJson`. */
export async function isLargeJson(bytes: Uint8Array, lane: SlowLane): Promise<boolean> {
  const scan = new JsonScan();
  if (!isUtf8(bytes)) return false;
  for (let at = 0; at < bytes.length;) {
    const leave = await lane.enter();
    try {
      const endMs = performance.now() + sliceMs;
      do {
        const end = Math.min(bytes.length, at + stepBytes);
        if (!scan.take(bytes, at, end)) return false;
        at = end;
      } while (at < bytes.length && performance.now() < endMs);
    } finally {
      leave();
    }
  }
  return scan.isWhole();
}
