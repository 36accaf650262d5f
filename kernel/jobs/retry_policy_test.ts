import assert from "node:assert/strict";
import fc from "fast-check";
import { type ProblemCode, problemCodes } from "../../schemas/problem.ts";
import { decideRetry, isWorthWaiting, type RetryOptions } from "./retry_policy.ts";

const waits = new Set<ProblemCode>(
  ["NOT_READY", "BREAKER_OPEN", "QUEUE_FULL", "PLUGIN_STOPPED", "PLUGIN_DISABLED", "PLUGIN_QUARANTINED"],
);
const interrupted = new Set<ProblemCode>(["PLUGIN_CRASHED", "JOB_INTERRUPTED"]);
const said = new Set<ProblemCode>(["ACTION_FAILED", "OUTPUT_INVALID", "PLUGIN_START_FAILED"]);
const cut = new Set<ProblemCode>([
  ...["PLUGIN_UNRESPONSIVE", "PLUGIN_UNHEALTHY", "LIMIT_WALL", "LIMIT_CPU", "LIMIT_MEMORY"] as const,
  ...["LIMIT_DISK", "LIMIT_FILES", "LIMIT_DESCRIPTORS", "LIMIT_CONNECTIONS"] as const,
  ...["LIMIT_THREADS", "LIMIT_MESSAGES"] as const,
]);
const flags = [false, true];

function options(attempts: number, codes?: ProblemCode[]): RetryOptions {
  const policy = { attempts, backoffMs: 100, ...(codes === undefined ? {} : { codes }) };
  return { policy, interruptionsMax: 3, backoffMaxMs: 1_000, random: () => 1 };
}

for (const hasBegun of flags) {
  for (const isIdempotent of flags) {
    const name = `${hasBegun ? "begun" : "not begun"}, ${isIdempotent ? "idempotent" : "not idempotent"}`;
    Deno.test(`decideRetry() of every code, ${name}`, () => {
      for (const code of problemCodes) {
        const attempt = { code, hasBegun, isIdempotent, failures: 0, interruptions: 0 };
        const isAway = waits.has(code) || interrupted.has(code);
        const isSafe = said.has(code) || (cut.has(code) || isAway) && (isIdempotent || !hasBegun);
        const free = isAway && !hasBegun ? "release" : isAway && isIdempotent ? "again" : undefined;
        assert.equal(decideRetry(attempt, options(1)).next, free ?? "fail", code);
        assert.equal(decideRetry(attempt, options(2)).next, free ?? (isSafe ? "again" : "fail"), code);
        assert.equal(decideRetry(attempt, options(2, [code])).next, free ?? "again", `${code}, named`);
        assert.equal(decideRetry(attempt, options(2, [])).next, free ?? "fail", `${code}, not named`);
        const spent = { ...attempt, failures: 1, interruptions: 3 };
        const released = free === "release" ? "release" : "fail";
        assert.equal(decideRetry(spent, options(2)).next, released, `${code}, spent`);
        // Once it is not free any more it costs an attempt, as the schema says.
        const costly = { ...attempt, interruptions: 3 };
        const next = free === "release" ? "release" : isSafe ? "again" : "fail";
        assert.equal(decideRetry(costly, options(2)).next, next, `${code}, no longer free`);
        assert.equal(isWorthWaiting(code), waits.has(code));
      }
    });
  }
}

Deno.test("decideRetry() pauses at least half of the doubled backoff, and never longer than the limit", () => {
  fc.assert(fc.property(
    fc.nat(3_600_000),
    fc.integer({ min: 0, max: 98 }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: 1, max: 86_400_000 }),
    (backoffMs, failures, chance, backoffMaxMs) => {
      const decision = decideRetry(
        { code: "ACTION_FAILED", hasBegun: true, isIdempotent: false, failures, interruptions: 0 },
        { policy: { attempts: 100, backoffMs }, interruptionsMax: 3, backoffMaxMs, random: () => chance },
      );
      assert(decision.next === "again");
      const fullMs = Math.min(backoffMs * 2 ** failures, backoffMaxMs);
      assert(Number.isSafeInteger(decision.delayMs));
      assert(decision.delayMs >= Math.floor(fullMs / 2) && decision.delayMs <= Math.ceil(fullMs));
    },
  ));
});
