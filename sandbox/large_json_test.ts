import { deepEqual, equal, rejects } from "node:assert/strict";
import { isJson } from "../schemas/is_json.ts";
import { isLargeJson } from "./large_json.ts";
import { SlowLane } from "./slow_lane.ts";
import { HeldLane } from "./testing_lane.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const stepBytes = 32_768;
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

Deno.test("isLargeJson() reads a character that the end of a step cuts", async () => {
  for (const character of ["é", "日", "😀"]) {
    for (let before = 0; before < 5; before++) {
      const text = `"${"x".repeat(stepBytes - 1 - before)}${character.repeat(20_000)}"`;
      equal(await isLargeJson(bytesOf(text), new SlowLane()), true, `${character} ${before} before the end`);
    }
  }
});

Deno.test("isLargeJson() refuses what is not UTF-8, wherever a step ends", async () => {
  const faults = [[0xff], [0x80], [0xe6, 0x97], [0xc3], [0xf0, 0x9f, 0x98], [0xc0, 0x80], [0xed, 0xa0, 0x80]];
  for (const fault of [...faults, [0x80, 0x80, 0x80, 0x80, 0x80]]) {
    for (let at = stepBytes - 6; at <= stepBytes + 2; at++) {
      const bytes = bytesOf(`"${long}"`);
      bytes.set(fault, at);
      equal(await isLargeJson(bytes, new SlowLane()), false, `${fault} at ${at}`);
      equal(isJson(bytes), false);
    }
  }
});

Deno.test("isLargeJson() gives up when its signal aborts", async () => {
  const lane = new HeldLane();
  const caller = new AbortController();
  const checking = isLargeJson(bytesOf(`"${long}"`), lane, caller.signal);
  caller.abort(new Error("gone"));
  lane.release();
  await rejects(checking, /gone/);
  equal(lane.asked, 1);
});
