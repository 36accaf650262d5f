import assert from "node:assert/strict";
import type { AuditUse } from "./audit_table.ts";
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
    store.audit.add([use("/a"), use("/b", { count: 3 })], new Map([["hello", 2]]));
    store.audit.add([use("/a", { count: 2, firstAtMs: 5_000, lastAtMs: 6_000 })], new Map([["hello", 5]]));
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
  for (let time = 0; time < 2; time++) store.audit.add([use(null), use("")], none);
  const rows = store.audit.list("hello", { limit: 10 });
  assert.deepEqual(rows.map(({ resource, count }) => [resource, count]), [[null, 2], ["", 2]]);
  assert.equal(store.audit.count(use(null)), 2);
  assert.equal(store.audit.count(use("/none")), 0);
});

Deno.test("AuditTable.list() pages through a plugin's own rows, of one outcome where that is asked", () => {
  using folder = createFolder();
  using store = openStore(folder);
  const refused = { outcome: "refused" } as const;
  store.audit.add([
    use("/a"),
    use("/b", refused),
    use("/c", { plugin: "other" }),
    use("/d"),
    use("/d", refused),
  ], none);
  const resources = (page: Parameters<typeof store.audit.list>[1]) =>
    store.audit.list("hello", page).map(({ resource, outcome }) => `${resource} ${outcome}`);
  assert.deepEqual(resources({ limit: 10 }), ["/a granted", "/b refused", "/d granted", "/d refused"]);
  assert.deepEqual(resources({ limit: 10, outcome: "refused" }), ["/b refused", "/d refused"]);
  const [first] = store.audit.list("hello", { limit: 1 });
  assert.deepEqual(resources({ limit: 2, after: first?.seq }), ["/b refused", "/d granted"]);
  assert.deepEqual([store.audit.rows("hello", "refused"), store.audit.rows("other", "refused")], [2, 0]);
});

Deno.test("AuditTable.prune() drops what is of plugins that are gone", () => {
  using folder = createFolder();
  using store = openStore(folder);
  store.audit.add([use("/a"), use("/b", { plugin: "gone" })], new Map([["hello", 1], ["away", 1]]));
  store.audit.prune(new Set(["hello"]));
  const left = ["hello", "gone", "away"].map((id) => [
    store.audit.list(id, { limit: 9 }).length,
    store.audit.untold(id),
  ]);
  assert.deepEqual(left, [[1, 1], [0, 0], [0, 0]]);
});
