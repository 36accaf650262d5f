/**
 * What calls are told of what they log: also by a plugin that names calls which are not its own.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { CallSink } from "./live_cell.ts";
import type { StartedCell } from "./sandbox.ts";
import { bytesOf, connectPeer } from "./testing_peer.ts";
import { TestingSandbox } from "./testing_sandbox.ts";

function createSink(): { sink: CallSink; told: string[] } {
  const told: string[] = [];
  const log = (level: string, text: string) => void told.push(`${level} ${text}`);
  return { told, sink: { token: () => Promise.resolve(), progress() {}, log } };
}

async function call(started: StartedCell, sink: CallSink, input: unknown = {}): Promise<void> {
  const { signal } = new AbortController();
  const inputBytes = bytesOf(JSON.stringify(input));
  await started.cell.call({ action: "run", request: "r", input: inputBytes, wallMs: 60_000, signal, sink });
}

Deno.test("LiveCell tells a call what it logs, beside the plugin's log", async () => {
  await using setup = await connectPeer();
  const [one, two] = [createSink(), createSink()];
  const calls = [setup.call({ sink: one.sink }), setup.call({ sink: two.sink }), setup.call()];
  for (const id of [1, 2, 3]) {
    await setup.send({ type: "log", level: "warn", message: `of ${id}`, fields: '{"n":1}', id });
  }
  await setup.send({ type: "log", level: "info", message: "of none" });
  for (const id of [1, 2, 3]) await setup.send({ type: "result", id }, bytesOf("1"));
  await Promise.all(calls);
  deepEqual([one.told, two.told], [['warn of 1 {"n":1}'], ['warn of 2 {"n":1}']]);
  const lines = [1, 2, 3].map((id) => `warn of ${id} {"n":1}`);
  deepEqual(setup.logs, [...lines, "info of none"]);
});

Deno.test("LiveCell tells nobody of a line that names a call which is not under way, and lets the cell live", async () => {
  await using setup = await connectPeer();
  const over = createSink();
  const answered = setup.call({ sink: over.sink });
  await setup.send({ type: "result", id: 1 }, bytesOf("1"));
  await answered;
  const present = createSink();
  const underWay = setup.call({ sink: present.sink });
  for (const id of [1, 3, 2 ** 53 - 1]) {
    await setup.send({ type: "log", level: "info", message: `${id}`, id });
  }
  await setup.send({ type: "result", id: 2 }, bytesOf("1"));
  await underWay;
  deepEqual([over.told, present.told], [[], []]);
  deepEqual([setup.logs.length, setup.kills.count], [3, 0]);
});

Deno.test("Sandbox tells a call only what is logged while it is under way, whatever the plugin keeps or forges", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    code: `
      let first;
      const forge = (id) => self.postMessage([{ type: "log", level: "info", message: "forged " + id, id }]);
      export function start(ctx) { ctx.log.info("hook"); }
      export const actions = {
        run(input, ctx) {
          ctx.log.info(input.name);
          first?.log.info("by the first, later");
          first ??= ctx;
          for (const id of [0, 1, -1, 1.5, "2", 99]) forge(id);
        },
      };`,
  });
  const [one, two] = [createSink(), createSink()];
  await call(cell, one.sink, { name: "one" });
  await call(cell, two.sink, { name: "two" });
  deepEqual([one.told, two.told], [["info forged 1", "info one"], ["info two"]]);
  for (const line of ["info hook", "info by the first, later", "info forged 99"]) {
    ok(sandbox.logs.includes(line), line);
  }
});

// Who keeps what a call logs is protected by the same limit as the plugin's log is.
Deno.test("Sandbox tells calls no more than logBytesPerSecond, all of a cell's together", async () => {
  await using sandbox = new TestingSandbox();
  const cell = await sandbox.start({
    code: `export const actions = {
      run(_input, ctx) { for (let n = 0; n < 100; n++) ctx.log.info("é".repeat(50)); },
    };`,
    logBytesPerSecond: 1_010,
  });
  const sinks = [createSink(), createSink()];
  await Promise.all(sinks.map(({ sink }) => call(cell, sink)));
  const count = sinks.reduce((sum, { told }) => sum + told.length, 0);
  // Ten at once, and what the seconds of a slow machine allow.
  ok(count >= 10 && count < 100, `${count} were told`);
  equal(sandbox.logs.filter((line) => line.includes("é")).length, 200);
});
