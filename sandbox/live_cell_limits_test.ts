/**
 * What becomes of the calls of a cell that crossed a limit or gave no sign of life: who is told what.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { ProblemError } from "../schemas/problem.ts";
import { wardenKillReasons } from "../schemas/warden_protocol.ts";
import { encodeFrame } from "./frame.ts";
import { type BeatingCell, Heartbeat } from "./heartbeat.ts";
import { TestingClock } from "./testing_clock.ts";
import { bytesOf, connectPeer, killedEnd } from "./testing_peer.ts";

for (const killed of wardenKillReasons) {
  Deno.test(`LiveCell gives every call of a cell that crossed ${killed} that code, and what the warden saw`, async () => {
    await using setup = await connectPeer();
    const calls = [setup.call(), setup.call()];
    setup.cell.over({
      ...{ exitCode: 137, signal: "SIGKILL", killed, detail: "it used 140 of 128", calls: [] },
    });
    for (const call of calls) await rejects(call, { code: killed, message: /it used 140 of 128/ });
    const { cause, by, calls: underWay } = await setup.cell.ended;
    deepEqual([cause.code, by, underWay], [killed, "killed", 2]);
  });
}

Deno.test("LiveCell gives LIMIT_CPU to the calls that the warden names, and PLUGIN_CRASHED to the others", async () => {
  await using setup = await connectPeer();
  const calls = [setup.call(), setup.call(), setup.call()];
  const end = { exitCode: 137, signal: "SIGKILL", detail: "it used 12000 ms of 10000 ms", calls: [1, 3, 99] };
  setup.cell.over({ ...end, killed: "LIMIT_CPU" });
  const codes = await Promise.all(calls.map((call) => call.catch((error: ProblemError) => error.code)));
  deepEqual(codes, ["LIMIT_CPU", "PLUGIN_CRASHED", "LIMIT_CPU"]);
  const { cause, isCallsDoing } = await setup.cell.ended;
  deepEqual([cause.code, isCallsDoing], ["LIMIT_CPU", true]);
});

Deno.test("LiveCell tells an end that its calls caused from one that was the plugin's own doing", async () => {
  for (const [calls, isUnderWay] of [[[], true], [[1], false]] as const) {
    await using setup = await connectPeer();
    const call = isUnderWay ? setup.call().catch(() => {}) : undefined;
    setup.cell.over({ ...killedEnd, killed: "LIMIT_CPU", calls: [...calls] });
    await call;
    equal((await setup.cell.ended).isCallsDoing, false);
  }
  await using setup = await connectPeer();
  const call = rejects(setup.call(), { code: "LIMIT_WALL" });
  setup.cell.kill(new ProblemError("LIMIT_WALL", "Cannot call"), [1]);
  setup.cell.over({ ...killedEnd, killed: "asked" });
  await call;
  equal((await setup.cell.ended).isCallsDoing, true);
});

Deno.test("LiveCell gives LIMIT_CPU to the call under way where the warden names only calls that are over", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  setup.cell.over({ ...killedEnd, killed: "LIMIT_CPU", calls: [99] });
  await rejects(call, { code: "LIMIT_CPU" });
});

Deno.test("LiveCell believes the warden's limit before its own wish: the process had ended by then", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  setup.cell.kill(new ProblemError("PLUGIN_STOPPED", "Cannot call"));
  setup.cell.over({ ...killedEnd, killed: "LIMIT_MEMORY" });
  await rejects(call, { code: "LIMIT_MEMORY" });
});

Deno.test("LiveCell ends calls with PLUGIN_CRASHED where it is the plugin that is not well", async () => {
  for (const code of ["PLUGIN_UNHEALTHY", "PLUGIN_UNRESPONSIVE"] as const) {
    await using setup = await connectPeer();
    const call = setup.call();
    setup.cell.kill(new ProblemError(code, 'Cannot call plugin "echo": it is tired'));
    setup.cell.over(killedEnd);
    await rejects(call, { code: "PLUGIN_CRASHED", message: /it is tired/ });
    equal((await setup.cell.ended).cause.code, code);
  }
});

Deno.test("LiveCell with a heartbeat: one that answers pings lives, and is killed when it answers none", async () => {
  await using setup = await connectPeer();
  const clock = new TestingClock();
  const heartbeat = new Heartbeat({ intervalMs: 100, timeoutMs: 500 }, clock);
  const beating: BeatingCell = setup.cell;
  heartbeat.add(beating);
  for (let beat = 1; beat <= 3; beat++) {
    clock.advance(100);
    deepEqual(await setup.next(), { type: "ping", nonce: beat });
    await setup.send({ type: "pong", nonce: beat });
    // What follows a pong is read after it.
    await setup.send({ type: "log", level: "info", message: `${beat}` });
    while (setup.logs.length < beat) await new Promise((resolve) => setTimeout(resolve));
  }
  const call = setup.call();
  clock.advance(600);
  await setup.killed;
  equal(setup.cell.takesPings, false);
  setup.cell.over(killedEnd);
  await rejects(call, { code: "PLUGIN_CRASHED", message: /no sign of life for 500 ms/ });
  const { cause, by } = await setup.cell.ended;
  deepEqual([cause.code, by], ["PLUGIN_UNRESPONSIVE", "killed"]);
  heartbeat.delete(beating);
});

Deno.test("LiveCell kills a cell that answers a ping which is not under way", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  await setup.send({ type: "pong", nonce: 1 });
  await setup.killed;
  setup.cell.over(killedEnd);
  await rejects(call, { code: "PLUGIN_CRASHED", message: /answered a ping that was not sent/ });
});

Deno.test("LiveCell kills a cell above its rate of messages, and every call gets LIMIT_MESSAGES", async () => {
  await using setup = await connectPeer({ messagesPerSecond: 100 });
  const calls = [setup.call(), setup.call()];
  const frame = encodeFrame({ type: "log", level: "info", message: "x" });
  const flood = new Uint8Array(frame.length * 200);
  for (let index = 0; index < 200; index++) flood.set(frame, index * frame.length);
  await setup.sendBytes(flood.subarray(0, frame.length * 50));
  while (setup.logs.length < 50) await new Promise((resolve) => setTimeout(resolve));
  equal(setup.kills.count, 0);
  await setup.sendBytes(flood);
  await setup.killed;
  ok(setup.logs.length < 200, `${setup.logs.length} were taken`);
  setup.cell.over(killedEnd);
  for (const call of calls) {
    await rejects(call, { code: "LIMIT_MESSAGES", message: /more than 100 messages a second/ });
  }
  equal((await setup.cell.ended).cause.code, "LIMIT_MESSAGES");
});

Deno.test("LiveCell refuses a token above the window of its stream, counted in characters", async () => {
  const sink = { token: () => Promise.resolve(), progress() {} };
  const cases: [token: string, isTaken: boolean][] = [
    [JSON.stringify("é".repeat(2_046)), true],
    [JSON.stringify("é".repeat(2_047)), false],
    [JSON.stringify("x".repeat(10_000)), false],
  ];
  for (const [token, isTaken] of cases) {
    await using setup = await connectPeer();
    const call = setup.call({ sink });
    const answer = call.then(() => "answered", (error: ProblemError) => error.code);
    equal((await setup.next()).type, "call");
    await setup.send({ type: "token", id: 1 }, bytesOf(token));
    const { type } = await setup.next();
    await setup.send({ type: "result", id: 1 }, bytesOf("1"));
    deepEqual([type, await answer], isTaken ? ["credit", "answered"] : ["cancel", "LIMIT_OUTPUT"]);
    equal(setup.kills.count, 0);
  }
});

Deno.test("LiveCell.health() tells what the plugin says, and nothing of a cell that takes no calls", async () => {
  await using setup = await connectPeer();
  const well = setup.cell.health(60_000);
  deepEqual(await setup.next(), { type: "health", id: 1 });
  await setup.send({ type: "result", id: 1 });
  equal(await well, undefined);
  // Its ids are of the same numbers as those of calls.
  const call = setup.call();
  deepEqual((await setup.next()).type, "call");
  const unwell = setup.cell.health(60_000);
  deepEqual(await setup.next(), { type: "health", id: 3 });
  await setup.send({ type: "error", id: 3, code: "ACTION_FAILED", message: "Error: tired" });
  equal(await unwell, "Error: tired");
  const silent = setup.cell.health(10);
  match(await silent ?? "", /did not answer within 10 ms/);
  equal(setup.kills.count, 0);
  const pending = setup.cell.health(60_000);
  setup.cell.over(killedEnd);
  equal(await pending, undefined);
  equal(await setup.cell.health(60_000), undefined);
  await rejects(call, { code: "PLUGIN_CRASHED" });
});
