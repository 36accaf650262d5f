import { deepEqual, equal, throws } from "node:assert/strict";
import { pluginStates } from "../../schemas/api.ts";
import { lifecycleEvents, transition, transitions } from "./transition.ts";

Deno.test("transition() takes a plugin from unloaded to running, asleep, awake and back", () => {
  const events = [
    "load",
    "admit",
    "start",
    "ready",
    "sleep",
    "start",
    "ready",
    "stop",
    "stopped",
    "unload",
    "unloaded",
  ] as const;
  let state: ReturnType<typeof transition> = "unloaded";
  const seen = events.map((event) => state = transition(state, event));
  deepEqual(seen, [
    ...["loading", "loaded", "starting", "running", "sleeping", "starting", "running", "stopping", "loaded"],
    ...["unloading", "unloaded"],
  ]);
});

Deno.test("transition() throws on every pair that the table does not name", () => {
  for (const state of pluginStates) {
    for (const event of lifecycleEvents) {
      const next = transitions[state][event];
      if (next === undefined) throws(() => transition(state, event), RangeError);
      else equal(transition(state, event), next);
    }
  }
});

Deno.test("transitions reach every state from unloaded, and unloaded from every state", () => {
  for (
    const [from, to] of pluginStates.flatMap((state) => [["unloaded", state], [state, "unloaded"]] as const)
  ) {
    const reached = new Set([from]);
    for (const state of reached) for (const next of Object.values(transitions[state])) reached.add(next);
    equal(reached.has(to), true, `${from} → ${to}`);
  }
});
