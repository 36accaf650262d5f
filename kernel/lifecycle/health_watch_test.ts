import { deepEqual, equal } from "node:assert/strict";
import { type Health, HealthWatch } from "./health_watch.ts";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";

const killed = (message: string) =>
  `PLUGIN_UNHEALTHY: Cannot call plugin "echo": 3 health checks in a row failed, the last one with: ${message}`;

function create() {
  const timing = new TestingClock();
  const state = { isAwake: true, callsUnderWay: 0, pulse: { restsUntilMs: 0 } };
  const checks: PromiseWithResolvers<string | undefined>[] = [];
  const results: Health[] = [];
  const unhealthy: string[] = [];
  const watch = new HealthWatch({
    plugin: "echo",
    cell: {
      health() {
        const answer = Promise.withResolvers<string | undefined>();
        checks.push(answer);
        return answer.promise;
      },
      kill: ({ code, message }) => unhealthy.push(`${code}: ${message}`),
      cell: {
        get callsUnderWay() {
          return state.callsUnderWay;
        },
        pulse: state.pulse,
      },
    },
    timing,
    terms: { intervalMs: 1_000, timeoutMs: 100 },
    failuresMax: 3,
    nowMs: () => timing.nowMs(),
    isAwake: () => state.isAwake,
    onResult: (health) => results.push(health),
    track: (work) => void work.catch((error) => unhealthy.push(String(error))),
  });
  return {
    ...{ timing, state, checks, results, unhealthy, watch },
    async check(message: string | undefined, afterMs = 0) {
      await timing.pass(1_000);
      await timing.pass(afterMs);
      checks.at(-1)!.resolve(message);
      await settle();
    },
  };
}

Deno.test("HealthWatch asks at each interval, and tells what it hears", async () => {
  const { timing, checks, results, check, watch } = create();
  await timing.pass(999);
  equal(checks.length, 0);
  await timing.pass(1);
  equal(checks.length, 1);
  await timing.pass(10_000);
  equal(checks.length, 1, "one at a time");
  checks[0]!.resolve(undefined);
  await settle();
  await check("the database is gone");
  deepEqual(results.map(({ status, message }) => [status, message]), [
    ["healthy", null],
    ["unhealthy", "the database is gone"],
  ]);
  watch[Symbol.dispose]();
  deepEqual(timing.pendingMs, []);
});

Deno.test("HealthWatch gives a plugin up that failed so often in a row, and asks no more", async () => {
  const { timing, unhealthy, check } = create();
  for (const message of ["a", "b", undefined, "c", "d"]) await check(message);
  deepEqual(unhealthy, []);
  await check("e");
  deepEqual([unhealthy, timing.pendingMs], [[killed("e")], []]);
});

Deno.test("HealthWatch does not count a check that ran out of time while calls are under way", async () => {
  const { state, results, unhealthy, check } = create();
  state.callsUnderWay = 1;
  for (let turn = 0; turn < 5; turn++) await check("no answer within 100 ms", 100);
  deepEqual([results, unhealthy], [[], []]);
  for (let turn = 0; turn < 3; turn++) await check("it is ill", 10);
  deepEqual(unhealthy, [killed("it is ill")]);
});

Deno.test("HealthWatch does not count a check that ran out of time while its cell stood still", async () => {
  const { timing, state, results, unhealthy, check } = create();
  for (let turn = 0; turn < 5; turn++) {
    state.pulse.restsUntilMs = timing.nowMs() + 1_050;
    await check("no answer within 100 ms", 100);
  }
  deepEqual([results, unhealthy], [[], []]);
  for (let turn = 0; turn < 3; turn++) await check("no answer within 100 ms", 100);
  deepEqual(unhealthy, [killed("no answer within 100 ms")]);
});

Deno.test("HealthWatch counts a check that ran out of time while nothing else is under way", async () => {
  const { unhealthy, check } = create();
  for (let turn = 0; turn < 3; turn++) await check("no answer within 100 ms", 100);
  deepEqual(unhealthy, [killed("no answer within 100 ms")]);
});

Deno.test("HealthWatch leaves a suspended cell alone, and drops what it hears from one", async () => {
  const { timing, state, checks, results } = create();
  state.isAwake = false;
  await timing.pass(5_000);
  equal(checks.length, 0);
  state.isAwake = true;
  await timing.pass(1_000);
  state.isAwake = false;
  checks[0]!.resolve("frozen");
  await settle();
  deepEqual(results, []);
});
