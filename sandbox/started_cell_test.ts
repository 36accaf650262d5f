/**
 * Started cells whose processes are real.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import type { CellCall } from "./live_cell.ts";
import type { StartedCell } from "./sandbox.ts";
import { TestingSandbox } from "./testing_sandbox.ts";

async function call(started: StartedCell, action = "run", more: Partial<CellCall> = {}): Promise<unknown> {
  const { signal } = new AbortController();
  const input = new TextEncoder().encode("{}");
  const output = await started.cell.call({ action, request: "r", input, wallMs: 60_000, signal, ...more });
  return JSON.parse(new TextDecoder().decode(output));
}

const computes = "const until = Date.now() + 1_500; while (Date.now() < until);";

Deno.test("Heartbeat leaves a cell alone whose Worker computes for longer than the time-out", async () => {
  await using sandbox = new TestingSandbox({ heartbeatIntervalMs: 50, heartbeatTimeoutMs: 1_000 });
  const cell = await sandbox.start({ code: `export const actions = { run() { ${computes} return 1; } };` });
  equal(await call(cell), 1);
  equal(cell.cell.takesCalls, true);
});

// Messages that nobody takes, from the Worker to the main thread of its cell, as fast as they go.
Deno.test("Heartbeat kills a cell whose Worker keeps its main thread busy with messages", async () => {
  await using sandbox = new TestingSandbox({ heartbeatIntervalMs: 20, heartbeatTimeoutMs: 400 });
  const cell = await sandbox.start({
    code: "export const actions = { run() { for (;;) self.postMessage([0]); } };",
  });
  await rejects(call(cell), { code: "PLUGIN_CRASHED", message: /no sign of life/ });
  equal((await cell.cell.ended).cause.code, "PLUGIN_UNRESPONSIVE");
});

Deno.test("StartedCell.suspend() stops the process and resume() lets it go on with what it did", async () => {
  await using sandbox = new TestingSandbox({ heartbeatIntervalMs: 50, heartbeatTimeoutMs: 1_000 });
  const cell = await sandbox.start({
    code: `export const actions = {
      async run() { await new Promise((resolve) => setTimeout(resolve, 50)); return 1; },
    };`,
  });
  const underWay = call(cell);
  await cell.suspend();
  // For longer than its heartbeat may fail.
  const ended = await Promise.race([cell.cell.ended, new Promise((resolve) => setTimeout(resolve, 1_500))]);
  equal(ended, undefined);
  await cell.resume();
  equal(await underWay, 1);
  deepEqual([cell.cell.isStale, await call(cell)], [false, 1]);
});

Deno.test("StartedCell that was suspended past a deadline is stale, and stops without being resumed", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    code: "export const actions = { run: () => new Promise(() => {}) };",
  });
  const underWay = rejects(call(cell, "run", { wallMs: 100 }), { code: "LIMIT_WALL" });
  await cell.suspend();
  await underWay;
  equal(cell.cell.isStale, true);
  await cell.stop();
  equal((await cell.cell.ended).by, "killed");
});

const healths: [what: string, code: string, fault: RegExp | undefined][] = [
  ["has no such export", "", undefined],
  ["returns nothing", "export function health() {}", undefined],
  ["returns a promise of true", "export const health = async () => true;", undefined],
  [
    "looks at its context",
    "export function health(ctx) { if (ctx.call.action !== 'health') throw 0; }",
    undefined,
  ],
  ["returns false", "export const health = () => false;", /^its health\(\) returned false$/],
  ["promises false", "export const health = async () => false;", /^its health\(\) returned false$/],
  ["throws", "export function health() { throw new Error('no disk'); }", /^Error: no disk$/],
  ["rejects", "export const health = async () => { throw 'tired'; };", /^tired$/],
  ["throws at length", "export function health() { throw 'x'.repeat(1e6); }", /^x{512}$/],
];

Deno.test("StartedCell.health() tells what is wrong with the plugin in its own words", async () => {
  await using sandbox = new TestingSandbox();
  for (const [what, code, fault] of healths) {
    const cell = await sandbox.start({ code: `${code}\nexport const actions = { run: () => 1 };` });
    const found = await cell.health(20_000);
    if (fault === undefined) equal(found, undefined, what);
    else match(found ?? "", fault, what);
    equal(await call(cell), 1, what);
    await cell.stop();
  }
});

Deno.test("StartedCell.health() gives up on a plugin that does not answer, which lives on", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    code: "export const health = () => new Promise(() => {}); export const actions = { run: () => 1 };",
  });
  for (let check = 0; check < 2; check++) {
    match(await cell.health(50) ?? "", /did not answer within 50 ms/);
  }
  equal(await call(cell), 1);
});

Deno.test("StartedCell ends with LIMIT_MESSAGES when its plugin sends more than it may, and not before", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    messagesPerSecond: 200,
    actions: ["some", "many"],
    code: `export const actions = {
      some(_input, ctx) { for (let n = 0; n < 100; n++) ctx.log.info("x"); return 1; },
      async many(_input, ctx) {
        for (;;) {
          for (let n = 0; n < 100; n++) ctx.log.info("x");
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
    };`,
  });
  equal(await call(cell, "some"), 1);
  await rejects(call(cell, "many"), { code: "LIMIT_MESSAGES" });
  ok(sandbox.logs.length <= 1_000, `${sandbox.logs.length} were taken`);
});

Deno.test("StartedCell ends a stream with a token above its window, and only where it streams", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    streamWindowChars: 100,
    code: `export const actions = {
      *run(_input, ctx) {
        try { yield "x".repeat(98); yield "x".repeat(99); } finally { ctx.log.info("cleaned up"); }
      },
    };`,
  });
  const tokens: string[] = [];
  const sink = { token: (json: string) => Promise.resolve(void tokens.push(json)), progress() {} };
  await rejects(call(cell, "run", { sink }), { code: "LIMIT_OUTPUT", message: /101 characters/ });
  deepEqual([tokens.length, tokens[0]?.length], [1, 100]);
  deepEqual(sandbox.logs, ["info cleaned up"]);
  deepEqual(await call(cell), ["x".repeat(98), "x".repeat(99)]);
});
