import { deepEqual, equal, match } from "node:assert/strict";
import { Airlock, temporaryFolder } from "../support/airlock.ts";

interface Note {
  id: string;
  title: string | null;
  text: string;
  tags: string[];
}

Deno.test("notes keeps, finds and removes notes, and has them after a restart", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  let kept: Note;
  {
    await using airlock = await Airlock.start({ dataDir });
    kept = await airlock.call<Note>("notes", "add", {
      text: "Tea at six\nwith the Hatter",
      title: "Tea",
      tags: ["mad"],
    });
    const other = await airlock.call<Note>("notes", "add", { text: "Nothing of note" });
    deepEqual(await airlock.call("notes", "get", { id: kept.id }), kept);
    const found = await airlock.call<{ items: Note[] }>("notes", "search", { query: "HATTER tea" });
    deepEqual(found.items.map(({ id }) => id), [kept.id]);
    deepEqual(await airlock.call("notes", "remove", { id: other.id }), { removed: true });
    deepEqual(await airlock.call("notes", "remove", { id: other.id }), { removed: false });
  }
  await using airlock = await Airlock.start({ dataDir });
  const { items } = await airlock.call<{ items: Note[] }>("notes", "list");
  deepEqual(items.map(({ id, title }) => [id, title]), [[kept.id, "Tea"]]);
  for (const id of ["../../admin.token", "/etc/passwd", ".", ""]) {
    const problem = await airlock.fail("notes", "get", { id });
    equal(problem.code, "ACTION_FAILED");
    match(problem.detail, /it is not an id of a note/);
  }
});
