/**
 * A suspended cell from the kernel's end: what is asked of the warden, and what becomes of calls meanwhile.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { bytesOf, connectPeer, endOf, killedEnd, type Peer } from "./testing_peer.ts";

async function suspended(setup: Peer): Promise<void> {
  const suspending = setup.cell.suspend();
  setup.cell.suspended();
  await suspending;
}

async function resumed(setup: Peer): Promise<void> {
  const resuming = setup.cell.resume();
  setup.cell.resumed();
  await resuming;
}

Deno.test("LiveCell.suspend() takes no calls from when it is asked, and resolves when the warden did it", async () => {
  await using setup = await connectPeer();
  const events: string[] = [];
  const suspending = Promise.all([setup.cell.suspend(), setup.cell.suspend()]).then(() =>
    events.push("done")
  );
  deepEqual([setup.cell.takesCalls, setup.cell.takesPings], [false, false]);
  await rejects(setup.call(), { code: "PLUGIN_STOPPED", message: /suspended/ });
  equal(await setup.cell.health(10), undefined);
  deepEqual([setup.asked, events], [["suspend"], []]);
  setup.cell.suspended();
  await suspending;
  const resuming = setup.cell.resume();
  equal(setup.cell.takesCalls, false);
  setup.cell.resumed();
  await resuming;
  deepEqual(setup.asked, ["suspend", "resume"]);
  deepEqual([setup.cell.takesCalls, setup.cell.takesPings, setup.cell.isStale], [true, true, false]);
  await setup.cell.resume();
  deepEqual(setup.asked, ["suspend", "resume"]);
});

Deno.test("LiveCell takes the answer to a call that was under way when it was suspended", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  await suspended(setup);
  await resumed(setup);
  await setup.send({ type: "result", id: 1 }, bytesOf("1"));
  deepEqual(await call, bytesOf("1"));
  equal(setup.cell.isStale, false);
});

Deno.test("LiveCell ends a call whose time is up while it is suspended, without a kill, and is stale", async () => {
  await using setup = await connectPeer();
  const call = setup.call({ wallMs: 30 });
  await suspended(setup);
  await rejects(call, { code: "LIMIT_WALL" });
  deepEqual([setup.kills.count, setup.cell.isStale, setup.cell.callsUnderWay], [0, true, 0]);
  await resumed(setup);
  deepEqual([setup.cell.isStale, setup.cell.takesCalls], [true, false]);
  // The answer may come all the same, and is for nobody.
  await setup.send({ type: "result", id: 1 }, bytesOf("1"));
  await rejects(setup.call(), { code: "PLUGIN_CRASHED" });
});

Deno.test("LiveCell ends a call that is in its grace when it is suspended", async () => {
  await using setup = await connectPeer({ abortGraceMs: 50 });
  const call = setup.call({ wallMs: 10 });
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await suspended(setup);
  await rejects(call, { code: "LIMIT_WALL" });
  deepEqual([setup.kills.count, setup.cell.isStale], [0, true]);
});

Deno.test("LiveCell ends a call whose caller goes away, before or while it is suspended", async () => {
  await using setup = await connectPeer();
  const [before, during] = [new AbortController(), new AbortController()];
  const left = setup.call({ signal: before.signal });
  const waiting = setup.call({ signal: during.signal });
  const staying = setup.call();
  before.abort();
  await suspended(setup);
  await rejects(left, { code: "CANCELLED" });
  during.abort();
  await rejects(waiting, { code: "CANCELLED" });
  deepEqual([setup.kills.count, setup.cell.isStale, setup.cell.callsUnderWay], [0, true, 1]);
  setup.cell.over(killedEnd);
  await rejects(staying, { code: "PLUGIN_CRASHED" });
});

Deno.test("LiveCell ends a stream whose reader goes away while it is suspended", async () => {
  await using setup = await connectPeer();
  const taken = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const sink = {
    token() {
      arrived.resolve();
      return taken.promise;
    },
    progress() {},
  };
  const call = setup.call({ sink });
  equal((await setup.next()).type, "call");
  await setup.send({ type: "token", id: 1 }, bytesOf("1"));
  await arrived.promise;
  await suspended(setup);
  taken.reject(new Error("gone"));
  await rejects(call, { code: "CANCELLED" });
  equal(setup.cell.isStale, true);
});

Deno.test("LiveCell kills a suspended cell that is to drain or to stop: it is asked nothing", async () => {
  for (const order of ["drain", "stop"] as const) {
    await using setup = await connectPeer();
    const call = setup.call();
    equal((await setup.next()).type, "call");
    await suspended(setup);
    const done = setup.cell[order]();
    await setup.killed;
    setup.cell.over(killedEnd);
    await done;
    await rejects(call, { code: "PLUGIN_STOPPED" });
    const { cause, by } = await setup.cell.ended;
    deepEqual([cause.code, by], ["PLUGIN_STOPPED", "killed"]);
  }
});

Deno.test("LiveCell.suspend() and resume() reject when the cell ends first, or is about to", async () => {
  await using setup = await connectPeer();
  const suspending = setup.cell.suspend();
  const resuming = setup.cell.resume();
  setup.cell.over(endOf({ exitCode: 1, signal: null, killed: null }));
  await rejects(suspending, { code: "PLUGIN_CRASHED" });
  await rejects(resuming, { code: "PLUGIN_CRASHED" });
  await rejects(setup.cell.suspend(), { code: "PLUGIN_CRASHED" });
  await using draining = await connectPeer();
  void draining.cell.drain();
  await rejects(draining.cell.suspend(), { code: "PLUGIN_CRASHED" });
  deepEqual(draining.asked, []);
});
