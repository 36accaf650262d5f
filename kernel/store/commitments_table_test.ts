import assert from "node:assert/strict";
import { StoreError } from "./database.ts";
import { openCommitments, type Opening } from "./commitments_table.ts";

function createFile() {
  const folder = Deno.makeTempDirSync();
  return {
    file: `${folder}/commitments.db`,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

function opening(index: number, field = "input", value: Uint8Array | null = null): Opening {
  return { index, field, salt: crypto.getRandomValues(new Uint8Array(16)), value };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => opening(from + i));

Deno.test("Commitments returns what was inserted, by entry and field", () => {
  using temporary = createFile();
  const pair = [opening(4, "detail", new Uint8Array([1, 2])), opening(4, "target")];
  const many = range(5, 50);
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 100 });
    commitments.save([...pair, ...many]);
    commitments.save([]);
  }
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  assert.deepEqual(commitments.get(4), pair);
  for (const one of many) assert.deepEqual(commitments.get(one.index), [one]);
  assert.deepEqual(commitments.get(99), []);
  assert.equal(commitments.rows, 47);
});

Deno.test("Commitments writes nothing of a batch that holds a field twice", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save(range(0, 3));
  assert.throws(() => commitments.save([opening(3), opening(2)]));
  assert.deepEqual(commitments.get(3), []);
  assert.equal(commitments.rows, 3);
  commitments.save([opening(3)]);
  assert.equal(commitments.rows, 4);
});

Deno.test("Commitments trims the oldest entries, whole", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 10 });
  commitments.save([opening(0, "a"), opening(0, "b"), ...range(1, 9)]);
  assert.equal(commitments.rows, 10);
  commitments.save([opening(9)]);
  assert.deepEqual(commitments.get(0), []);
  assert.equal(commitments.rows, 9);
  for (let index = 10; index < 100; index += 3) {
    commitments.save(range(index, index + 3));
    assert.ok(commitments.rows <= 10);
  }
  assert.equal(commitments.get(99).length, 1);
});

Deno.test("Commitments works off a lowered limit insert by insert", () => {
  using temporary = createFile();
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 1_000 });
    commitments.save(range(0, 1_000));
  }
  using commitments = openCommitments({ ...temporary, rowsMax: 10 });
  commitments.save([opening(1_000)]);
  assert.equal(commitments.rows, 1_001 - 66);
  for (let index = 1_001; index < 1_030; index++) commitments.save([opening(index)]);
  assert.equal(commitments.rows, 10);
  assert.equal(commitments.get(1_020).length, 1);
});

Deno.test("Commitments deletes at and after an index, so that it can be used again", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save(range(0, 10));
  assert.equal(commitments.deleteFrom(7), 3);
  assert.equal(commitments.deleteFrom(7), 0);
  commitments.save([opening(7, "reason")]);
  assert.deepEqual(commitments.get(7).map(({ field }) => field), ["reason"]);
  assert.equal(commitments.rows, 8);
});

Deno.test("Commitments leaves no byte of what it shredded in its files", () => {
  using temporary = createFile();
  const secret = crypto.getRandomValues(new Uint8Array(3_000));
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const holds = (needle: Uint8Array) =>
    ["", "-wal"].some((suffix) =>
      Deno.readFileSync(temporary.file + suffix).toHex().includes(needle.toHex())
    );
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save([...range(0, 3), { index: 3, field: "input", salt, value: secret }]);
  assert.ok(holds(secret.subarray(0, 64)) && holds(salt));
  assert.equal(commitments.delete(3), 1);
  assert.equal(commitments.delete(3), 0);
  for (let at = 0; at + 64 <= secret.length; at += 64) assert.ok(!holds(secret.subarray(at, at + 64)));
  assert.ok(!holds(salt));
  assert.equal(commitments.rows, 3);
});

Deno.test("openCommitments() refuses a second opener", () => {
  using temporary = createFile();
  using first = openCommitments({ ...temporary, rowsMax: 10 });
  first.save([opening(0)]);
  assert.throws(
    () => openCommitments({ ...temporary, rowsMax: 10 }),
    (error) => error instanceof StoreError && error.code === "busy",
  );
});
