import { deepEqual, equal, rejects } from "node:assert/strict";
import { concurrently } from "./concurrently.ts";

/** Work that a test ends, in the order it likes. */
function createWork() {
  const begun: number[] = [];
  const ends = new Map<number, PromiseWithResolvers<string>>();
  return {
    ...{ begun, ends },
    work(item: number) {
      begun.push(item);
      const end = Promise.withResolvers<string>();
      ends.set(item, end);
      return end.promise;
    },
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("concurrently() begins no more than so many at once, and keeps the order of the results", async () => {
  const { work, begun, ends } = createWork();
  const all = concurrently([1, 2, 3], 2, work);
  await turn();
  deepEqual(begun, [1, 2]);
  ends.get(2)?.resolve("two");
  await turn();
  deepEqual(begun, [1, 2, 3]);
  ends.get(3)?.resolve("three");
  ends.get(1)?.resolve("one");
  deepEqual(await all, ["one", "two", "three"]);
  deepEqual(await concurrently([], 2, work), []);
});

Deno.test("concurrently() rejects with the first failure and begins no more", async () => {
  const { work, begun, ends } = createWork();
  const all = concurrently([1, 2, 3], 2, work);
  await turn();
  ends.get(1)?.reject(new Error("one failed"));
  await rejects(all, /one failed/);
  ends.get(2)?.resolve("two");
  await turn();
  equal(begun.length, 2);
});
