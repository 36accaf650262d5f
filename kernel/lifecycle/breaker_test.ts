import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { problemCodes, ProblemError } from "../../schemas/problem.ts";
import { Breaker, type BreakerState, type Outcome, outcomeOf } from "./breaker.ts";

function setUp({ failuresMax = 3, openMs = 1_000 } = {}) {
  const clock = { nowMs: 0 };
  const changes: BreakerState[] = [];
  const breaker = new Breaker({
    failuresMax,
    openMs,
    nowMs: () => clock.nowMs,
    onChange: (state) => changes.push(state),
  });
  const call = (outcome: Outcome) => breaker.enter()!.done(outcome);
  return { clock, changes, breaker, call };
}

Deno.test("Breaker opens after failures in a row, and says when to come again", () => {
  const { breaker, call, changes, clock } = setUp();
  for (const outcome of ["failure", "failure", "success", "failure", "failure"] as const) call(outcome);
  equal(breaker.state, "closed");
  call("failure");
  deepEqual([breaker.state, breaker.enter(), breaker.retryAfterMs(), changes], ["open", undefined, 1_000, [
    "open",
  ]]);
  clock.nowMs = 400;
  equal(breaker.retryAfterMs(), 600);
});

Deno.test("Breaker lets one trial through when its time is up, and closes when that succeeds", () => {
  const { breaker, call, changes, clock } = setUp({ failuresMax: 1 });
  call("failure");
  clock.nowMs = 1_000;
  equal(breaker.state, "half_open");
  const trial = breaker.enter()!;
  equal(breaker.enter(), undefined);
  ok(breaker.retryAfterMs() > 0);
  trial.done("success");
  deepEqual([breaker.state, changes], ["closed", ["open", "half_open", "closed"]]);
});

Deno.test("Breaker opens anew when the trial fails, and waits for another when it says nothing", () => {
  const { breaker, clock, call } = setUp({ failuresMax: 1 });
  call("failure");
  clock.nowMs = 1_000;
  call("neutral");
  equal(breaker.state, "half_open");
  call("failure");
  deepEqual([breaker.state, breaker.retryAfterMs()], ["open", 1_000]);
});

// A call that was slow to fail must not open a breaker that a later trial has closed.
Deno.test("Breaker has no ear for calls of an earlier state", () => {
  const { breaker, clock, call } = setUp({ failuresMax: 1 });
  const [slow, slower] = [breaker.enter()!, breaker.enter()!];
  call("failure");
  clock.nowMs = 1_000;
  slow.done("success");
  equal(breaker.state, "half_open");
  call("success");
  slower.done("failure");
  equal(breaker.state, "closed");
});

// Twenty calls in a cell that one of them ended are one failure, not twenty in a row.
Deno.test("Breaker counts the end of a cell once, whatever the number of calls that were told of it", () => {
  const { breaker } = setUp({ failuresMax: 2 });
  const end = new ProblemError("LIMIT_MEMORY", "the end");
  const permits = Array.from({ length: 4 }, () => breaker.enter()!);
  permits[0]!.failed(end);
  for (const permit of permits.slice(1)) {
    permit.failed(new ProblemError("PLUGIN_CRASHED", "another call", { cause: end }));
  }
  equal(breaker.state, "closed");
  breaker.enter()!.failed(new ProblemError("LIMIT_MEMORY", "the end of the next"));
  equal(breaker.state, "open");
});

// Who may cancel must not be able to have a plugin's other callers turned away.
Deno.test("Breaker holds the end of a cell against the plugin unless a cancelled call was its cause", () => {
  const { breaker } = setUp({ failuresMax: 1 });
  const end = new ProblemError("CANCELLED", "the caller went away");
  const beside = new ProblemError("PLUGIN_CRASHED", "another call", { cause: end });
  for (const problem of [beside, end, beside]) breaker.enter()!.failed(problem);
  equal(breaker.state, "closed");
  breaker.enter()!.failed(new ProblemError("PLUGIN_CRASHED", "by itself"));
  equal(breaker.state, "open");
});

Deno.test("Breaker.reset() closes it and forgets the failures", () => {
  const { breaker, call } = setUp({ failuresMax: 2 });
  call("failure");
  breaker.reset();
  call("failure");
  equal(breaker.state, "closed");
  call("failure");
  equal(breaker.state, "open");
  breaker.reset();
  equal(breaker.state, "closed");
});

Deno.test("Breaker lets nothing through while open and at most one call while half open", () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 700 }),
    outcome: fc.constantFrom<Outcome>("success", "failure", "neutral"),
    settles: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { breaker, clock } = setUp({ failuresMax: 2 });
    let trials = 0;
    for (const { afterMs, outcome, settles } of steps) {
      clock.nowMs += afterMs;
      const before = breaker.state;
      const permit = breaker.enter();
      if (before === "open") equal(permit, undefined);
      if (before !== "half_open") trials = 0;
      else if (permit !== undefined) equal(++trials, 1);
      if (permit === undefined || !settles) continue;
      permit.done(outcome);
      trials = 0;
    }
  }));
});

Deno.test("outcomeOf() holds limits, crashes and failed actions against the plugin, and nothing else", () => {
  const failures = problemCodes.filter((code) => outcomeOf(code) === "failure");
  const others = problemCodes.filter((code) => code.startsWith("LIMIT_") && !failures.includes(code));
  deepEqual(others, ["LIMIT_LOG"]);
  equal(outcomeOf("INPUT_INVALID"), "neutral");
  equal(outcomeOf("CANCELLED"), "neutral");
});
