import { deepEqual } from "node:assert/strict";
import { Suspects } from "./suspects.ts";

Deno.test("Suspects are forgotten ten minutes after they were greedy last", () => {
  const suspects = new Suspects();
  const minuteMs = 60_000;
  suspects.add("/data/plugins/a", 0);
  suspects.add("/data/plugins/b", 0);
  suspects.add("/data/plugins/a", 5 * minuteMs);
  const at = (minutes: number) =>
    ["a", "b", "c"].map((id) => suspects.has(`/data/plugins/${id}`, minutes * minuteMs));
  deepEqual(at(9), [true, true, false]);
  deepEqual(at(11), [true, false, false]);
  deepEqual(at(16), [false, false, false]);
});
