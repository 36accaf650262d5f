/**
 * Each limit, in both tiers: a plugin that stays under it works, and one that goes over gets that limit's code.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogLine } from "../../schemas/api.ts";
import { type Isolation, isolationTiers } from "../../schemas/capabilities.ts";
import type { Limits } from "../../schemas/limits.ts";
import type { Problem, ProblemCode } from "../../schemas/problem.ts";
import { Airlock, isSealedAvailable, manifest, until } from "../support/airlock.ts";
import type { actions as gluttonActions } from "./glutton/mod.ts";

interface Row {
  /** The limit, and how it is met. */
  readonly name: string;
  readonly action: keyof typeof gluttonActions;
  readonly limits: Partial<Limits>;
  /** How much of it works, and how much does not. */
  readonly under: number;
  readonly over: number;
  readonly code: ProblemCode;
  readonly tiers?: readonly Isolation[];
}

/** Out of the way of what a row is not about: Workers cost memory, threads and descriptors. */
const manyWorkers = { memoryMb: 1_024, threads: 256, fileDescriptors: 1_024 };

const rows: readonly Row[] = [
  {
    name: "memoryMb by heap",
    action: "heap",
    limits: { memoryMb: 48 },
    under: 8,
    over: 1_000,
    code: "LIMIT_MEMORY",
  },
  {
    name: "memoryMb by buffers",
    action: "buffers",
    limits: { memoryMb: 48 },
    under: 16,
    over: 1_000,
    code: "LIMIT_MEMORY",
  },
  {
    name: "memoryMb by nested Workers, each under the heap's limit",
    action: "workersWithHeaps",
    limits: { ...manyWorkers, memoryMb: 64 },
    under: 1,
    over: 40,
    code: "LIMIT_MEMORY",
  },
  {
    name: "memoryMb by a temporary file, beside buffers that alone are under it",
    action: "temporaryAndBuffers",
    limits: { memoryMb: 48, fileMb: 512 },
    under: 10,
    over: 34,
    code: "LIMIT_MEMORY",
    tiers: ["sealed"], // its temporary folder is in memory
  },
  { name: "cpuMs", action: "cpu", limits: { cpuMs: 300 }, under: 100, over: 20_000, code: "LIMIT_CPU" },
  {
    name: "cpuPercent, sustained",
    action: "share",
    limits: { cpuPercent: 5, wallMs: 120_000 },
    under: 2,
    over: 100,
    code: "LIMIT_CPU",
  },
  { name: "wallMs", action: "wait", limits: { wallMs: 300 }, under: 20, over: 20_000, code: "LIMIT_WALL" },
  {
    name: "fileDescriptors",
    action: "descriptors",
    limits: { fileDescriptors: 64 },
    under: 20,
    over: 76, // far more, and the runtime may end for want of one before the warden looks
    code: "LIMIT_DESCRIPTORS",
  },
  {
    name: "connections",
    action: "connections",
    limits: { connections: 4 },
    under: 2,
    over: 12,
    code: "LIMIT_CONNECTIONS",
  },
  {
    name: "diskMb of ${data}",
    action: "disk",
    limits: { diskMb: 4 },
    under: 2,
    over: 12,
    code: "LIMIT_DISK",
  },
  {
    name: "diskMb of ${data} by files without a name",
    action: "diskWithoutName",
    limits: { diskMb: 4 },
    under: 2,
    over: 12,
    code: "LIMIT_DISK",
  },
  {
    name: "diskMb of a temporary folder",
    action: "temporary",
    limits: { diskMb: 4, fileMb: 64 },
    under: 2,
    over: 40,
    code: "LIMIT_DISK",
    tiers: ["process"],
  },
  {
    name: "diskMb of a temporary folder of its own size",
    action: "temporary",
    limits: { diskMb: 4, fileMb: 64 },
    under: 2,
    over: 40,
    code: "ACTION_FAILED", // to the plugin it is full, and what it makes of that is its own
    tiers: ["sealed"],
  },
  { name: "files", action: "files", limits: { files: 50 }, under: 10, over: 200, code: "LIMIT_FILES" },
  { name: "fileMb", action: "file", limits: { fileMb: 1 }, under: 512, over: 4_096, code: "LIMIT_DISK" },
  {
    name: "threads",
    action: "workers",
    limits: { ...manyWorkers, threads: 24 },
    under: 1,
    over: 40,
    code: "LIMIT_THREADS",
  },
  {
    name: "messagesPerSecond",
    action: "messages",
    limits: { messagesPerSecond: 100 },
    under: 20,
    over: 100_000,
    code: "LIMIT_MESSAGES",
  },
  {
    name: "outputMb of an output",
    action: "output",
    limits: { outputMb: 1 },
    under: 900,
    over: 1_100,
    code: "LIMIT_OUTPUT",
  },
  {
    name: "outputMb of a stream",
    action: "stream",
    limits: { outputMb: 1 },
    under: 10,
    over: 40,
    code: "LIMIT_OUTPUT",
  },
];

/** Short windows, and nothing that acts on repeated failure: that has tests of its own. */
const cells = {
  cpuWindowMs: 500,
  diskScanMs: 100,
  breakerFailures: 1_000_000,
  restartBackoffMs: 1,
  restartBackoffMaxMs: 1,
  awakeMax: 64,
};
const restart = { max: 1_000 };
/** A limit that does nothing is told by this one. */
const wallMs = 30_000;

const source = Deno.readTextFileSync(new URL("glutton/mod.ts", import.meta.url));

/** The plugin under a name and limits of its own. */
function glutton(id: string, actions: Record<string, unknown>, limits: Partial<Limits>, more = {}) {
  return { [id]: { "plugin.jsonc": manifest(id, { actions, limits, restart, ...more }), "mod.ts": source } };
}

for (const tier of isolationTiers) {
  const isMissing = tier === "sealed" && !await isSealedAvailable();
  Deno.test({
    name: `each limit (${tier})${isMissing ? " [skipped: apt-get install bubblewrap]" : ""}`,
    ignore: isMissing,
    fn: (test) => testEachLimit(test, tier),
  });
}

async function testEachLimit(test: Deno.TestContext, tier: Isolation): Promise<void> {
  await using server = listen();
  const here = rows.filter(({ tiers }) => tiers?.includes(tier) ?? true);
  const ids = new Map(here.map((row, index) => [row, row.action === "connections" ? "net" : `row-${index}`]));
  const net = [`127.0.0.1:${server.port}`];
  const logging = glutton("logging", { log: {} }, { logBytesPerSecond: 2_000 });
  await using airlock = await Airlock.start({
    args: ["--tier", tier],
    plugins: Object.assign(
      logging,
      ...here.map((row) => {
        const more = row.action === "connections" ? { capabilities: { net } } : {};
        return glutton(ids.get(row)!, { [row.action]: {} }, { wallMs, ...row.limits }, more);
      }),
    ),
    config: { cells, grants: { net: { net } } },
  });
  for (const row of here) {
    const id = ids.get(row)!;
    await test.step(row.name, async () => {
      const { port } = server;
      const worked = await airlock.invoke<unknown>(id, row.action, { amount: row.under, port });
      equal(worked.status, 200, JSON.stringify(worked.body));
      const { code, detail } = await airlock.fail(id, row.action, { amount: row.over, port });
      equal(code, row.code, detail);
      // What is on disk would end the next cell as well, and the next.
      equal((await airlock.request("POST", `/v1/plugins/${id}/stop`)).status, 200);
    });
  }
  await test.step("logBytesPerSecond", () => testLogRate(airlock));
  await test.step("the others answer", async () => {
    ok(await airlock.call("hello", "greet", { name: "world" }));
  });
}

/** A log over its rate costs lines and not the cell. */
async function testLogRate(airlock: Airlock): Promise<void> {
  const lines = async () =>
    (await airlock.request<{ items: LogLine[] }>("GET", "/v1/plugins/logging/logs")).body.items;
  await airlock.call("logging", "log", { amount: 5 });
  await until("five lines", async () => (await lines()).length === 5);
  deepEqual([...new Set((await lines()).map(({ code, droppedBytes }) => code ?? droppedBytes))], [0]);
  await airlock.call("logging", "log", { amount: 1_000 });
  const dropped = await until("lines dropped", async () => (await lines()).find(({ code }) => code !== null));
  equal(dropped.code, "LIMIT_LOG");
  ok(dropped.droppedBytes > 0);
  equal(await airlock.call("logging", "log", { amount: 0 }), "had enough");
}

Deno.test("outputMb of a stream that is read as it comes", async () => {
  const limits = { outputMb: 1 };
  await using airlock = await Airlock.start({
    plugins: glutton("streaming", { stream: { stream: true } }, limits),
    config: { cells },
  });
  const last = async (amount: number) =>
    (await Array.fromAsync(await airlock.stream("streaming", "stream", { amount }))).at(-1)!;
  equal((await last(10)).event, "COMPLETE");
  const { event, data } = await last(40);
  equal(event, "ERROR");
  equal((data as Problem).code, "LIMIT_OUTPUT");
});

Deno.test("a frame's largest size bounds inputs and outputs, whatever a plugin's limits are", async () => {
  await using airlock = await Airlock.start({
    plugins: glutton("framed", { size: {}, output: {} }, { outputMb: 16 }),
    config: { cells: { ...cells, frameBytesMax: 1_048_576 } },
  });
  equal(await airlock.call("framed", "size", { text: "x".repeat(900_000) }), 900_000);
  equal((await airlock.fail("framed", "size", { text: "x".repeat(1_100_000) })).code, "BODY_TOO_LARGE");
  equal((await airlock.call<string>("framed", "output", { amount: 900 })).length, 900 * 1_024);
  equal((await airlock.fail("framed", "output", { amount: 1_100 })).code, "LIMIT_OUTPUT");
});

Deno.test("a manifest's limit above the operator's cap is capped: shown so, and enforced so", async () => {
  const caps = { memoryMb: 48, wallMs: 2_000, outputMb: 1, files: 50, cpuMs: 200 };
  const asked = { memoryMb: 1_024, wallMs: 30_000, outputMb: 16, files: 1_000, cpuMs: 20_000, threads: 32 };
  await using airlock = await Airlock.start({
    plugins: glutton("greedy", { buffers: {}, wait: {}, output: {}, files: {}, cpu: {} }, asked),
    config: { cells, limits: caps },
  });
  const { limits } = await airlock.plugin("greedy");
  deepEqual({ ...limits, ...caps, threads: 32 }, limits);
  const attempts = [
    ["buffers", 1_000, "LIMIT_MEMORY"],
    ["wait", 20_000, "LIMIT_WALL"],
    ["output", 1_100, "LIMIT_OUTPUT"],
    ["cpu", 20_000, "LIMIT_CPU"],
    ["files", 200, "LIMIT_FILES"],
  ] as const;
  for (const [action, amount, code] of attempts) {
    const problem = await airlock.fail("greedy", action, { amount });
    equal(problem.code, code, problem.detail);
  }
});

/** Takes connections, and says nothing. */
function listen(): { port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) connections.push(connection);
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of connections) connection.close();
    },
  };
}
