import assert from "node:assert/strict";
import { jobStates } from "../../schemas/job.ts";
import { isLost, isOver, type JobChange, transition } from "./transition.ts";

const legal: Record<string, string> = {
  "pending claim": "running",
  "pending fail": "failed",
  "pending cancel": "cancelled",
  "running complete": "completed",
  "running fail": "failed",
  "running again": "pending",
  "running release": "pending",
  "running cancel": "cancelled",
  "failed redrive": "pending",
  "cancelled redrive": "pending",
};
const changes: JobChange[] = ["claim", "complete", "fail", "again", "release", "cancel", "redrive"];

Deno.test("transition() allows what the table says, and throws TypeError on every other pair", () => {
  for (const state of jobStates) {
    for (const change of changes) {
      const next = legal[`${state} ${change}`];
      if (next === undefined) assert.throws(() => transition(state, change), TypeError);
      else assert.equal(transition(state, change), next);
    }
  }
});

Deno.test("isOver() and isLost() of every state", () => {
  assert.deepEqual(jobStates.filter(isOver), ["completed", "failed", "cancelled"]);
  assert.deepEqual(jobStates.filter(isLost), ["failed", "cancelled"]);
});
