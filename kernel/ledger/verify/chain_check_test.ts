import assert from "node:assert/strict";
import { ChainCheck, type Link } from "./chain_check.ts";

/** Entry `i` is "i", and names the one before it. What was signed: these, in order. */
const size = 7;
const signed = Array.from({ length: size }, (_, index) => `${index}`);
const linkAt = (index: number): Link => ({ prev: `${index - 1}`, leafHash: `${index}` });

function check(changed: ReadonlyMap<number, Link | undefined>) {
  const hashes: string[] = [];
  const chain = new ChainCheck(0, (leafHash) => hashes.push(leafHash));
  for (let index = 0; index < size; index++) {
    chain.take(changed.has(index) ? changed.get(index) : linkAt(index));
  }
  const isSigned = chain.end(() => hashes.join() === signed.join());
  return { brokenAt: chain.brokenAt, isSigned };
}

Deno.test("ChainCheck finds nothing in the entries that were signed, nor in others that are chained", () => {
  assert.deepEqual(check(new Map()), { brokenAt: undefined, isSigned: true });
  const rewritten = new Map(
    [5, 6].map((index) => [index, { prev: index === 5 ? "4" : "5x", leafHash: `${index}x` }]),
  );
  assert.deepEqual(check(rewritten), { brokenAt: undefined, isSigned: false });
});

Deno.test("ChainCheck proves which entry alone was changed, unless nothing after it says what it was", () => {
  for (let index = 0; index < size; index++) {
    const isProven = index < size - 1;
    const changes: (Link | undefined)[] = [undefined, { prev: "x", leafHash: `${index}x` }];
    for (const change of changes) {
      const found = check(new Map([[index, change]]));
      // The first entry has none before it that could contradict it.
      assert.deepEqual(found, { brokenAt: index, isSigned: isProven }, JSON.stringify([index, change]));
    }
    const found = check(new Map([[index, { ...linkAt(index), leafHash: `${index}x` }]]));
    assert.deepEqual(found, { brokenAt: isProven ? index : undefined, isSigned: isProven }, `${index}`);
  }
});

Deno.test("ChainCheck proves nothing of two changes", () => {
  for (let first = 0; first < size; first++) {
    for (let second = first + 1; second < size; second++) {
      for (const change of [undefined, { prev: "x", leafHash: "y" }]) {
        const found = check(new Map([[first, change], [second, change]]));
        assert.equal(found.isSigned, false, `${first} and ${second}`);
      }
    }
  }
});
