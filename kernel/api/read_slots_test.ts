import assert from "node:assert/strict";
import { Hono } from "hono";
import { ProblemError } from "../../schemas/problem.ts";
import type { ApiEnv } from "./context.ts";
import { holdSlot, ReadSlots } from "./read_slots.ts";

const limits = { action: "read the ledger", perCallerMax: 2, max: 3, retryAfterMs: 1_000 };

const isFull = (state: string) => (error: unknown) => {
  assert.ok(error instanceof ProblemError, String(error));
  assert.deepEqual([error.code, error.options.retryAfterMs], ["QUEUE_FULL", 1_000]);
  assert.equal(error.message, `Cannot read the ledger: ${state}`);
  return true;
};

Deno.test("ReadSlots.take() gives each caller so many slots, and all of them together", () => {
  const slots = new ReadSlots(limits);
  const [first] = [slots.take("a"), slots.take("a")];
  assert.throws(() => slots.take("a"), isFull("2 requests of yours are under way"));
  const other = slots.take("b");
  assert.throws(() => slots.take("b"), isFull("3 requests are under way"));
  assert.throws(() => slots.take(undefined), isFull("3 requests are under way"));
  first();
  first();
  const third = slots.take("a");
  assert.throws(() => slots.take("a"), isFull("2 requests of yours are under way"));
  third();
  other();
  const unknown = [slots.take(undefined), slots.take(undefined)];
  assert.throws(() => slots.take("b"), isFull("3 requests are under way"));
  for (const release of unknown) release();
  slots.take("b");
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
