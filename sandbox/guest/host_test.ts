/**
 * The guest host in a Worker of its own; the test is its cell.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import {
  type CellSetup,
  type FromGuest,
  type ToGuest,
  tokenOverheadChars,
} from "../../schemas/cell_protocol.ts";

interface Setup extends AsyncDisposable {
  send(message: ToGuest): void;
  next(): Promise<FromGuest>;
}

/** A guest that was told to load a plugin with the code `code` and the action `run`. */
async function load(code: string): Promise<Setup> {
  const packageDir = await Deno.makeTempDir({ prefix: "guest-" });
  await Deno.writeTextFile(`${packageDir}/mod.js`, code);
  const worker = new Worker(new URL("../dist/guest.js", import.meta.url), { type: "module" });
  const messages: FromGuest[] = [];
  let arrived = Promise.withResolvers<void>();
  worker.onmessage = ({ data }: MessageEvent<FromGuest[]>) => {
    messages.push(...data);
    arrived.resolve();
    arrived = Promise.withResolvers<void>();
  };
  const send = (message: ToGuest) => worker.postMessage([message]);
  const setup: CellSetup = {
    ...{ plugin: { id: "echo", version: "1.0.0" }, entrypoint: "mod.js", packageDir, dataDir: packageDir },
    ...{
      config: {},
      actions: { run: {} },
      outputBytesMax: 65_536,
      streamWindowChars: 64,
      tokenOverheadChars,
    },
  };
  send({ type: "setup", setup });
  return {
    send,
    async next() {
      for (;;) {
        const message = messages.shift();
        if (message !== undefined) return message;
        await arrived.promise;
      }
    },
    async [Symbol.asyncDispose]() {
      worker.terminate();
      await Deno.remove(packageDir, { recursive: true });
    },
  };
}

const run = (stream: boolean): ToGuest => ({
  ...{ type: "call", id: 1, action: "run", request: "r", stream, input: "{}" },
});

Deno.test("Guest says what a module exports where it exports no actions", async () => {
  const cases = [
    [
      "export const action = {}; export const other = 1;",
      /its module exports "action", "other" and no "actions"/,
    ],
    ["", /its module exports nothing and no "actions"/],
    ["export const actions = { ran() {} };", /its "actions" export has no function "run"/],
  ] as const;
  for (const [code, words] of cases) {
    await using guest = await load(code);
    const message = await guest.next();
    ok(message.type === "failed");
    match(message.message, words);
  }
});

Deno.test("Guest says where a capability that is missing is asked for", async () => {
  await using guest = await load(
    'export const actions = { run() { throw new Deno.errors.NotCapable("Requires env access"); } };',
  );
  deepEqual(await guest.next(), { type: "ready" });
  guest.send(run(false));
  const message = await guest.next();
  ok(message.type === "error");
  match(message.message, /^NotCapable: .*; request it in "capabilities" and let the operator grant it$/);
});

Deno.test("Guest pulls no more of a generator whose call was cancelled, and lets it clean up", async () => {
  await using guest = await load(`export const actions = {
    async *run(_input, ctx) {
      try { for (let n = 0;; n++) yield n; } finally { ctx.log.info("cleaned up"); }
    },
  };`);
  deepEqual(await guest.next(), { type: "ready" });
  guest.send(run(true));
  // It waits for its reader once its window is full, and the cancel wakes it.
  equal((await guest.next()).type, "token");
  guest.send({ type: "cancel", id: 1 });
  let message = await guest.next();
  while (message.type === "token") message = await guest.next();
  deepEqual(message, { type: "log", level: "info", message: "cleaned up", id: 1 });
  deepEqual(await guest.next(), {
    ...{ type: "error", id: 1, code: "ACTION_FAILED", message: "The call was cancelled" },
  });
});

Deno.test("Guest names the call in what it logs, and no call in what a hook logs", async () => {
  await using guest = await load(`
    export function start(ctx) { ctx.log.info("a hook", { job: ctx.job ?? null }); }
    export const actions = { run(_input, ctx) { ctx.log.warn("a call", { n: 1 }); } };
  `);
  const fields = '{"job":null}';
  deepEqual(await guest.next(), { type: "log", level: "info", message: "a hook", fields });
  deepEqual(await guest.next(), { type: "ready" });
  guest.send(run(false));
  deepEqual(await guest.next(), { type: "log", level: "warn", message: "a call", fields: '{"n":1}', id: 1 });
});

Deno.test("Guest tells an action which job it is an attempt of, and an immediate call that there is none", async () => {
  await using guest = await load(`export const actions = {
    run: (_input, ctx) => "job" in ctx ? ctx.job : "none",
  };`);
  deepEqual(await guest.next(), { type: "ready" });
  guest.send(run(false));
  deepEqual(await guest.next(), { type: "result", id: 1, json: '"none"' });
  const call = run(false);
  ok(call.type === "call");
  guest.send({ ...call, job: { id: "01J", attempt: 2 } });
  deepEqual(await guest.next(), { type: "result", id: 1, json: '{"id":"01J","attempt":2}' });
});
