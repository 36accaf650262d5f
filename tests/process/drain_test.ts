import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import {
  Airlock,
  type AirlockOptions,
  leftovers,
  manifest,
  temporaryFolder,
  until,
} from "../support/airlock.ts";
import { checkContinued, copyLedger } from "../support/ledger.ts";

const plugins = {
  slow: {
    "plugin.jsonc": manifest("slow", { actions: { wait: {}, stream: { stream: true } } }),
    "mod.ts": `
      const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      export const actions = {
        async wait({ ms }) { await pause(ms); return "answered"; },
        async *stream({ ms }) { yield "begun"; await pause(ms); return "answered"; },
      };`,
  },
};

/** An Airlock that leads a process group, as one started from a shell, with a call of `ms` under way. */
async function startBusy(ms: number, options: AirlockOptions = {}) {
  const airlock = await Airlock.start({ plugins, detached: true, ...options });
  const events = await airlock.stream("slow", "stream", { ms });
  equal((await events.next()).value?.data, "begun");
  return { airlock, events, answer: airlock.invoke<string>("slow", "wait", { ms }) };
}

async function isAccepted(airlock: Airlock): Promise<boolean> {
  return (await airlock.records()).filter(({ type }) => type === "call.accepted").length === 2;
}

Deno.test("airlock drains while a start hangs, and in less time than that start has", async () => {
  const begun = "console.log('begun');";
  await using airlock = await Airlock.start({
    config: { http: { drainTimeoutMs: 300 }, cells: { startTimeoutMs: 600_000, stopTimeoutMs: 300 } },
    plugins: {
      stuck: {
        "plugin.jsonc": manifest("stuck"),
        "mod.ts":
          `${begun} await new Promise(() => setInterval(() => {}, 1_000)); export const actions = {};`,
      },
    },
  });
  const call = airlock.invoke("stuck", "run");
  await until("the start is under way", async () => (await airlock.plugin("stuck")).state === "starting");
  const sinceMs = performance.now();
  Deno.kill(airlock.pid, "SIGTERM");
  const { status, body } = await call;
  deepEqual([status, (body as { code: string }).code], [503, "NOT_READY"]);
  equal((await airlock.ended()).code, 0, airlock.output.stderr);
  ok(performance.now() - sinceMs < 5_000);
  deepEqual(leftovers(airlock.dataDir), []);
});

const signalled: [what: string, signal: (airlock: Airlock) => void][] = [
  ["Ctrl-C in its terminal", ({ pid }) => Deno.kill(-pid, "SIGINT")],
  ["SIGTERM", ({ pid }) => Deno.kill(pid, "SIGTERM")],
  ["the same signal twice within a second", ({ pid }) => {
    Deno.kill(-pid, "SIGINT");
    setTimeout(() => Deno.kill(-pid, "SIGINT"), 200);
  }],
];

for (const [what, signal] of signalled) {
  Deno.test(`airlock drains at ${what}: calls under way get their answers`, async () => {
    const busy = await startBusy(1_000);
    await using airlock = busy.airlock;
    await until("both calls accepted", () => isAccepted(airlock));
    const { token } = airlock;
    signal(airlock);
    await until("new calls refused", async () => {
      try {
        const response = await fetch(`${airlock.url}/v1/plugins/hello/actions/greet`, {
          method: "POST",
          headers: { authorization: `Bearer ${token}` },
        });
        return (await response.json()).code === "NOT_READY";
      } catch {
        return true; // nobody listens any more
      }
    });
    const { status, body } = await busy.answer;
    deepEqual([status, (body as { output: string }).output], [200, "answered"]);
    const { value } = await busy.events.next();
    deepEqual([value?.event, (value?.data as { output: string }).output], ["COMPLETE", "answered"]);
    equal((await airlock.ended()).code, 0, airlock.output.stderr);
    deepEqual(leftovers(airlock.dataDir), []);
    await rejects(Deno.stat(airlock.runFolder), Deno.errors.NotFound);
  });
}

const forced: [what: string, second: (airlock: Airlock, firstMs: number) => Promise<void>][] = [
  ["the same signal after a second", async ({ pid }, firstMs) => {
    await until("more than a second passed", () => performance.now() - firstMs > 1_050);
    Deno.kill(-pid, "SIGINT");
  }],
  ["another signal", ({ pid }) => {
    Deno.kill(pid, "SIGTERM");
    return Promise.resolve();
  }],
];

for (const [what, second] of forced) {
  Deno.test(`airlock stops at once at ${what}, and loses no entry`, async () => {
    await using folder = await temporaryFolder();
    const dataDir = `${folder.path}/data`;
    const busy = await startBusy(25_000, { dataDir });
    await using airlock = busy.airlock;
    await until("both calls accepted", () => isAccepted(airlock));
    const before = await copyLedger(airlock);
    const lost = Promise.all([
      rejects(busy.answer),
      rejects(async () => {
        if ((await busy.events.next()).value?.event !== "COMPLETE") throw new Error("the stream broke off");
      }),
    ]);
    const firstMs = performance.now();
    Deno.kill(-airlock.pid, "SIGINT");
    await second(airlock, firstMs);
    const secondMs = performance.now();
    equal((await airlock.ended()).code, 1, airlock.output.stderr);
    ok(performance.now() - secondMs < 3_000);
    await lost;
    await using next = await Airlock.start({ dataDir, plugins });
    checkContinued(before, await copyLedger(next));
  });
}
