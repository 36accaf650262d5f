import { deepEqual, equal, rejects } from "node:assert/strict";
import { createSharedTransaction } from "./shared_transaction.ts";

/** A database that says what it committed. */
function createTarget() {
  const committed: string[][] = [];
  let open: string[] = [];
  const { together } = createSharedTransaction((work) => {
    open = [];
    const result = work();
    committed.push(open);
    return result;
  });
  return { committed, together: (row: string) => together(() => void open.push(row)), failing: together };
}

Deno.test("SharedTransaction commits in one transaction what comes in one turn, in its order", async () => {
  const { committed, together } = createTarget();
  const first = Promise.all([together("a"), together("b")]);
  deepEqual(committed, []);
  await first;
  deepEqual(committed, [["a", "b"]]);
  await together("c");
  deepEqual(committed, [["a", "b"], ["c"]]);
});

Deno.test("SharedTransaction tells all whose writes a failure took, and goes on with the next", async () => {
  const { committed, together, failing } = createTarget();
  const outcomes = Promise.allSettled([
    together("a"),
    failing(() => {
      throw new Error("the disk is full");
    }),
  ]);
  deepEqual((await outcomes).map(({ status }) => status), ["rejected", "rejected"]);
  equal(committed.length, 0);
  await together("b");
  deepEqual(committed, [["b"]]);
  await rejects(
    failing(() => {
      throw new Error("the disk is full");
    }),
    /the disk is full/,
  );
});
