import { deepEqual, equal } from "node:assert/strict";
import { Allowance } from "./allowance.ts";

Deno.test("Allowance lets so many through in a second, and tells once how many it did not", () => {
  const allowance = new Allowance(2);
  deepEqual([0, 1, 2, 999, 1_000].map((nowMs) => allowance.admits(nowMs)), [true, true, false, false, true]);
  deepEqual([allowance.takeRefused(), allowance.takeRefused()], [2, 0]);
});

// Refusing costs nothing later: a flood does not silence what comes after it.
Deno.test("Allowance begins anew after a flood", () => {
  const allowance = new Allowance(1);
  for (let count = 0; count < 100_000; count++) allowance.admits(5);
  equal(allowance.admits(1_005), true);
});
