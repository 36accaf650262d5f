import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { configSchema } from "../../schemas/config.ts";
import { backoffMs, Failures } from "./restart_policy.ts";

const terms = configSchema.parse({ cells: { restartBackoffMs: 100, restartBackoffMaxMs: 1_000 } });
const at = (nowMs: number, random: number, more: { livedMs?: number; isOurs?: boolean } = {}) => {
  return { nowMs, random, livedMs: 0, isOurs: false, ...more };
};
const restart = { policy: "on-failure", max: 3, windowMs: 10_000 } as const;

Deno.test("Failures.judge() restarts with a doubling pause, then quarantines", () => {
  const failures = new Failures();
  deepEqual(failures.judge(restart, terms, at(0, 1)), { kind: "restart", afterMs: 100 });
  deepEqual(failures.judge(restart, terms, at(5_000, 1)), { kind: "restart", afterMs: 200 });
  deepEqual(failures.judge(restart, terms, at(9_999, 1)), { kind: "quarantine", failures: 3 });
});

Deno.test("Failures.judge() counts what lies in the window, and nothing before it", () => {
  const failures = new Failures();
  for (let nowMs = 0; nowMs < 100_000; nowMs += 5_000) {
    const { kind } = failures.judge(restart, terms, at(nowMs, 0));
    equal(kind, "restart");
  }
  failures.forget();
  deepEqual(failures.judge(restart, terms, at(100_000, 1)), { kind: "restart", afterMs: 100 });
});

// A window that is shorter than the pause never holds two failures.
Deno.test("Failures.judge() lengthens the pause with each failure in a row, whatever window the manifest asks for", () => {
  const failures = new Failures();
  const lax = { ...restart, max: 1_000, windowMs: 100 };
  const pauses = [0, 200, 500, 1_000, 2_000, 4_000].map((nowMs) => failures.judge(lax, terms, at(nowMs, 1)));
  deepEqual(
    pauses.map((verdict) => verdict.kind === "restart" && verdict.afterMs),
    [100, 200, 400, 800, 1_000, 1_000],
  );
  const lived = failures.judge(lax, terms, at(9_000, 1, { livedMs: 1_000 }));
  deepEqual(lived, { kind: "restart", afterMs: 100 }, "a cell that lived for long ends the row");
});

Deno.test("Failures.judge() gives a fault of Airlock's its pause, and does not count it", () => {
  const failures = new Failures();
  for (const afterMs of [100, 200, 400, 800]) {
    deepEqual(failures.judge(restart, terms, at(0, 1, { isOurs: true })), { kind: "restart", afterMs });
  }
  const never = { ...restart, policy: "never" } as const;
  deepEqual(failures.judge(never, terms, at(0, 1, { isOurs: true })), { kind: "call" });
});

Deno.test("Failures.judge() quarantines at the first failure where max is 0 or 1", () => {
  for (const max of [0, 1]) {
    const verdict = new Failures().judge({ ...restart, max }, terms, at(0, 0));
    deepEqual(verdict, { kind: "quarantine", failures: 1 });
  }
});

Deno.test("Failures.judge() leaves a plugin that wants no restart to its operator, and quarantines it as others", () => {
  const failures = new Failures();
  const never = { ...restart, policy: "never", max: 2 } as const;
  deepEqual(failures.judge(never, terms, at(0, 0)), { kind: "operator" });
  deepEqual(failures.judge(never, terms, at(0, 0)), { kind: "quarantine", failures: 2 });
});

Deno.test("Failures.judge() with --dev quarantines nobody, and keeps the pause short", () => {
  const failures = new Failures();
  const dev = { ...terms, dev: true };
  const verdicts = [0, 1, 2, 3].map((nowMs) => failures.judge(restart, dev, at(nowMs, 1)));
  const again = { kind: "restart", afterMs: 100 };
  deepEqual(verdicts, [again, again, { kind: "call" }, { kind: "call" }]);
});

Deno.test("backoffMs() lies between half and all of a pause that doubles up to its longest", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (count, random) => {
        const fullMs = Math.min(1_000, 100 * 2 ** (count - 1));
        const ms = backoffMs(count, terms, random);
        ok(ms >= fullMs / 2 && ms <= fullMs, `${ms}`);
      },
    ),
  );
});
