/**
 * Soft deadlines: a caller that waits no longer, an action that goes on, and a cell that is not ended for it.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import type { ToCell } from "../schemas/cell_protocol.ts";
import { ProblemError } from "../schemas/problem.ts";
import { type CellCall, PendingCalls } from "./pending_calls.ts";
import { TestingClock } from "./testing_clock.ts";
import { bytesOf } from "./testing_peer.ts";

const graceMs = 50;
const [softMs, hardMs] = [100, 1_000];

function setUp() {
  const clock = new TestingClock();
  const sent: string[] = [];
  const told: string[] = [];
  const killedFor: ProblemError[] = [];
  const calls = new PendingCalls({
    ...{ outputBytesMax: 1_024, streamWindowChars: 64, abortGraceMs: graceMs },
    send: (message: ToCell) =>
      void sent.push("id" in message ? `${message.type} ${message.id}` : message.type),
    problem: (code, state) => new ProblemError(code, `Cannot call: ${state}`),
    overdue: (_id, error) => void killedFor.push(error),
  }, clock);
  const caller = new AbortController();
  /** What its caller is told, and whether it has ended. */
  const call = (more: Partial<CellCall> = {}) => {
    const state = { hasEnded: false };
    const answer = calls.add({
      ...{ action: "run", request: "r", input: bytesOf("{}"), wallMs: hardMs, signal: caller.signal },
      soft: {
        wallMs: softMs,
        onLeft: (ended) => {
          told.push("left");
          void ended.then(() => state.hasEnded = true);
        },
      },
      sink: {
        token: (json) => Promise.resolve(void told.push(json)),
        progress: ({ note }) => void told.push(note),
        log: (_level, text) => void told.push(text),
      },
      ...more,
    });
    answer.catch(() => {}); // awaited by the test, later
    return { answer, state };
  };
  const result = (id = 1) => calls.receive({ type: "result", id }, bytesOf("1"));
  return { clock, sent, told, killedFor, calls, caller, call, result };
}

const softly = { code: "LIMIT_WALL", message: /more than 100 ms/ };

Deno.test("PendingCalls tells a call of its soft deadline, and ends no cell for one that does not heed it", async () => {
  const { clock, sent, told, killedFor, calls, call, result } = setUp();
  const { answer, state } = call();
  clock.advance(softMs);
  deepEqual([sent, told], [["call 1", "cancel 1"], []]);
  clock.advance(graceMs);
  await rejects(answer, softly);
  const error = await answer.catch((error) => error);
  equal(error.cause.code, "CANCELLED", "the breaker looks at it");
  deepEqual([calls.count, calls.isUnderWay(1), calls.isStale, state.hasEnded], [1, true, false, false]);
  deepEqual([told, killedFor], [["left"], []]);
  let isDrained = false;
  const drained = calls.drained().then(() => isDrained = true);
  await Promise.resolve();
  equal(isDrained, false);
  result();
  await drained;
  equal(state.hasEnded, true);
  clock.advance(10 * hardMs);
  deepEqual([calls.count, sent.length, killedFor, clock.isTimerSet], [0, 2, [], false]);
});

Deno.test("PendingCalls ends the cell at a call's own deadline, also when its caller was answered long before", async () => {
  const { clock, killedFor, calls, call } = setUp();
  const { answer, state } = call();
  clock.advance(softMs + graceMs);
  await rejects(answer, softly);
  clock.advance(hardMs - softMs - graceMs);
  deepEqual(killedFor, []);
  clock.advance(graceMs);
  deepEqual(killedFor.map(({ code, message, cause }) => [code, message, cause]), [
    ["LIMIT_WALL", 'Cannot call: action "run" took more than 1000 ms', undefined],
  ]);
  calls.end(() => new ProblemError("PLUGIN_CRASHED", "Cannot call"));
  await Promise.resolve();
  deepEqual([state.hasEnded, calls.count, clock.isTimerSet], [true, 0, false]);
  await rejects(answer, softly);
});

Deno.test("PendingCalls gives an action its whole grace after its own deadline, however short before the soft one was", async () => {
  const { clock, killedFor, calls, call } = setUp();
  const { answer } = call({ wallMs: softMs + 1 });
  clock.advance(softMs + graceMs);
  await rejects(answer, softly);
  deepEqual(killedFor, []);
  clock.advance(1);
  equal(killedFor.length, 1);
  calls.end(() => new ProblemError("PLUGIN_CRASHED", "Cannot call"));
});

Deno.test("PendingCalls takes what a call ends with in the grace of its soft deadline as its end, and leaves it not", async () => {
  const { clock, told, calls, call, result } = setUp();
  const { answer } = call();
  clock.advance(softMs);
  result();
  await rejects(answer, softly);
  clock.advance(10 * hardMs);
  deepEqual([told, calls.count, clock.isTimerSet], [[], 0, false]);
});

Deno.test("PendingCalls tells the sink nothing of a call that was left, and is not upset by it", async () => {
  const { clock, told, sent, calls, call } = setUp();
  const { answer, state } = call();
  clock.advance(softMs + graceMs);
  await rejects(answer, softly);
  for (let token = 0; token < 100; token++) {
    calls.receive({ type: "token", id: 1 }, bytesOf('"' + "x".repeat(60) + '"'));
  }
  calls.receive({ type: "progress", id: 1, fraction: 1, note: "late" }, bytesOf(""));
  equal(calls.sinkOf(1), undefined);
  deepEqual([told, sent], [["left"], ["call 1", "cancel 1"]]);
  calls.receive({ type: "error", id: 1, code: "ACTION_FAILED", message: "no" }, bytesOf(""));
  await Promise.resolve();
  deepEqual([state.hasEnded, calls.count], [true, 0]);
});

Deno.test("PendingCalls lets nobody who was answered bring the end of the cell forward", async () => {
  for (const afterMs of [softMs, softMs + graceMs]) {
    const { clock, killedFor, caller, call, calls } = setUp();
    const { answer } = call({ cancelGraceMs: 1 });
    clock.advance(afterMs);
    caller.abort();
    clock.advance(hardMs - afterMs - 1);
    await rejects(answer, softly);
    deepEqual(killedFor, []);
    calls.end(() => new ProblemError("PLUGIN_CRASHED", "Cannot call"));
  }
});

Deno.test("PendingCalls ends the cell of a call that was cancelled before its soft deadline, after the grace", async () => {
  const { clock, killedFor, told, caller, call, calls } = setUp();
  const { answer } = call({ cancelGraceMs: 20 });
  caller.abort();
  clock.advance(20);
  equal(killedFor[0]?.code, "CANCELLED");
  clock.advance(hardMs);
  deepEqual([killedFor.length, told], [1, []]);
  calls.end(() => new ProblemError("PLUGIN_CRASHED", "Cannot call"));
  await rejects(answer, { code: "CANCELLED" });
});

Deno.test("PendingCalls answers at the soft deadline of a suspended cell, which is told when it runs again", async () => {
  const { clock, sent, calls, call, caller, result } = setUp();
  const { answer, state } = call();
  calls.suspend();
  clock.advance(softMs);
  await rejects(answer, softly);
  deepEqual([sent, calls.isStale, calls.count], [["call 1"], false, 1]);
  calls.resume();
  deepEqual(sent, ["call 1", "cancel 1"]);
  caller.abort();
  calls.suspend();
  deepEqual([calls.isStale, calls.count], [false, 1]);
  clock.advance(hardMs);
  await Promise.resolve();
  deepEqual([calls.isStale, calls.count, state.hasEnded], [true, 0, true]);
  result();
});
