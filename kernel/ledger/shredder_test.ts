import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { CommitmentRow, LedgerEventInput } from "./ledger.ts";
import { createShredder } from "./shredder.ts";

function createWorld() {
  const rows = new Map<number, CommitmentRow[]>([
    [1, [
      { index: 1, field: "inputCommitment", salt: new Uint8Array(16), value: new Uint8Array([1, 2]) },
      { index: 1, field: "outputCommitment", salt: new Uint8Array(16).fill(1), value: null },
    ]],
  ]);
  /** What happened, in order. */
  const told: string[] = [];
  const events: LedgerEventInput[] = [];
  const disk = { fails: false };
  const shredder = createShredder({
    ledger: {
      size: 3,
      checkpointBase64: () => "newest",
      append: async (event) => {
        await Promise.resolve();
        if (disk.fails) throw new ProblemError("QUEUE_FULL", "Cannot append: too many wait");
        told.push("recorded");
        events.push(event);
        return { index: 2 + events.length, size: 3 + events.length, checkpoint: `of ${3 + events.length}` };
      },
    },
    table: {
      get: (index) => rows.get(index) ?? [],
      delete(index) {
        told.push("deleted");
        const count = rows.get(index)?.length ?? 0;
        rows.delete(index);
        return count;
      },
    },
  });
  return { shredder, rows, told, events, disk };
}

const notFound = (error: unknown) => error instanceof ProblemError && error.code === "ENTRY_NOT_FOUND";

Deno.test("Shredder.open() shows salts and values, after it was recorded who asked", async () => {
  const { shredder, events } = createWorld();
  const { view, checkpoint } = await shredder.open(1, "token:ci");
  assert.deepEqual(view, {
    index: 1,
    items: [
      { field: "inputCommitment", salt: "AAAAAAAAAAAAAAAAAAAAAA==", value: "AQI=" },
      { field: "outputCommitment", salt: "AQEBAQEBAQEBAQEBAQEBAQ==", value: null },
    ],
  });
  assert.equal(checkpoint, "of 4");
  assert.deepEqual(events, [{
    ...{ type: "commitment.opened", actor: "token:ci", plugin: "", data: { entry: 1 } },
  }]);
});

Deno.test("Shredder.open() shows nothing, and records nothing, of an entry without", async () => {
  const { shredder, events } = createWorld();
  const nothing = { view: { index: 2, items: [] }, checkpoint: "newest" };
  assert.deepEqual(await shredder.open(2, "token:ci"), nothing);
  for (const index of [3, -1, 0.5, 2 ** 53]) {
    await assert.rejects(() => shredder.open(index, "token:ci"), notFound);
  }
  assert.deepEqual(events, []);
});

Deno.test("Shredder.open() shows nothing that could not be recorded, nor what was deleted meanwhile", async () => {
  const { shredder, disk, rows } = createWorld();
  disk.fails = true;
  await assert.rejects(() => shredder.open(1, "token:ci"), /too many wait/);
  disk.fails = false;
  const opened = shredder.open(1, "token:ci");
  rows.delete(1);
  assert.deepEqual((await opened).view.items, []);
});

Deno.test("Shredder.delete() records the deletion before it deletes, and covers it", async () => {
  const { shredder, told, events, rows } = createWorld();
  assert.deepEqual(await shredder.delete(1, "token:ci"), { deleted: 2, checkpoint: "of 4" });
  assert.deepEqual(told, ["recorded", "deleted"]);
  assert.deepEqual(events, [{
    type: "commitment.deleted",
    actor: "token:ci",
    plugin: "",
    data: { entry: 1, fields: ["inputCommitment", "outputCommitment"] },
  }]);
  assert.equal(rows.has(1), false);
});

Deno.test("Shredder.delete() records nothing where there is nothing to delete, and has its bytes overwritten all the same", async () => {
  const { shredder, told } = createWorld();
  await shredder.delete(1, "token:ci");
  told.length = 0;
  for (const index of [1, 0]) {
    assert.deepEqual(await shredder.delete(index, "token:ci"), { deleted: 0, checkpoint: "newest" });
  }
  assert.deepEqual(told, ["deleted", "deleted"]);
  for (const index of [3, -1, 2 ** 53]) {
    await assert.rejects(() => shredder.delete(index, "token:ci"), notFound);
  }
});

Deno.test("Shredder.delete() records once what many ask for at the same time", async () => {
  const { shredder, events } = createWorld();
  const answers = await Promise.all(Array.from({ length: 5 }, () => shredder.delete(1, "token:ci")));
  assert.deepEqual(answers.map(({ deleted }) => deleted), [2, 0, 0, 0, 0]);
  assert.equal(events.length, 1);
});

Deno.test("Shredder.delete() keeps what it could not record, for another try", async () => {
  const { shredder, told, disk, rows } = createWorld();
  disk.fails = true;
  const tries = await Promise.allSettled([shredder.delete(1, "a"), shredder.delete(1, "b")]);
  assert.deepEqual(tries.map(({ status }) => status), ["rejected", "rejected"]);
  assert.deepEqual([told, rows.get(1)?.length], [[], 2]);
  disk.fails = false;
  assert.equal((await shredder.delete(1, "token:ci")).deleted, 2);
});
