import assert from "node:assert/strict";
import type { AuditUse } from "./audit_table.ts";
import { openDatabase } from "./database.ts";
import { storeMigrations } from "./migrations.ts";
import { openStore } from "./store.ts";

function createFolder() {
  const path = Deno.makeTempDirSync();
  return {
    file: `${path}/airlock.db`,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

function use(resource: string | null, more: Partial<AuditUse> = {}): AuditUse {
  const key = { plugin: "hello", outcome: "granted", permission: "read", resource } as const;
  return { ...key, count: 1, firstAtMs: 1_000, lastAtMs: 1_000, ...more };
}

const none: ReadonlyMap<string, number> = new Map();

Deno.test("AuditTable.add() sums equal uses, over openings of the file", () => {
  using folder = createFolder();
  {
    using store = openStore(folder);
    store.audit.add([use("/a"), use("/b", { count: 3 })], new Map([["hello", 2]]), 1_000);
    store.audit.add(
      [use("/a", { count: 2, firstAtMs: 5_000, lastAtMs: 6_000 })],
      new Map([["hello", 5]]),
      6_000,
    );
  }
  using store = openStore(folder);
  const rows = store.audit.list("hello", { limit: 10 });
  assert.deepEqual(rows, [
    { ...use("/a", { count: 3, lastAtMs: 6_000 }), seq: rows[0]?.seq },
    { ...use("/b", { count: 3 }), seq: rows[1]?.seq },
  ]);
  assert.equal(store.audit.untold("hello"), 7);
  assert.equal(store.audit.untold("other"), 0);
});

// To SQLite two NULLs are two values: each check of all there is would be a row of its own.
Deno.test("AuditTable.add() tells all there are from a resource without a name, and sums both", () => {
  using folder = createFolder();
  using store = openStore(folder);
  for (let time = 0; time < 2; time++) store.audit.add([use(null), use("")], none, 1_000);
  const rows = store.audit.list("hello", { limit: 10 });
  assert.deepEqual(rows.map(({ resource, count }) => [resource, count]), [[null, 2], ["", 2]]);
  assert.equal(store.audit.count(use(null)), 2);
  assert.equal(store.audit.count(use("/none")), 0);
});

Deno.test("AuditTable.list() pages through a plugin's own rows, of one outcome where that is asked", () => {
  using folder = createFolder();
  using store = openStore(folder);
  const refused = { outcome: "refused" } as const;
  store.audit.add(
    [
      use("/a"),
      use("/b", refused),
      use("/c", { plugin: "other" }),
      use("/d"),
      use("/d", refused),
    ],
    none,
    1_000,
  );
  const resources = (page: Parameters<typeof store.audit.list>[1]) =>
    store.audit.list("hello", page).map(({ resource, outcome }) => `${resource} ${outcome}`);
  assert.deepEqual(resources({ limit: 10 }), ["/a granted", "/b refused", "/d granted", "/d refused"]);
  assert.deepEqual(resources({ limit: 10, outcome: "refused" }), ["/b refused", "/d refused"]);
  const [first] = store.audit.list("hello", { limit: 1 });
  assert.deepEqual(resources({ limit: 2, after: first?.seq }), ["/b refused", "/d granted"]);
  assert.deepEqual([store.audit.rows("hello", "refused"), store.audit.rows("other", "refused")], [2, 0]);
});

Deno.test("AuditTable.prune() drops what is of plugins that are gone for long, or are many", () => {
  using folder = createFolder();
  using store = openStore(folder);
  const ids = ["hello", "gone", "away", "left"];
  const kept = () =>
    ids.map((id) => [store.audit.has(id), store.audit.list(id, { limit: 9 }).length, store.audit.untold(id)]);
  store.audit.add([use("/a"), use("/b", { plugin: "gone" })], new Map([["hello", 1], ["away", 1]]), 1_000);
  store.audit.add([use("/b", { plugin: "gone" })], none, 3_000);
  store.audit.add([use("/c", { plugin: "left" })], none, 2_000);
  const all = [[true, 1, 1], [true, 1, 0], [true, 0, 1], [true, 1, 0]];
  store.audit.prune(new Set(["hello"]), { sinceMs: 1_000, pluginsMax: 3 });
  assert.deepEqual(kept(), all);
  store.audit.prune(new Set(["hello"]), { sinceMs: 1_001, pluginsMax: 3 });
  assert.deepEqual(kept(), [all[0], all[1], [false, 0, 0], all[3]]);
  store.audit.prune(new Set(["hello"]), { sinceMs: 1_001, pluginsMax: 1 });
  assert.deepEqual(kept(), [all[0], all[1], [false, 0, 0], [false, 0, 0]]);
});

Deno.test("openStore() takes over the audits of a file from before audit_plugins", () => {
  using folder = createFolder();
  const before = storeMigrations.slice(0, storeMigrations.findIndex((sql) => sql.includes("audit_plugins")));
  {
    using db = openDatabase({
      ...folder,
      migrations: before,
      durability: "full",
      check: true,
      exclusive: false,
    });
    const columns = "plugin, outcome, permission, is_all, resource, count, first_at_ms, last_at_ms";
    const insert = db.prepare(
      `INSERT INTO audit (${columns}) VALUES (?, 'granted', 'read', 0, ?, 1, 1000, ?)`,
    );
    for (const [resource, lastAtMs] of [["/a", 5_000], ["/b", 4_000]] as const) {
      insert.run("hello", resource, lastAtMs);
    }
    insert.run("both", "/a", 9_000);
    db.exec("INSERT INTO audit_untold VALUES ('both', 3), ('away', 2)");
  }
  using store = openStore(folder);
  assert.deepEqual(["hello", "both", "away"].map((id) => store.audit.untold(id)), [0, 3, 2]);
  store.audit.prune(new Set(), { sinceMs: 5_001, pluginsMax: 9 });
  assert.deepEqual(["hello", "both", "away"].map((id) => store.audit.has(id)), [false, true, true]);
});
