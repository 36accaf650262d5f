import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { CommitQueue } from "./commit_queue.ts";

/** A queue of numbers whose commits end when the test says so. */
function createQueue(waitingMax = 10, batchMax = 4) {
  const batches: (readonly number[])[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  const starts: PromiseWithResolvers<void>[] = [];
  const failures: unknown[] = [];
  const at = (list: PromiseWithResolvers<void>[], index: number) => {
    while (list.length <= index) list.push(Promise.withResolvers<void>());
    return list[index];
  };
  const queue = new CommitQueue<number, string>({
    name: "test",
    waitingMax,
    batchMax: () => batchMax,
    async commit(batch) {
      const index = batches.push(batch) - 1;
      at(starts, index).resolve();
      await at(ends, index).promise;
      return batch.map((item) => `done ${item}`);
    },
    failed: (error) => failures.push(error),
  });
  return {
    queue,
    batches,
    failures,
    started: (index: number) => at(starts, index).promise,
    end: (index: number) => at(ends, index).resolve(),
    fail: (index: number) => at(ends, index).reject(new Error("EIO")),
  };
}

const codeOf = (error: unknown) => error instanceof ProblemError ? error.code : String(error);

Deno.test("CommitQueue commits what arrived during a commit together, in order and within the limit", async () => {
  const { queue, batches, started, end } = createQueue();
  const first = queue.push(1);
  await started(0);
  const rest = [2, 3, 4, 5, 6, 7].map((item) => queue.push(item));
  [0, 1, 2].forEach(end);
  assert.equal(await first, "done 1");
  assert.deepEqual(await Promise.all(rest), [2, 3, 4, 5, 6, 7].map((item) => `done ${item}`));
  assert.deepEqual(batches, [[1], [2, 3, 4, 5], [6, 7]]);
});

Deno.test("CommitQueue commits together what is pushed in one turn of the event loop", async () => {
  const { queue, batches, end } = createQueue();
  [0, 1].forEach(end);
  await Promise.all([1, 2, 3].map((item) => queue.push(item)));
  // Those whom a commit woke come back together as well.
  await Promise.all([4, 5, 6].map((item) => queue.push(item)));
  assert.deepEqual(batches, [[1, 2, 3], [4, 5, 6]]);
});

Deno.test("CommitQueue refuses what is more than may wait, and takes items again later", async () => {
  const { queue, started, end } = createQueue(2);
  const first = queue.push(1);
  await started(0);
  const waiting = [queue.push(2), queue.push(3)];
  assert.throws(() => queue.push(4), (error) => codeOf(error) === "QUEUE_FULL");
  [0, 1, 2].forEach(end);
  await Promise.all([first, ...waiting]);
  assert.equal(await queue.push(5), "done 5");
});

Deno.test("CommitQueue.close() commits what waits and refuses what comes later", async () => {
  const { queue, started, end } = createQueue();
  const first = queue.push(1);
  await started(0);
  const second = queue.push(2);
  const closed = queue.close();
  assert.throws(() => queue.push(3), (error) => codeOf(error) === "NOT_READY");
  [0, 1].forEach(end);
  await closed;
  assert.deepEqual(await Promise.all([first, second]), ["done 1", "done 2"]);
});

Deno.test("CommitQueue rejects everything for good after a failed commit, and commits nothing more", async () => {
  const { queue, batches, failures, started, fail } = createQueue();
  const first = queue.push(1);
  await started(0);
  const second = queue.push(2);
  fail(0);
  for (const push of [first, second]) await assert.rejects(push, (error) => codeOf(error) === "INTERNAL");
  assert.throws(() => queue.push(3), (error) => codeOf(error) === "INTERNAL");
  await queue.close();
  assert.equal(queue.state, "failed");
  assert.deepEqual(batches, [[1]]);
  assert.equal(failures.length, 1);
});
