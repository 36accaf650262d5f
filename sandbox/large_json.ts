/**
 * The check of a large text that it is one JSON value, in slices of the slow lane.
 *
 * @module
 */
import { isUtf8 } from "node:buffer";
import { JsonScan } from "../schemas/is_json.ts";
import { runInSlices, type SlowLane } from "./slow_lane.ts";

/** Above it, a text is better checked here than at once. */
export const smallJsonBytesMax = 65_536;
const stepBytes = 32_768;
const continuationsMax = 3;

/** As `isJson`. Rejects with the reason of `signal` when that aborts before the end. */
export async function isLargeJson(bytes: Uint8Array, lane: SlowLane, signal?: AbortSignal): Promise<boolean> {
  const scan = new JsonScan();
  let at = 0;
  let isValid = true;
  await runInSlices(lane, () => {
    signal?.throwIfAborted();
    const end = endOfCharacters(bytes, at + stepBytes);
    isValid = isUtf8(bytes.subarray(at, end)) && scan.take(bytes, at, end);
    at = end;
    return isValid && at < bytes.length ? "more" : "done";
  });
  return isValid && scan.isWhole();
}

/** No later than `end`, and between two characters, so that each step is UTF-8 by itself if the whole is. */
function endOfCharacters(bytes: Uint8Array, end: number): number {
  if (end >= bytes.length) return bytes.length;
  for (let before = 0; before < continuationsMax; before++) {
    if (((bytes[end - before] ?? 0) & 0xc0) !== 0x80) return end - before;
  }
  return end - continuationsMax;
}
