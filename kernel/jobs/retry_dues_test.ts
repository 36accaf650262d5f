import assert from "node:assert/strict";
import type { Due } from "../store/jobs_table.ts";
import { RetryDues } from "./retry_dues.ts";
import { rowsPerCommit, WorkBudget } from "./work_budget.ts";
import { JobsWorld } from "./testing_jobs_world.ts";

const day = 86_400_000;
const retry = { attempts: 3, backoffMs: 2_000 };

for (const back of [60_000, 3 * day]) {
  Deno.test(`RetryDues: a pause lasts as long as it was meant to when the clock is set back by ${back} ms`, async () => {
    using world = await JobsWorld.open({ random: () => 1 });
    const { id } = await world.enqueue({ retry });
    const delayed = await world.enqueue({ delayMs: day });
    world.callOf(id).begin().fail("ACTION_FAILED");
    await world.turn();
    assert.equal(await world.state(id), "pending time 1");
    world.wallMs -= back;
    await world.pass(1_000);
    assert.equal(await world.state(id), "pending time 1");
    await world.pass(1_500);
    assert.equal(await world.state(id), "running 2");
    // And one that begins after.
    world.callOf(id).begin().fail("ACTION_FAILED");
    await world.turn();
    await world.pass(3_000);
    assert.equal(await world.state(id), "pending time 2");
    await world.pass(1_500);
    assert.equal(await world.state(id), "running 3");
    assert.equal(await world.state(delayed.id), "pending time 0", "a delay means the clock on the wall");
  });
}

Deno.test("RetryDues: no pause is longer than the longest after a start with a clock that was set back", async () => {
  using world = await JobsWorld.open({ config: { backoffMaxMs: 60_000 } });
  const { id } = await world.enqueue({ retry });
  world.callOf(id).begin().fail("ACTION_FAILED");
  await world.turn();
  world.wallMs -= 3 * day;
  await world.crash();
  assert.equal(await world.state(id), "pending time 1");
  await world.pass(60_000);
  await world.pass(1_000);
  assert.equal(await world.state(id), "running 2");
});

Deno.test("RetryDues.follow() brings forward a part of them in one transaction, each once", () => {
  const clock = { wallMs: 10 * day, monotonicMs: 0 };
  const rows = new Map<number, Due>();
  for (let seq = 1; seq <= 2_000; seq++) {
    rows.set(seq, { seq, dueAtMs: clock.wallMs + 1 + seq, isRetry: seq % 4 !== 0 });
  }
  const moved = new Map<number, number>();
  const budget = new WorkBudget();
  const dues = new RetryDues({
    ...{ budget, backoffMaxMs: 3_600_000, nowMs: () => clock.wallMs, monotonicMs: () => clock.monotonicMs },
    table: {
      waitForTime: ({ dueAtMs, seq }, limit) =>
        [...rows.values()].filter((row) =>
          row.dueAtMs > dueAtMs || (row.dueAtMs === dueAtMs && row.seq > seq)
        )
          .sort((a, b) => a.dueAtMs - b.dueAtMs || a.seq - b.seq).slice(0, limit),
      setDue: (seq, dueAtMs) => {
        rows.set(seq, { ...rows.get(seq)!, dueAtMs });
        moved.set(seq, (moved.get(seq) ?? 0) + 1);
      },
    },
  });
  assert.equal(dues.follow(), false);
  clock.wallMs -= day;
  let transactions = 0;
  for (let hasMore = true; hasMore; transactions++) {
    budget.renew();
    hasMore = dues.follow();
    assert(budget.left > rowsPerCommit / 2);
  }
  assert(transactions >= 8, `${transactions}`);
  for (const { seq, dueAtMs, isRetry } of rows.values()) {
    assert.equal(dueAtMs, 10 * day + 1 + seq - (isRetry ? day : 0));
    assert.equal(moved.get(seq), isRetry ? 1 : undefined);
  }
  assert.equal(dues.follow(), false);
});
