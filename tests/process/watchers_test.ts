/**
 * Those who watch a job, against a real Airlock: many of them, one that never reads, and one that is cut again and
 * again.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { AirlockClient } from "../../sdk/client.ts";
import { CuttingProxy } from "../../sdk/testing_server.ts";
import { Airlock, manifest, readEvents, until } from "../support/airlock.ts";

const tokensCount = 10_000;

/** `count` tokens, so many at a time; the second half when the file `go` is there. */
const streamer = {
  "plugin.jsonc": manifest("streamer", {
    actions: { count: { timeoutMs: 120_000 } },
    limits: { wallMs: 120_000, cpuMs: 60_000 },
  }),
  "mod.ts": `
export const actions = {
  async *count({ to, pad = "" }) {
    for (let n = 0; n < to; n++) {
      yield pad === "" ? n : { n, pad };
      if (n % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return to;
  },
};`,
};

const numbers = Array.from({ length: tokensCount }, (_, n) => n);

/** Its id. */
async function enqueue(airlock: Airlock, input: object): Promise<string> {
  const { status, body } = await airlock.request<{ id: string }>("POST", "/v1/jobs", {
    ...{ plugin: "streamer", action: "count", input },
  });
  equal(status, 202);
  return body.id;
}

function chance(seed: number): () => number {
  return () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
}

Deno.test("a WebSocket client cut 100 times during 10,000 tokens has each once, in order", async () => {
  await using airlock = await Airlock.start({ plugins: { streamer } });
  const random = chance(11);
  await using proxy = new CuttingProxy(
    Number(new URL(airlock.url).port),
    (connection) => connection < 100 ? 400 + Math.floor(random() * 9_000) : Infinity,
  );
  await using client = new AirlockClient({
    ...{ url: proxy.url, token: airlock.token, backoffMs: 1, backoffMaxMs: 2, feed: false, fetch: null },
  });
  const { id } = await client.enqueue({ plugin: "streamer", action: "count", input: { to: tokensCount } });
  const tokens: unknown[] = [];
  for await (const token of client.tokens(id)) tokens.push(token);
  deepEqual(tokens, numbers);
  equal(proxy.cuts, 100);
});

/** The tokens of a job, read by server-sent events to the end. */
async function watch({ url, token }: Airlock, id: string): Promise<unknown[]> {
  const response = await fetch(`${url}/v1/jobs/${id}/events`, {
    headers: { authorization: `Bearer ${token}` },
  });
  equal(response.status, 200);
  const tokens: unknown[] = [];
  let isOver = false;
  for await (const { event, data } of readEvents(response.body!)) {
    if (event === "JOB_TOKEN") tokens.push(data);
    isOver ||= event === "JOB_COMPLETED";
  }
  ok(isOver);
  return tokens;
}

Deno.test("100 watchers of one job have all of it, though one never reads, and memory stays bounded", async () => {
  await using airlock = await Airlock.start({
    plugins: { streamer },
    config: { streams: { readerTimeoutMs: 60_000 } },
  });
  const pad = "x".repeat(1_000);
  const id = await enqueue(airlock, { to: 1, pad });
  await watch(airlock, id);
  const before = await memoryMb(airlock);
  const big = await enqueue(airlock, { to: 2_500, pad });
  using stuck = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(airlock.url).port) });
  await stuck.write(new TextEncoder().encode(
    `GET /v1/jobs/${big}/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${airlock.token}\r\n\r\n`,
  ));
  const startedMs = performance.now();
  const seen = await Promise.all(Array.from({ length: 99 }, () => watch(airlock, big)));
  for (const tokens of seen) {
    equal(tokens.length, 2_500);
    deepEqual(tokens.at(-1), { n: 2_499, pad });
  }
  // 2.5 MB went to each of them; a copy for each would be 250 and more, beside the 120 to 180 that V8 lets its heap
  // grow by meanwhile.
  const grown = await memoryMb(airlock) - before;
  ok(grown < 230, `the kernel grew by ${grown} MB`);
  ok(performance.now() - startedMs < 60_000);
  await until("an answer beside them", async () => (await airlock.request("GET", "/healthz")).status === 200);
});

/** What the kernel holds. */
async function memoryMb(airlock: Airlock): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${await airlock.kernelPid()}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
}
