import { deepEqual, equal } from "node:assert/strict";
import { Holds } from "./holds.ts";

Deno.test("Holds ends with the last of its reasons, and counts no time twice", () => {
  const holds = new Holds();
  holds.add("turn", 100);
  holds.add("order", 150);
  holds.add("turn", 170);
  deepEqual([holds.has("turn"), holds.has("disk"), holds.isEmpty], [true, false, false]);
  deepEqual([holds.stillMs(200), holds.heldMs("turn", 200), holds.heldMs("order", 200)], [100, 100, 50]);
  equal(holds.delete("turn", 200), false);
  equal(holds.delete("disk", 200), false);
  equal(holds.delete("order", 300), true);
  equal(holds.delete("order", 400), false);
  deepEqual([holds.isEmpty, holds.stillMs(500), holds.heldMs("turn", 500)], [true, 200, 100]);
});

Deno.test("Holds counts each of many short ones", () => {
  const holds = new Holds();
  for (let atMs = 0; atMs < 1_000; atMs += 100) {
    holds.add("turn", atMs);
    equal(holds.delete("turn", atMs + 50), true);
  }
  deepEqual([holds.stillMs(1_000), holds.heldMs("turn", 1_000)], [500, 500]);
});
