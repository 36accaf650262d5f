import { deepEqual } from "node:assert/strict";
import { Suspects } from "./suspects.ts";

Deno.test("Suspects are forgotten ten minutes after they were greedy last", () => {
  const suspects = new Suspects();
  const minuteMs = 60_000;
  suspects.add("/data/plugins/a", 5_000, 0);
  suspects.add("/data/plugins/b", 5_000, 0);
  suspects.add("/data/plugins/a", 10_000, 5 * minuteMs);
  const at = (minutes: number) =>
    ["a", "b", "c"].map((id) => suspects.trialAfterMs(`/data/plugins/${id}`, minutes * minuteMs));
  deepEqual(at(9), [10_000, 5_000, undefined]);
  deepEqual(at(11), [10_000, undefined, undefined]);
  deepEqual(at(16), [undefined, undefined, undefined]);
  suspects.add("/data/plugins/a", 5_000, 0);
  suspects.delete("/data/plugins/a");
  deepEqual(at(1), [undefined, 5_000, undefined]);
});
