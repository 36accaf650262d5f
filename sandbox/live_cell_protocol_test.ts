/**
 * The kernel's end of a cell against a far end that a test holds: what a cell that was taken over can send,
 * and what becomes of the calls.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import fc from "fast-check";
import { tokenOverheadChars } from "../schemas/cell_protocol.ts";
import type { ProblemCode } from "../schemas/problem.ts";
import { encodeFrame } from "./frame.ts";
import type { LiveCell } from "./live_cell.ts";
import { bytesOf, connectPeer, endOf, killedEnd } from "./testing_peer.ts";

const violations: [what: string, bytes: Uint8Array][] = [
  ["a frame that claims 4 GB", new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 2, 0x7b, 0x7d])],
  ["a frame above the limit by a byte", new Uint8Array([0, 1, 0, 1])],
  ["a frame without an envelope", new Uint8Array(6)],
  ["an envelope that is not JSON", new Uint8Array([0, 0, 0, 4, 0, 2, 0x7b, 0x5d])],
  ["an envelope of another type", encodeFrame({ type: "start" })],
  ["an envelope without a type", encodeFrame({})],
  ["an envelope that is a list", encodeFrame([{ type: "ready" }])],
  ["a type that every object has", encodeFrame({ type: "constructor" })],
  ["a key too many", encodeFrame({ type: "result", id: 1, ledger: { index: 0 } })],
  ["the id of no call", encodeFrame({ type: "result", id: 0 })],
  ["an id that is no integer", encodeFrame({ type: "result", id: 1.5 })],
  ["a second greeting", encodeFrame({ type: "hello", protocol: { major: 1, minor: 0 }, token: "x" })],
  [
    "a code of the kernel's own",
    encodeFrame({ type: "error", id: 1, code: "UNAUTHENTICATED", message: "x" }),
  ],
  ["a message above its length", encodeFrame({ type: "failed", message: "x".repeat(2_049) })],
  ["a fraction above 1", encodeFrame({ type: "progress", id: 1, fraction: 2, note: "" })],
  ["a token for a call without a stream", encodeFrame({ type: "token", id: 1 }, bytesOf("1"))],
];
for (const [what, bytes] of violations) {
  Deno.test(`LiveCell kills a cell that sends ${what}, and its calls fail`, async () => {
    await using setup = await connectPeer();
    const calls = [setup.call(), setup.call()];
    await setup.sendBytes(bytes);
    await setup.killed;
    equal(setup.cell.takesCalls, false);
    setup.cell.over(killedEnd);
    for (const call of calls) {
      await rejects(call, { code: "PLUGIN_CRASHED", message: /its cell broke the protocol/ });
    }
    const { by, calls: underWay } = await setup.cell.ended;
    deepEqual([by, underWay], ["killed", 2]);
    await rejects(setup.call(), { code: "PLUGIN_CRASHED" });
  });
}

Deno.test("LiveCell outlives any bytes that a cell sends, and every call ends with it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 8 }), async (chunks) => {
      await using setup = await connectPeer({ frameBytesMax: 256 });
      const call = setup.call().then(() => "answered", () => "failed");
      for (const chunk of chunks) await setup.sendBytes(chunk);
      setup.cell.over(killedEnd);
      equal(await call, "failed");
    }),
    { numRuns: 50 },
  );
});

const outputs: [bytes: Uint8Array, code: ProblemCode | undefined][] = [
  [bytesOf(' {"a":1,"a":2}\n'), undefined],
  [bytesOf('"\u2028"'), undefined],
  [bytesOf("0"), undefined],
  [bytesOf('1,"ledger":{"index":0}'), "OUTPUT_INVALID"],
  [bytesOf("{}{}"), "OUTPUT_INVALID"],
  [bytesOf(""), "OUTPUT_INVALID"],
  [new Uint8Array([0x22, 0xff, 0x22]), "OUTPUT_INVALID"],
  [new Uint8Array([0xef, 0xbb, 0xbf, 0x30]), "OUTPUT_INVALID"],
  [bytesOf(JSON.stringify("x".repeat(16_382))), undefined],
  [bytesOf(JSON.stringify("x".repeat(16_383))), "LIMIT_OUTPUT"],
];
Deno.test("LiveCell takes an output only if it is exactly one JSON value, and as the bytes it is", async () => {
  await using setup = await connectPeer();
  for (const [index, [bytes, code]] of outputs.entries()) {
    const call = setup.call();
    await setup.send({ type: "result", id: index + 1 }, bytes);
    if (code === undefined) deepEqual(await call, bytes);
    else await rejects(call, { code });
  }
  equal(setup.kills.count, 0);
});

Deno.test("LiveCell drops answers to calls that are over or were never made", async () => {
  await using setup = await connectPeer();
  await setup.send({ type: "result", id: 1 }, bytesOf('"early"'));
  const call = setup.call();
  for (const id of [2, 3, 2 ** 53 - 1]) await setup.send({ type: "result", id }, bytesOf('"other"'));
  await setup.send({ type: "token", id: 7 }, bytesOf("1"));
  await setup.send({ type: "result", id: 1 }, bytesOf('"first"'));
  await setup.send({ type: "result", id: 1 }, bytesOf('"second"'));
  // The first came before the call and was for nobody; or it came after, and then it is the answer.
  ok(['"early"', '"first"'].includes(new TextDecoder().decode(await call)));
  equal(setup.kills.count, 0);
});

Deno.test("LiveCell passes on an error of the action, with its faults", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  const errors = [{ path: "/n", message: "must be a number" }];
  await setup.send({ type: "error", id: 1, code: "INPUT_INVALID", message: "Cannot call", errors });
  await rejects(call, { code: "INPUT_INVALID", message: "Cannot call", options: { errors } });
});

Deno.test("LiveCell cancels a call at its deadline, then kills: the culprit has run out of time, others crashed", async () => {
  await using setup = await connectPeer();
  const bystander = setup.call();
  const culprit = setup.call({ wallMs: 20 });
  equal((await setup.next()).type, "call");
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 2 });
  await setup.killed;
  setup.cell.over(killedEnd);
  await rejects(culprit, { code: "LIMIT_WALL", message: /action "run" took more than 20 ms/ });
  await rejects(bystander, { code: "PLUGIN_CRASHED", message: /another call ended its cell/ });
});

Deno.test("LiveCell fails a call that ends after its deadline, and does not kill a cell that answers before the kill", async () => {
  await using setup = await connectPeer({ abortGraceMs: 10_000 });
  const call = setup.call({ wallMs: 20 });
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await setup.send({ type: "result", id: 1 }, bytesOf("1"));
  await rejects(call, { code: "LIMIT_WALL" });
  const thrown = setup.call({ wallMs: 20 });
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 2 });
  await setup.send({ type: "error", id: 2, code: "ACTION_FAILED", message: "AbortError" });
  await rejects(thrown, { code: "LIMIT_WALL", message: /action "run" took more than 20 ms/ });
  equal(setup.kills.count, 0);
});

Deno.test("LiveCell tells the cell that a caller went away, before and during the call", async () => {
  await using setup = await connectPeer();
  const controller = new AbortController();
  const during = setup.call({ signal: controller.signal });
  equal((await setup.next()).type, "call");
  controller.abort();
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await setup.send({ type: "error", id: 1, code: "ACTION_FAILED", message: "AbortError" });
  await rejects(during, { code: "CANCELLED" });
  const before = setup.call({ signal: AbortSignal.abort() });
  equal((await setup.next()).type, "call");
  deepEqual(await setup.next(), { type: "cancel", id: 2 });
  await setup.send({ type: "result", id: 2 }, bytesOf("1"));
  deepEqual(await before, bytesOf("1"));
});

/** A reader of a stream that takes each token when the test says so. */
function createReader() {
  const tokens: { json: string; take(): void; leave(): void }[] = [];
  let arrived = Promise.withResolvers<void>();
  return {
    sink: {
      token(json: string): Promise<void> {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        tokens.push({ json, take: resolve, leave: () => reject(new Error("gone")) });
        arrived.resolve();
        arrived = Promise.withResolvers<void>();
        return promise;
      },
      progress() {},
    },
    async at(index: number) {
      while (tokens.length <= index) await arrived.promise;
      return tokens[index]!;
    },
  };
}

Deno.test("LiveCell gives credit for a token when its reader took it, and cancels when the reader left", async () => {
  await using setup = await connectPeer();
  const reader = createReader();
  const call = setup.call({ sink: reader.sink });
  equal((await setup.next()).type, "call");
  for (const json of ['"one"', "2"]) await setup.send({ type: "token", id: 1 }, bytesOf(json));
  (await reader.at(0)).take();
  deepEqual(await setup.next(), { type: "credit", id: 1, chars: '"one"'.length + tokenOverheadChars });
  (await reader.at(1)).leave();
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await setup.send({ type: "error", id: 1, code: "ACTION_FAILED", message: "The call was cancelled" });
  await rejects(call, { code: "CANCELLED" });
});

Deno.test("LiveCell kills a cell whose tokens do not wait for their reader, however small they are", async () => {
  for (const json of ["1", JSON.stringify("x".repeat(1_000))]) {
    await using setup = await connectPeer({ outputBytesMax: 1_000_000 });
    const reader = createReader();
    const call = setup.call({ sink: reader.sink });
    for (let count = 0; count < 10; count++) {
      // The kernel may have hung up by then.
      await setup.send({ type: "token", id: 1 }, bytesOf(json)).catch(() => {});
    }
    await setup.killed;
    setup.cell.over(killedEnd);
    await rejects(call, { code: "PLUGIN_CRASHED", message: /streams without waiting for its reader/ });
  }
});

Deno.test("LiveCell ends a stream whose tokens are above the limit of an output, taken or not", async () => {
  await using setup = await connectPeer();
  const json = JSON.stringify("x".repeat(998));
  const sink = { token: () => Promise.resolve(), progress() {} };
  const call = setup.call({ sink });
  const failed = rejects(call, { code: "LIMIT_OUTPUT", message: /its tokens are above 16384 bytes/ });
  equal((await setup.next()).type, "call");
  for (let count = 0; count < 16; count++) {
    await setup.send({ type: "token", id: 1 }, bytesOf(json));
    deepEqual(await setup.next(), { type: "credit", id: 1, chars: json.length + tokenOverheadChars });
  }
  await setup.send({ type: "token", id: 1 }, bytesOf(json));
  deepEqual(await setup.next(), { type: "cancel", id: 1 });
  await failed;
  equal(setup.kills.count, 0);
});

Deno.test("LiveCell refuses a call above the largest frame, and goes on", async () => {
  await using setup = await connectPeer();
  await rejects(setup.call({ input: new Uint8Array(65_536) }), { code: "BODY_TOO_LARGE" });
  const call = setup.call();
  const message = await setup.next();
  ok(message.type === "call");
  await setup.send({ type: "result", id: message.id }, bytesOf("1"));
  deepEqual(await call, bytesOf("1"));
});

Deno.test("LiveCell.drain() takes no more calls and resolves with the last answer; stop() tells the cell", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  equal((await setup.next()).type, "call");
  const events: string[] = [];
  const drained = setup.cell.drain().then(() => events.push("drained"));
  await rejects(setup.call(), { code: "PLUGIN_CRASHED" });
  deepEqual(events, []);
  await setup.send({ type: "result", id: 1 }, bytesOf("1"));
  await call;
  await drained;
  setup.cell.stop();
  setup.cell.stop();
  deepEqual(await setup.next(), { type: "stop" });
  await setup.send({ type: "stopped" });
  setup.cell.over(endOf({ exitCode: 0, signal: null, killed: null }));
  equal((await setup.cell.ended).by, "stopped");
});

const ends: [what: string, end: Parameters<LiveCell["over"]>[0], code: ProblemCode][] = [
  [
    "the warden for its memory",
    endOf({ exitCode: -1, signal: "SIGKILL", killed: "LIMIT_MEMORY" }),
    "LIMIT_MEMORY",
  ],
  ["a full heap", endOf({ exitCode: -1, signal: "SIGTRAP", killed: null }), "LIMIT_MEMORY"],
  ["a full heap behind a wrapper", endOf({ exitCode: 133, signal: null, killed: null }), "LIMIT_MEMORY"],
  ["a file above its limit", endOf({ exitCode: 153, signal: null, killed: null }), "LIMIT_DISK"],
  ["itself", endOf({ exitCode: -1, signal: "SIGKILL", killed: null }), "PLUGIN_CRASHED"],
  ["an exit", endOf({ exitCode: 3, signal: null, killed: null }), "PLUGIN_CRASHED"],
];
for (const [what, how, code] of ends) {
  Deno.test(`LiveCell fails the calls of a cell that was ended by ${what} with ${code}`, async () => {
    await using setup = await connectPeer();
    const call = setup.call();
    setup.cell.over(how);
    await rejects(call, { code });
    equal((await setup.cell.ended).cause.code, code);
  });
}

Deno.test("LiveCell fails the calls of a cell that was asked to stop with PLUGIN_STOPPED", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  setup.cell.stop();
  setup.cell.over(endOf({ exitCode: 0, signal: null, killed: null }));
  await rejects(call, { code: "PLUGIN_STOPPED", message: /it was stopped/ });
  equal((await setup.cell.ended).by, "stopped");
});

Deno.test("LiveCell tells what the plugin's code died of, and its log", async () => {
  await using setup = await connectPeer();
  const call = setup.call();
  await setup.send({ type: "log", level: "warn", message: "soon", fields: '{"n":1}' });
  await setup.send({ type: "failed", message: "TypeError: x" });
  await setup.send({ type: "log", level: "error", message: "last" });
  while (setup.logs.length < 2) await new Promise((resolve) => setTimeout(resolve));
  deepEqual(setup.logs, ['warn soon {"n":1}', "error last"]);
  setup.cell.over(endOf({ exitCode: 70, signal: null, killed: null }));
  await rejects(call, (error) => {
    match(String(error), /its code failed: TypeError: x/);
    return true;
  });
});
