import assert from "node:assert/strict";
import { WaitingCounts } from "./waiting_counts.ts";

Deno.test("WaitingCounts counts all jobs, and each actor's", () => {
  const counts = new WaitingCounts([{ actor: "a", count: 2 }, { actor: "b", count: 1 }]);
  counts.entered("a");
  counts.left("b");
  assert.deepEqual([counts.all, counts.of("a"), counts.of("b")], [3, 3, 0]);
  assert.throws(() => counts.left("b"), RangeError);
  assert.equal(counts.all, 3);
});
