/**
 * Calls whose large output has come and is being checked: what may happen meanwhile.
 *
 * @module
 */
import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import type { ToCell } from "../schemas/cell_protocol.ts";
import { ProblemError } from "../schemas/problem.ts";
import { type CellCall, PendingCalls } from "./pending_calls.ts";
import { SlowLane } from "./slow_lane.ts";
import { settle, TestingClock } from "./testing_clock.ts";
import { HeldLane } from "./testing_lane.ts";
import { bytesOf, connectPeer, endOf } from "./testing_peer.ts";

const large = bytesOf(`"${"x".repeat(100_000)}"`);
const largeFault = bytesOf(`"${"x".repeat(100_000)}`);
const wallMs = 1_000;

function setUp(lane: SlowLane) {
  const clock = new TestingClock();
  const sent: string[] = [];
  const killedFor: ProblemError[] = [];
  const calls = new PendingCalls({
    ...{ outputBytesMax: 1_048_576, streamWindowChars: 64, abortGraceMs: 50, lane },
    send: (message: ToCell) =>
      void sent.push("id" in message ? `${message.type} ${message.id}` : message.type),
    problem: (code, state) => new ProblemError(code, `Cannot call: ${state}`),
    overdue: (_id, error) => void killedFor.push(error),
  }, clock);
  const caller = new AbortController();
  const call = (more: Partial<CellCall> = {}) => {
    const answer = calls.add({
      ...{ action: "run", request: "r", input: bytesOf("{}"), wallMs, signal: caller.signal, ...more },
    });
    answer.catch(() => {}); // awaited by the test, later
    return answer;
  };
  const result = (id: number, body: Uint8Array<ArrayBuffer>) => calls.receive({ type: "result", id }, body);
  return { clock, sent, killedFor, calls, caller, call, result };
}

const crashed = () => new ProblemError("PLUGIN_CRASHED", "Cannot call");

Deno.test("PendingCalls gives a large output once it is checked, and refuses one that is not JSON", async () => {
  const { calls, call, result } = setUp(new SlowLane());
  const [good, bad] = [call(), call()];
  result(2, largeFault);
  result(1, large);
  equal(await good, large);
  await rejects(bad, { code: "OUTPUT_INVALID" });
  await calls.drained();
});

Deno.test("PendingCalls lets no second answer overtake one that is being checked", async () => {
  const lane = new HeldLane();
  const { call, calls, result } = setUp(lane);
  const answer = call();
  result(1, large);
  throws(() => result(1, bytesOf("1")), /answered twice/);
  throws(() => result(1, large), /answered twice/);
  const error = { type: "error", id: 1, code: "ACTION_FAILED", message: "no" } as const;
  throws(() => calls.receive(error, bytesOf("")), /answered twice/);
  // What crossed the answer on its way is dropped, as after any answer.
  calls.receive({ type: "token", id: 1 }, bytesOf("1"));
  calls.receive({ type: "progress", id: 1, fraction: 1, note: "late" }, bytesOf(""));
  lane.release();
  equal(await answer, large);
  result(1, bytesOf("1"));
});

Deno.test("PendingCalls has a call under way no longer whose output is being checked", async () => {
  const lane = new HeldLane();
  const { clock, sent, killedFor, calls, call, result } = setUp(lane);
  const answers = [call(), call()];
  result(1, large);
  deepEqual([calls.count, calls.oldest(8), calls.isUnderWay(1)], [1, [2], false]);
  result(2, bytesOf("2"));
  clock.advance(10 * wallMs);
  equal(clock.isTimerSet, false);
  calls.suspend();
  calls.resume();
  lane.release();
  deepEqual(await Promise.all(answers), [large, bytesOf("2")]);
  deepEqual([sent, killedFor, calls.isStale], [["call 1", "call 2"], [], false]);
});

Deno.test("PendingCalls keeps an answer that came in time when its cell ends during the check", async () => {
  const lane = new HeldLane();
  const { calls, call, result } = setUp(lane);
  const [answered, open] = [call(), call()];
  result(1, large);
  calls.end(crashed);
  await rejects(open, { code: "PLUGIN_CRASHED" });
  lane.release();
  equal(await answered, large);
});

Deno.test("PendingCalls is drained when all is answered and checked", async () => {
  const lane = new HeldLane();
  const { calls, call, result } = setUp(lane);
  const answers = [call(), call()];
  result(1, large);
  let isDrained = false;
  const drained = calls.drained().then(() => isDrained = true);
  result(2, bytesOf("2"));
  await settle();
  equal(isDrained, false);
  lane.release();
  await drained;
  deepEqual(await Promise.all(answers), [large, bytesOf("2")]);
});

Deno.test("PendingCalls gives a check up whose caller leaves, and tells the cell nothing", async () => {
  const lane = new HeldLane();
  const { sent, calls, call, caller, result } = setUp(lane);
  const answer = call({ cancelGraceMs: 10 });
  result(1, large);
  caller.abort();
  lane.release();
  await rejects(answer, { code: "CANCELLED" });
  await calls.drained();
  deepEqual([sent, lane.asked], [["call 1"], 1]);
});

Deno.test("PendingCalls settles a call whose check fails by itself", async () => {
  const lane = new SlowLane();
  const cause = new TypeError("a bug");
  lane.run = () => Promise.reject(cause);
  const { calls, call, result } = setUp(lane);
  const answer = call();
  result(1, large);
  await rejects(answer, { code: "INTERNAL", cause });
  await calls.drained();
});

const options = { frameBytesMax: 1_048_576, outputBytesMax: 1_048_576 };
const crash = endOf({ exitCode: 1, signal: null, killed: null });

/** A cell whose call number 1 has its output checked in a lane that is held. */
async function checking(more: Partial<CellCall> = {}) {
  const lane = new HeldLane();
  const setup = await connectPeer({ ...options, lane });
  const answer = setup.call(more);
  answer.catch(() => {}); // awaited by the test, later
  equal((await setup.next()).type, "call");
  await setup.send({ type: "result", id: 1 }, large);
  await lane.wasAsked;
  return { setup, lane, answer };
}

Deno.test("LiveCell ends during a check as the doing of no call, and the answer stands", async () => {
  const { setup, lane, answer } = await checking();
  await using _setup = setup;
  equal(setup.cell.callsUnderWay, 0);
  setup.cell.over(crash);
  const { calls, isCallsDoing } = await setup.cell.ended;
  deepEqual([calls, isCallsDoing], [0, false]);
  lane.release();
  deepEqual(await answer, large);
});

Deno.test("LiveCell names no culprit that has answered", async () => {
  const { setup, lane, answer } = await checking();
  await using _setup = setup;
  const bystander = setup.call();
  bystander.catch(() => {}); // awaited below
  setup.cell.over({ ...crash, killed: "LIMIT_CPU", calls: [1] });
  await rejects(bystander, { code: "LIMIT_CPU" });
  lane.release();
  deepEqual(await answer, large);
});

Deno.test("LiveCell drains when a check has ended, and is killed for a second answer during it", async () => {
  const { setup, lane, answer } = await checking();
  await using _setup = setup;
  let isDrained = false;
  const drained = setup.cell.drain().then(() => isDrained = true);
  await settle();
  equal(isDrained, false);
  await setup.send({ type: "error", id: 1, code: "ACTION_FAILED", message: "no" });
  await setup.killed;
  lane.release();
  await drained;
  deepEqual(await answer, large);
});

Deno.test("LiveCell sends no cancel for a call that has answered", async () => {
  const caller = new AbortController();
  const { setup, lane, answer } = await checking({ signal: caller.signal });
  await using _setup = setup;
  caller.abort();
  lane.release();
  await rejects(answer, { code: "CANCELLED" });
  setup.cell.ping(5);
  deepEqual(await setup.next(), { type: "ping", nonce: 5 });
});
