import { equal, match, ok } from "node:assert/strict";
import { Airlock, manifest } from "./support/airlock.ts";

const hostile = `
export const actions = {
  run() { return "fine"; },
  loop() { while (true); },
  allocate() { const held = []; for (;;) held.push(new Array(1_000_000).fill({})); },
  buffers() { const held = []; for (;;) held.push(new Uint8Array(16_000_000).fill(1)); },
  kill() { Deno.kill(Deno.pid, "SIGKILL"); return new Promise(() => {}); },
};
`;
// V8 collects garbage again and again before it gives up a full heap: that takes a while on a busy machine.
const actions = { run: {}, loop: { timeoutMs: 1_500 }, allocate: {}, buffers: {}, kill: {} };

for (const tier of ["sealed", "process"]) {
  for (
    const [action, code] of [
      ["loop", "LIMIT_WALL"],
      ["allocate", "LIMIT_MEMORY"],
      ["buffers", "LIMIT_MEMORY"],
      ["kill", "PLUGIN_CRASHED"],
    ] as const
  ) {
    Deno.test(`a plugin that does "${action}" fails its own call only (${tier})`, async () => {
      await using airlock = await Airlock.start({
        args: ["--tier", tier],
        plugins: {
          hostile: { "plugin.jsonc": manifest("hostile", { actions }), "mod.ts": hostile },
        },
      });
      equal(await airlock.call("hostile", "run"), "fine");
      await airlock.call("hello", "greet", { name: "a neighbour" });
      const attack = airlock.fail("hostile", action);
      let answers = 0;
      let isOver = false;
      void attack.finally(() => isOver = true);
      while (!isOver) {
        equal((await airlock.request("GET", "/healthz")).status, 200);
        await airlock.call("hello", "greet", { name: "a neighbour" });
        answers++;
      }
      const problem = await attack;
      equal(problem.code, code, problem.detail);
      match(problem.detail, /^Cannot call plugin "hostile": /);
      ok(answers > 0);
      equal(await airlock.call("hostile", "run"), "fine");
      const types = (await airlock.records()).map(({ type }) => type);
      ok(types.includes("call.failed"));
    });
  }
}
