import { deepEqual, equal } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { settle } from "../../sandbox/testing_clock.ts";
import { createFolder, live, scan } from "./testing_plugins.ts";

const atOnceMax = 512;

function many(count: number) {
  return Array.from({ length: count }, (_, number) => scan(`p${String(number).padStart(4, "0")}`));
}

/** Changes with each write that others make to the database, whichever way they take. */
function openVersion(dataDir: string) {
  const db = new DatabaseSync(`${dataDir}/airlock.db`, { readOnly: true });
  const version = db.prepare("PRAGMA data_version");
  return { read: () => version.get()?.data_version, [Symbol.dispose]: () => db.close() };
}

Deno.test("Plugins has the entries of so many plugins wait for the disk at once, and of no more", async () => {
  await using folder = await createFolder();
  const found = many(atOnceMax + 10);
  await using life = live(folder.dataDir, folder.store, { found });
  const disk = Promise.withResolvers<void>();
  life.world.delays.set("plugin.found", disk.promise);
  const installed = life.start();
  await settle();
  equal(life.types().length, atOnceMax);
  disk.resolve();
  await installed;
  for (const type of ["plugin.found", "plugin.admitted", "grant.given"]) {
    equal(life.types().filter((other) => other === type).length, found.length, type);
  }
});

Deno.test("Plugins writes nothing to its store at a start that finds everything as it was", async () => {
  await using folder = await createFolder();
  using version = openVersion(folder.dataDir);
  const found = many(3);
  for (const writes of [true, false]) {
    const before = version.read();
    await using life = live(folder.dataDir, folder.store, { found });
    await life.start();
    equal(version.read() !== before, writes);
    equal(life.types().filter((type) => type === "plugin.admitted").length, 3, "each start has its entries");
  }
});

Deno.test("Plugins takes the grants of many plugins that are gone, and forgets their folders", async () => {
  await using folder = await createFolder();
  const [stays, ...gone] = many(4);
  {
    await using first = live(folder.dataDir, folder.store, { found: [...gone, ...stays ? [stays] : []] });
    await first.start();
  }
  await using second = live(folder.dataDir, folder.store, { found: stays ? [stays] : [] });
  await second.start();
  const taken = second.records.filter(({ type }) => type === "grant.taken").map(({ plugin }) => plugin);
  deepEqual(taken.sort(), gone.map(({ manifest }) => manifest.id));
  deepEqual(folder.store.grantsTold.list().map(({ plugin }) => plugin), ["p0000"]);
  deepEqual(gone.map((plugin) => folder.store.folders.get(plugin.folder)), [undefined, undefined, undefined]);
});

Deno.test("Plugins.list() gives pages, ascending by id, of all that were found", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store, { found: many(5).reverse() });
  await life.start();
  const ids = (page: Parameters<typeof life.plugins.list>[0]) => life.plugins.list(page).map(({ id }) => id);
  deepEqual(ids({}), ["p0000", "p0001", "p0002", "p0003", "p0004"]);
  deepEqual(ids({ limit: 2 }), ["p0000", "p0001"]);
  deepEqual(ids({ after: "p0001", limit: 2 }), ["p0002", "p0003"]);
  deepEqual(ids({ after: "p0001x" }), ["p0002", "p0003", "p0004"]);
  deepEqual(ids({ after: "p0004" }), []);
});
