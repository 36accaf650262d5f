import assert from "node:assert/strict";
import { Hono } from "hono";
import { ProblemError } from "../../schemas/problem.ts";
import type { ApiEnv } from "./context.ts";
import { holdSlot, ReadSlots } from "./read_slots.ts";

const limits = {
  ...{ action: "read the ledger", perCallerMax: 2, max: 3, retryAfterMs: 1_000 },
  ...{ waitingMax: 0, waitMs: 0 },
};

const isFull = (state: string) => (error: unknown) => {
  assert.ok(error instanceof ProblemError, String(error));
  assert.deepEqual([error.code, error.options.retryAfterMs], ["QUEUE_FULL", 1_000]);
  assert.equal(error.message, `Cannot read the ledger: ${state}`);
  return true;
};

const { signal } = new AbortController();

Deno.test("ReadSlots.take() gives each caller so many slots, and all of them together", async () => {
  const slots = new ReadSlots(limits);
  const [first] = [await slots.take("a", signal), await slots.take("a", signal)];
  await assert.rejects(() => slots.take("a", signal), isFull("2 requests of yours are under way and 0 wait"));
  const other = await slots.take("b", signal);
  await assert.rejects(() => slots.take("b", signal), isFull("3 requests are under way and 0 wait"));
  await assert.rejects(() => slots.take(undefined, signal), isFull("3 requests are under way and 0 wait"));
  first();
  first();
  const third = await slots.take("a", signal);
  await assert.rejects(() => slots.take("a", signal), isFull("2 requests of yours are under way and 0 wait"));
  third();
  other();
  const unknown = [await slots.take(undefined, signal), await slots.take(undefined, signal)];
  await assert.rejects(() => slots.take("b", signal), isFull("3 requests are under way and 0 wait"));
  for (const release of unknown) release();
  await slots.take("b", signal);
});

Deno.test("ReadSlots.take() lets so many wait, each in its turn, and those that go away leave the line", async () => {
  const slots = new ReadSlots({ ...limits, waitingMax: 3, waitMs: 10_000 });
  const order: string[] = [];
  const take = async (name: string, asked = signal) => {
    const release = await slots.take("a", asked);
    order.push(name);
    return release;
  };
  const held = [await take("1"), await take("2")];
  const gone = new AbortController();
  const waiting = [take("3"), take("gone", gone.signal), take("4")];
  await assert.rejects(() => take("5"), isFull("2 requests of yours are under way and 3 wait"));
  gone.abort();
  await assert.rejects(() => waiting[1], isFull("2 requests of yours are under way and 2 wait"));
  for (const release of held) release();
  for (const release of [await waiting[0], await waiting[2]]) release();
  assert.deepEqual(order, ["1", "2", "3", "4"]);
});

/** An API whose answers have `bytes`, and are made when `proceed` resolves. */
function createApi(bytes: number, proceed: () => Promise<void> = () => Promise.resolve()) {
  const app = new Hono<ApiEnv>();
  app.onError((error, c) => c.text(error instanceof ProblemError ? error.code : String(error), 503));
  app.use((c, next) => {
    c.set("caller", { id: "a", role: "viewer", actor: "token:a" });
    return next();
  });
  app.get("/", holdSlot(new ReadSlots(limits)), async (c) => {
    await proceed();
    if (c.req.query("fails") !== undefined) throw new Error("the disk is gone");
    return c.text("x".repeat(bytes), 200, { "x-kept": "yes" });
  });
  return (path = "/", method = "GET") => Promise.resolve(app.request(path, { method }));
}

Deno.test("holdSlot() answers so many requests at once, and gives their slots back with their answers", async () => {
  const made = Promise.withResolvers<void>();
  const ask = createApi(10, () => made.promise);
  const underWay = [ask(), ask("/?fails")];
  const refused = await ask();
  assert.deepEqual([refused.status, await refused.text()], [503, "QUEUE_FULL"]);
  made.resolve();
  const [answer, failed] = await Promise.all(underWay);
  assert.deepEqual([failed.status, await failed.text()], [503, "Error: the disk is gone"]);
  assert.deepEqual([answer.status, await answer.text()], [200, "x".repeat(10)]);
  assert.equal(answer.headers.get("x-kept"), "yes");
  for (let request = 0; request < 10; request++) assert.equal((await ask()).status, 200);
});

Deno.test("holdSlot() holds the slot of a large answer until its reader has taken it, or gone away", async () => {
  const ask = createApi(200_000);
  const [first, second] = [await ask(), await ask()];
  assert.equal((await ask()).status, 503);
  assert.equal(first.headers.get("content-length"), "200000");
  assert.equal((await first.text()).length, 200_000);
  await second.body?.cancel();
  assert.equal((await (await ask()).text()).length, 200_000);
  assert.equal((await (await ask()).text()).length, 200_000);
});

Deno.test("holdSlot() gives the slot of a HEAD request back at once", async () => {
  const ask = createApi(200_000);
  for (let request = 0; request < 5; request++) {
    assert.deepEqual([(await ask("/", "HEAD")).status], [200]);
  }
});
