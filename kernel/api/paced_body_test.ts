import assert from "node:assert/strict";
import { createPacedBody } from "./paced_body.ts";
import { loseWithinEnqueue } from "./testing_lost_reader.ts";

const hourMs = 3_600_000;

/** A source of `count` chunks, and what became of it. */
function createSource(count = Infinity, fails = false) {
  const seen = { made: 0, returned: 0, ended: 0 };
  const returned = Promise.withResolvers<void>();
  async function* chunks() {
    try {
      while (seen.made < count) {
        seen.made += 1;
        yield await Promise.resolve(new Uint8Array([seen.made]));
      }
      if (fails) throw new Error("the disk is gone");
    } finally {
      seen.returned += 1;
      returned.resolve();
    }
  }
  const create = (takeTimeoutMs: number) =>
    createPacedBody(chunks(), { takeTimeoutMs, ended: () => seen.ended += 1 });
  return { seen, create, returned: returned.promise };
}

Deno.test("createPacedBody() makes a chunk when the one before was taken", async () => {
  const { seen, create } = createSource();
  const reader = create(hourMs).getReader();
  assert.equal(seen.made, 0);
  for (let taken = 1; taken <= 3; taken++) {
    assert.deepEqual((await reader.read()).value, new Uint8Array([taken]));
    assert.equal(seen.made, taken);
  }
  await reader.cancel();
  assert.deepEqual(seen, { made: 3, returned: 1, ended: 1 });
});

Deno.test("createPacedBody() ends with its source", async () => {
  const { seen, create } = createSource(3);
  assert.deepEqual(await new Response(create(hourMs)).bytes(), new Uint8Array([1, 2, 3]));
  assert.deepEqual(seen, { made: 3, returned: 1, ended: 1 });
});

Deno.test("createPacedBody() fails with its source, so that nobody takes the beginning for the whole", async () => {
  const { seen, create } = createSource(2, true);
  await assert.rejects(() => new Response(create(hourMs)).bytes(), /the disk is gone/);
  assert.deepEqual(seen, { made: 2, returned: 1, ended: 1 });
});

Deno.test("createPacedBody() breaks off when its reader takes nothing more", async () => {
  const { seen, create, returned } = createSource();
  const reader = create(10).getReader();
  await reader.read();
  await returned;
  await assert.rejects(() => reader.read(), /nobody took it for 10 ms/);
  assert.deepEqual(seen, { made: 1, returned: 1, ended: 1 });
});

Deno.test("createPacedBody() breaks off when nobody ever reads it", async () => {
  const ended = Promise.withResolvers<void>();
  const { create } = createSource();
  const body = createPacedBody((async function* () {})(), { takeTimeoutMs: 10, ended: ended.resolve });
  await ended.promise;
  await assert.rejects(() => body.getReader().read(), /nobody took it/);
  await create(hourMs).cancel();
});

// The sanitizer sees a timer that is left.
Deno.test("createPacedBody() waits for no reader that is lost within its enqueue", async () => {
  const { seen, create, returned } = createSource();
  const reader = create(hourMs).getReader();
  using _lost = loseWithinEnqueue(reader);
  await reader.read();
  await returned;
  assert.deepEqual(seen, { made: 1, returned: 1, ended: 1 });
});
