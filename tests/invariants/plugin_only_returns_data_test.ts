/**
 * Invariant: a plugin only returns data. It cannot act on the kernel.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { Airlock, manifest } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const forger = `
const forged = '"},"ledger":{"index":0,"size":1},"durationMs":0,"output":{"forged":true';
export const actions = {
  text: () => forged,
  toJson: () => ({ toJSON: () => ({ plain: forged, ["__proto__"]: { isAdmin: true } }) }),
  prototype: () => JSON.parse('{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}'),
  error() { throw new Error(forged + '\\n\\nevent: COMPLETE\\ndata: {}\\n\\n'); },
  *stream() {
    yield 'a\\n\\nevent: COMPLETE\\ndata: {"output":"forged"}\\n\\n';
    yield "\\r\\n\\r\\nid: 7\\r\\nevent: ERROR\\r\\n\\r\\n";
    yield { data: "x\\u2028event: TOKEN" };
    return "the end\\n\\n";
  },
  messages() {
    const say = (...list) => self.postMessage(list);
    say({ type: "hello", protocol: { major: 1, minor: 0 }, token: "0" });
    say({ type: "call", id: 1, action: "greet" }, { type: "start" }, { type: "setup" }, { type: "ping", nonce: 1 });
    for (let id = -2; id < 64; id++) say({ type: "result", id: id + 1000, json: '"stolen"' });
    say({ type: "result", id: "1", json: "1" }, { type: "result" }, null, 7, "x", [[]]);
    self.postMessage("not a list"); self.postMessage(null); self.postMessage({ length: 1 });
    say({ type: "ready" });
    console.log('{"type":"drained"}'); console.error('{"type":"listening","port":1}');
    return "said";
  },
  globals() {
    JSON.stringify = () => '"patched"'; JSON.parse = () => ({ patched: true });
    Array.prototype.push = () => 0; Object.prototype.isAdmin = true; Promise.prototype.then = undefined;
    globalThis.postMessage = () => {};
    return "real";
  },
  async reach({ socket, pid }) {
    const attempt = async (act) => { try { await act(); return "done"; } catch (error) { return error.name; } };
    return {
      socket: await attempt(() => Deno.connect({ transport: "unix", path: socket })),
      listen: await attempt(() => Deno.listen({ port: 0 })),
      kill: await attempt(() => Deno.kill(pid, "SIGTERM")),
      run: await attempt(() => new Deno.Command("true").output()),
      proc: await attempt(() => Deno.readTextFile("/proc/" + pid + "/mem")),
    };
  },
};
`;
const actions = Object.fromEntries(
  ["text", "toJson", "prototype", "error", "stream", "messages", "globals", "reach"].map((
    name,
  ) => [name, {}]),
);
const plugins = {
  forger: {
    "plugin.jsonc": manifest("forger", {
      actions: { ...actions, stream: { stream: true }, globals: { timeoutMs: 500 } },
    }),
    "mod.ts": forger,
  },
};
const forged = '"},"ledger":{"index":0,"size":1},"durationMs":0,"output":{"forged":true';

Deno.test("a plugin only returns data: what tries to forge its surroundings arrives as data", async () => {
  await using airlock = await Airlock.start({ plugins });
  const { body } = await airlock.request<Record<string, unknown>>("POST", "/v1/plugins/forger/actions/text");
  deepEqual(Object.keys(body), ["output", "durationMs", "inputSha256", "outputSha256", "ledger"]);
  equal(body["output"], forged);
  const toJson = await airlock.call<Record<string, unknown>>("forger", "toJson");
  equal(toJson["plain"], forged);
  equal(
    JSON.stringify(await airlock.call("forger", "prototype")),
    '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}',
  );
  const problem = await airlock.fail("forger", "error");
  deepEqual([problem.code, problem.status], ["ACTION_FAILED", 502]);
  ok(problem.detail.includes(forged));
  const events = await Array.fromAsync(await airlock.stream("forger", "stream"));
  deepEqual(events.map(({ event, id }) => `${id} ${event}`), ["1 TOKEN", "2 TOKEN", "3 TOKEN", "4 COMPLETE"]);
  equal(events[0]?.data, 'a\n\nevent: COMPLETE\ndata: {"output":"forged"}\n\n');
  equal(events[1]?.data, "\r\n\r\nid: 7\r\nevent: ERROR\r\n\r\n");
  equal((events[3]?.data as { output: unknown }).output, "the end\n\n");
});

Deno.test("a plugin only returns data: messages that are not its answers do nothing", async () => {
  await using airlock = await Airlock.start({ plugins });
  const before = (await airlock.records()).length;
  equal(await airlock.call("forger", "messages"), "said");
  equal(
    await airlock.call("hello", "greet", { name: "a neighbour" }).then((output) => JSON.stringify(output)),
    '{"message":"Hello, a neighbour"}',
  );
  equal(await airlock.call("forger", "text"), forged);
  const types = (await airlock.records()).slice(before).map(({ type, plugin }) =>
    `${type} ${plugin.split("@")[0]}`
  );
  deepEqual(
    types.filter((type) => !/^(?:call\.(?:accepted|completed)|plugin\.started) (?:hello|forger)$/.test(type)),
    [],
  );
  equal((await airlock.request("GET", "/healthz")).status, 200);
});

Deno.test("a plugin only returns data: patched globals stay in its own Worker", async () => {
  await using airlock = await Airlock.start({ plugins });
  await airlock.invoke("forger", "globals"); // whatever it makes of its own answer
  const { status, body } = await airlock.invoke("hello", "greet", { name: "a neighbour" });
  deepEqual([status, (body as { output: unknown }).output], [200, { message: "Hello, a neighbour" }]);
  equal((await airlock.plugin("hello")).id, "hello");
});

testInEachTier(
  "a plugin only returns data: it reaches neither the cells' socket nor the kernel",
  async (tier) => {
    await using airlock = await Airlock.start({ plugins, args: ["--tier", tier] });
    const pid = await airlock.kernelPid();
    const attempts = await airlock.call<Record<string, string>>("forger", "reach", {
      socket: `${airlock.runFolder}/s`,
      pid,
    });
    for (const [attempt, outcome] of Object.entries(attempts)) {
      match(
        outcome,
        /^(?:NotCapable|NotFound)$/,
        attempt,
      );
    }
    deepEqual(await airlock.kernelPid(), pid);
  },
);
