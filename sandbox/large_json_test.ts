import { deepEqual, equal } from "node:assert/strict";
import { isLargeJson } from "./large_json.ts";
import { SlowLane } from "./slow_lane.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
// Longer than a step, so that a piece ends inside of it.
const long = "x".repeat(40_000);

Deno.test("isLargeJson() reads over the ends of its pieces", async () => {
  const texts = [
    `["${long}",1]`,
    `["${long}",1`,
    `["${long}"]]`,
    `{"${long}":[null]}`,
    `${long}`,
    "1".repeat(40_000),
  ];
  const found = await Promise.all(texts.map((text) => isLargeJson(bytesOf(text), new SlowLane())));
  deepEqual(found, [true, false, false, true, false, true]);
});

Deno.test("isLargeJson() refuses what is not UTF-8", async () => {
  const bytes = bytesOf(`["${long}"]`);
  bytes[35_000] = 0xff;
  equal(await isLargeJson(bytes, new SlowLane()), false);
});
