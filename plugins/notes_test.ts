/**
 * Tests of the plugin `notes`, called directly, without a cell, on a real folder.
 *
 * @module
 */
import assert from "node:assert/strict";
import { actions, notesMax, start } from "./notes/mod.ts";
import { createNoteIds, isNoteId } from "./notes/note_id.ts";
import { createTestContext, type TestContext } from "./test_context.ts";

async function withFolder(run: (ctx: TestContext, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "notes-" });
  try {
    await run(createTestContext({ dataDir: folder }), folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

const tricks = [
  "",
  "..",
  "../x",
  "/etc/passwd",
  "a/b",
  "01ARZ3NDEKTSV4RRFFQ69G5FA",
  "01arz3ndektsv4rrffq69g5fav",
]
  .concat("01ARZ3NDEKTSV4RRFFQ69G5FAV\n", "01ARZ3NDEKTSV4RRFFQ69G5F/.", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "\0");

Deno.test("isNoteId() holds for a ULID and nothing else", () => {
  assert.ok(isNoteId("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
  for (const trick of tricks) assert.ok(!isNoteId(trick), JSON.stringify(trick));
});

Deno.test("createNoteIds() gives ids that only grow, also when the clock goes back", () => {
  const times = [1_000, 1_000, 999, 5, 2_000];
  const createNoteId = createNoteIds(() => times.shift() ?? 0);
  const ids = Array.from({ length: 6 }, () => createNoteId());
  assert.ok(ids.every(isNoteId));
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids).size, ids.length);
});

Deno.test("add() keeps a note that get() gives back, and leaves no other file", async () => {
  await withFolder(async (ctx, folder) => {
    const note = await actions.add({ text: "Grüße, 東京 😀\n", title: "Hi", tags: ["a", "../b"] }, ctx);
    assert.deepEqual(await actions.get({ id: note.id }, ctx), note);
    assert.deepEqual(await namesIn(folder), [`${note.id}.json`]);
    assert.deepEqual((await actions.add({ text: "x" }, ctx)).tags, []);
  });
});

Deno.test("get() and remove() refuse an id that could be a path", async () => {
  await withFolder(async (ctx) => {
    for (const id of tricks) {
      const message = /^Error: Cannot (get|remove) "[^]*": it is not an id of a note$/;
      await assert.rejects(actions.get({ id }, ctx), message);
      await assert.rejects(actions.remove({ id }, ctx), message);
    }
  });
});

Deno.test("remove() removes once, and then says so", async () => {
  await withFolder(async (ctx) => {
    const { id } = await actions.add({ text: "x" }, ctx);
    assert.deepEqual(await actions.remove({ id }, ctx), { removed: true });
    assert.deepEqual(await actions.remove({ id }, ctx), { removed: false });
    await assert.rejects(actions.get({ id }, ctx), { message: `Cannot get "${id}": there is no such note` });
  });
});

Deno.test("list() pages through all notes in the order they were added", async () => {
  await withFolder(async (ctx) => {
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) ids.push((await actions.add({ text: `${n}` }, ctx)).id);
    const listed: string[] = [];
    let after: string | undefined;
    do {
      const { items, next } = await actions.list(
        { limit: 2, ...(after === undefined ? {} : { after }) },
        ctx,
      );
      assert.ok(items.every((item) => !("text" in item)));
      listed.push(...items.map(({ id }) => id));
      after = next ?? undefined;
    } while (after !== undefined);
    assert.deepEqual(listed, ids);
  });
});

Deno.test("list() filters by tag and has no next page when the last note is in", async () => {
  await withFolder(async (ctx) => {
    await actions.add({ text: "1", tags: ["x"] }, ctx);
    await actions.add({ text: "2", tags: ["y"] }, ctx);
    const { id } = await actions.add({ text: "3", tags: ["x", "y"] }, ctx);
    const { items, next } = await actions.list({ tag: "y", limit: 2 }, ctx);
    assert.deepEqual([items.length, items[1]?.id, next], [2, id, null]);
  });
});

Deno.test("search() finds all words in title, text and tags, whatever their case", async () => {
  await withFolder(async (ctx) => {
    const { id } = await actions.add({
      text: `${"x".repeat(500)} Über den Wolken`,
      title: "Song",
      tags: ["Muſic"],
    }, ctx);
    await actions.add({ text: "song only" }, ctx);
    const found = await actions.search({ query: " WOLKEN song über " }, ctx);
    assert.deepEqual(found.items.map((item) => item.id), [id]);
    assert.match(found.items[0]?.snippet ?? "", /Wolken/);
    assert.ok((found.items[0]?.snippet.length ?? 0) <= 120);
    assert.deepEqual((await actions.search({ query: "nowhere" }, ctx)).items, []);
  });
});

Deno.test("list() and search() report damaged files and give the other notes", async () => {
  await withFolder(async (ctx, folder) => {
    const good = await actions.add({ text: "good" }, ctx);
    const damaged = [
      "01ARZ3NDEKTSV4RRFFQ69G5FAV",
      "01ARZ3NDEKTSV4RRFFQ69G5FAW",
      "01ARZ3NDEKTSV4RRFFQ69G5FAX",
    ];
    await Deno.writeTextFile(`${folder}/${damaged[0]}.json`, '{"id": "01ARZ');
    await Deno.writeTextFile(`${folder}/${damaged[1]}.json`, JSON.stringify(good));
    await Deno.writeTextFile(`${folder}/${damaged[2]}.json`, " ".repeat(1_048_577));
    await Deno.writeTextFile(`${folder}/stranger.txt`, "not ours");
    for (const result of [await actions.list({}, ctx), await actions.search({ query: "good" }, ctx)]) {
      assert.deepEqual(result.items.map(({ id }) => id), [good.id]);
      assert.deepEqual(result.unreadable, [
        { id: damaged[0], reason: "it is not JSON" },
        { id: damaged[1], reason: "it is not this note" },
        { id: damaged[2], reason: "it has 1048577 bytes" },
      ]);
    }
    await assert.rejects(actions.get({ id: damaged[0]! }, ctx), /its file is damaged, it is not JSON/);
    assert.deepEqual(await actions.remove({ id: damaged[0]! }, ctx), { removed: true });
  });
});

Deno.test("start() removes what an interrupted write left, and nothing else", async () => {
  await withFolder(async (ctx, folder) => {
    const { id } = await actions.add({ text: "x" }, ctx);
    await Deno.writeTextFile(`${folder}/01ARZ3NDEKTSV4RRFFQ69G5FAV.json.tmp`, '{"id"');
    assert.equal((await actions.list({}, ctx)).items.length, 1);
    await start(ctx);
    assert.deepEqual(await namesIn(folder), [`${id}.json`]);
  });
});

Deno.test("add() refuses a note beyond the bound", async () => {
  await withFolder(async (ctx, folder) => {
    const createNoteId = createNoteIds(() => 0);
    for (let n = 0; n < notesMax; n++) await Deno.writeTextFile(`${folder}/${createNoteId()}.json`, "{}");
    await assert.rejects(actions.add({ text: "x", title: "One more" }, ctx), {
      message: `Cannot add "One more": there are ${notesMax} notes; remove some first`,
    });
  });
});

Deno.test("list() stops when its caller has gone", async () => {
  await withFolder(async (ctx, folder) => {
    await actions.add({ text: "x" }, ctx);
    const signal = AbortSignal.abort(new Error("gone"));
    await assert.rejects(actions.list({}, createTestContext({ dataDir: folder, signal })), {
      message: "gone",
    });
  });
});
