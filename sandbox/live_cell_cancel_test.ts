/**
 * Calls that are cancelled with a grace: what becomes of an action that does not end within it.
 *
 * @module
 */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { bytesOf, connectPeer, killedEnd, type Peer } from "./testing_peer.ts";
import { TestingSandbox } from "./testing_sandbox.ts";

/** Its call number 1, cancelled, and told so. */
async function cancelled(setup: Peer, more: { cancelGraceMs: number; wallMs?: number }) {
  const caller = new AbortController();
  const call = setup.call({ signal: caller.signal, ...more });
  const settled = call.then(() => "answered", (error) => error.code);
  equal((await setup.next()).type, "call");
  caller.abort();
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  return { call, settled };
}

Deno.test("LiveCell kills a cell whose action ignores its signal, as the doing of that call", async () => {
  await using setup = await connectPeer();
  const { call } = await cancelled(setup, { cancelGraceMs: 20 });
  const bystander = setup.call();
  await setup.killed;
  equal(setup.cell.takesCalls, false);
  setup.cell.over(killedEnd);
  await rejects(call, { code: "CANCELLED", message: /the caller of action "run" went away/ });
  await rejects(bystander, { code: "PLUGIN_CRASHED", message: /another call ended its cell/ });
  const { cause, by, isCallsDoing } = await setup.cell.ended;
  deepEqual([cause.code, by, isCallsDoing], ["CANCELLED", "killed", true]);
  // The breaker knows one end of a cell by its one error.
  equal(await call.catch((error) => error), cause);
});

Deno.test("LiveCell lets no answer undo a cancellation once the cell is to be killed", async () => {
  for (
    const answer of [
      { type: "result", id: 1 },
      { type: "error", id: 1, code: "ACTION_FAILED", message: "Error: no" },
      { type: "error", id: 1, code: "OUTPUT_INVALID", message: "no" },
    ]
  ) {
    await using setup = await connectPeer();
    const { settled } = await cancelled(setup, { cancelGraceMs: 20 });
    await setup.killed;
    await setup.send(answer, bytesOf("1"));
    equal(await settled, "CANCELLED");
    setup.cell.over(killedEnd);
    equal((await setup.cell.ended).cause.code, "CANCELLED");
  }
});

Deno.test("LiveCell takes the answer of a cancelled call within its grace, and spares the cell", async () => {
  const answers = [
    [{ type: "result", id: 1 }, "answered"],
    [{ type: "error", id: 1, code: "ACTION_FAILED", message: "AbortError" }, "CANCELLED"],
  ] as const;
  for (const [answer, expected] of answers) {
    await using setup = await connectPeer();
    const { settled } = await cancelled(setup, { cancelGraceMs: 10_000 });
    await setup.send(answer, bytesOf("1"));
    equal(await settled, expected);
    deepEqual([setup.kills.count, setup.cell.takesCalls], [0, true]);
  }
});

Deno.test("LiveCell holds a deadline that comes before the end of the grace", async () => {
  await using setup = await connectPeer();
  const { call } = await cancelled(setup, { cancelGraceMs: 60_000, wallMs: 30 });
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await setup.killed;
  setup.cell.over(killedEnd);
  await rejects(call, { code: "LIMIT_WALL" });
  equal((await setup.cell.ended).cause.code, "LIMIT_WALL");
});

Deno.test("LiveCell gives no second grace to a call that is cancelled after its deadline", async () => {
  await using setup = await connectPeer({ abortGraceMs: 40 });
  const caller = new AbortController();
  const call = setup.call({ signal: caller.signal, wallMs: 10, cancelGraceMs: 60_000 });
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  caller.abort();
  await setup.killed;
  setup.cell.over(killedEnd);
  await rejects(call, { code: "LIMIT_WALL" });
});

Deno.test("LiveCell counts the grace of a call whose caller had gone before it was sent", async () => {
  await using setup = await connectPeer();
  const call = setup.call({ signal: AbortSignal.abort(), cancelGraceMs: 20 });
  await setup.killed;
  setup.cell.over(killedEnd);
  await rejects(call, { code: "CANCELLED" });
});

Deno.test("LiveCell ends a cancelled call at once while it is suspended, without a kill", async () => {
  await using setup = await connectPeer();
  const { call } = await cancelled(setup, { cancelGraceMs: 60_000 });
  const suspending = setup.cell.suspend();
  await rejects(call, { code: "CANCELLED" });
  setup.cell.suspended();
  await suspending;
  deepEqual([setup.kills.count, setup.cell.isStale], [0, true]);
});

Deno.test("Sandbox ends the process of an action that computes on when it is cancelled", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({ code: "export const actions = { run() { for (;;); } };" });
  const caller = new AbortController();
  const call = cell.cell.call({
    ...{ action: "run", request: "r", input: bytesOf("{}"), wallMs: 60_000 },
    ...{ signal: caller.signal, cancelGraceMs: 50 },
  });
  caller.abort();
  await rejects(call, { code: "CANCELLED" });
  equal((await cell.cell.ended).by, "killed");
});
