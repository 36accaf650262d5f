import assert from "node:assert/strict";
import { TestingClock } from "../../sandbox/testing_clock.ts";
import type { PermissionCheck } from "../../schemas/audit.ts";
import type { AuditTable } from "../store/audit_table.ts";
import { openStore } from "../store/store.ts";
import { Audit, type AuditDeps } from "./audit.ts";
import { createJudge } from "./permission_outcome.ts";

type Entry = Parameters<AuditDeps["ledger"]["append"]>[0];

const none = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
const grants = { ...none, read: ["/p", "/d", "/srv"], write: ["/d"], env: ["TZ"] };
const judge = createJudge({ grants, packageFolder: "/p", dataFolder: "/d" });
const cell = { id: "hello", name: "hello@1.0.0", judge };

const read = (resource: string | null, count = 1): PermissionCheck => ({
  permission: "read",
  resource,
  count,
});
const many = (count: number, prefix: string, from = 0) =>
  Array.from({ length: count }, (_, at) => read(`${prefix}${from + at}`));

/** Fails for each of the failures once, of one look or of one write. */
function failingTable(
  table: AuditTable,
  { readFailures, tableFailures }: { readFailures: Error[]; tableFailures: Error[] },
): AuditTable {
  const failOnce = (failures: Error[]) => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
  };
  return {
    ...table,
    count(key) {
      failOnce(readFailures);
      return table.count(key);
    },
    add(...rows) {
      failOnce(tableFailures);
      table.add(...rows);
    },
  };
}

function createFixture({ resourcesMax = 1_000, refusalsMax = 100, windowMs = 60_000 } = {}) {
  const path = Deno.makeTempDirSync();
  const store = openStore({ file: `${path}/airlock.db` });
  const timing = new TestingClock();
  const entries: string[] = [];
  const counts: Record<string, number> = {};
  const failures: Error[] = [];
  const tableFailures: Error[] = [];
  const readFailures: Error[] = [];
  const warnings: string[] = [];
  const counted = Promise.withResolvers<void>();
  /** What the table held when an entry was asked for. */
  const rowsAtEntry: number[] = [];
  const audit = new Audit({
    table: failingTable(store.audit, { readFailures, tableFailures }),
    ledger: {
      append(event: Entry) {
        rowsAtEntry.push(store.audit.list("hello", { limit: 10_000 }).length);
        const failure = failures.shift();
        if (failure !== undefined) return Promise.reject(failure);
        const count = "count" in event.data ? ` ${event.data.count}` : "";
        const what = event.commit === undefined ? "" : ` ${event.commit.resource}`;
        entries.push(`${event.plugin} ${event.type.slice("permission.".length)}${what}${count}`);
        counts[event.type] = (counts[event.type] ?? 0) + ("count" in event.data ? event.data.count : 0);
        if (event.type === "permission.counted") counted.resolve();
        return Promise.resolve();
      },
    },
    limits: { resourcesMax, refusalsMax, windowMs },
    pluginsMax: 10,
    isAudited: true,
    timing,
    nowMs: () => 1_000 + timing.nowMs(),
    warn: (message) => warnings.push(message),
  });
  return {
    ...{
      audit,
      store,
      timing,
      entries,
      counts,
      failures,
      tableFailures,
      readFailures,
      warnings,
      rowsAtEntry,
    },
    counted: counted.promise,
    async rows(id = "hello") {
      const { rows } = await audit.list(id, { limit: 10_000 });
      return rows.map(({ outcome, resource, count }) => `${outcome} ${resource} ${count}`);
    },
    untold: async (id = "hello") => (await audit.list(id, { limit: 1 })).untold,
    async [Symbol.asyncDispose]() {
      await audit.close();
      assert.deepEqual(timing.pendingMs, []);
      store[Symbol.dispose]();
      Deno.removeSync(path, { recursive: true });
    },
  };
}

Deno.test("Audit.take() makes a row for each resource, and an entry of each one's first check", async () => {
  await using fixture = createFixture();
  const { audit, entries, rows } = fixture;
  audit.take(
    cell,
    [read("/srv/a"), read("/srv/x/../a", 2), read("/d/note"), read("/etc/passwd"), read(null)],
  );
  assert.deepEqual(await rows(), [
    "granted /srv/a 3",
    "granted ${data}/note 1",
    "refused /etc/passwd 1",
    "refused null 1",
  ]);
  const first = [
    "hello@1.0.0 used /srv/a",
    "hello@1.0.0 used ${data}/note",
    "hello@1.0.0 refused /etc/passwd 1",
    "hello@1.0.0 refused  1",
  ];
  assert.deepEqual(entries, first);
  audit.take(cell, [read("/srv/a", 50)]);
  assert.equal((await rows())[0], "granted /srv/a 53");
  assert.deepEqual(entries, first);
});

Deno.test("Audit writes what was taken a second later, and sets no timer where nothing was", async () => {
  await using fixture = createFixture();
  const { audit, timing, store, entries } = fixture;
  audit.take(cell, []);
  assert.equal(timing.isTimerSet, false);
  for (let time = 0; time < 3; time++) audit.take(cell, [read("/srv/a")]);
  assert.deepEqual([timing.pendingMs, entries], [[1_000], []]);
  await timing.pass(1_000);
  assert.equal(store.audit.list("hello", { limit: 9 })[0]?.count, 3);
  assert.deepEqual([timing.pendingMs, entries.length], [[], 1]);
});

// A crash between the two repeats an entry; the other way around it would lose one.
Deno.test("Audit tells the ledger before it writes a row", async () => {
  await using fixture = createFixture();
  fixture.audit.take(cell, [read("/srv/a"), read("/etc/passwd")]);
  assert.equal((await fixture.rows()).length, 2);
  assert.deepEqual(fixture.rowsAtEntry, [0, 0]);
});

Deno.test("Audit keeps what the ledger refused, and writes it the next time", async () => {
  await using fixture = createFixture();
  const { audit, failures, timing, entries, warnings, store } = fixture;
  failures.push(new Error("the queue is full"));
  audit.take(cell, [read("/srv/a"), read("/srv/b")]);
  await timing.pass(1_000);
  assert.deepEqual(store.audit.list("hello", { limit: 9 }).map(({ resource }) => resource), ["/srv/b"]);
  assert.deepEqual([entries.length, warnings.length, timing.pendingMs], [1, 1, [1_000]]);
  audit.take(cell, [read("/srv/a")]);
  await timing.pass(1_000);
  assert.deepEqual(await fixture.rows(), ["granted /srv/b 1", "granted /srv/a 2"]);
  assert.equal(entries.length, 2);
});

Deno.test("Audit tells of a resource that is refused again whenever its checks have doubled, and counts the rest", async () => {
  await using fixture = createFixture({ windowMs: 1 });
  const { audit, entries, counts, rows, counted } = fixture;
  for (let time = 0; time < 9; time++) {
    audit.take(cell, [read("/etc/passwd")]);
    await rows();
  }
  await counted;
  await audit.close();
  assert.deepEqual(entries.filter((entry) => entry.includes("passwd")), [
    ...Array.from({ length: 4 }, () => "hello@1.0.0 refused /etc/passwd 1"),
  ]);
  assert.equal(counts["permission.counted"], 5);
});

Deno.test("Audit counts refusals beyond a window's entries in one more, and none is lost", async () => {
  await using fixture = createFixture({ refusalsMax: 3 });
  const { audit, entries, counts, rows } = fixture;
  audit.take(cell, many(10, "/etc/"));
  audit.take({ ...cell, id: "other", name: "other@2.0.0" }, [read("/etc/0", 7)]);
  assert.equal((await rows()).length, 10);
  assert.equal(entries.length, 4);
  await audit.close();
  assert.deepEqual(entries.slice(3), ["other@2.0.0 refused /etc/0 7", "hello@1.0.0 counted 7"]);
  assert.equal((counts["permission.refused"] ?? 0) + (counts["permission.counted"] ?? 0), 17);
});

Deno.test("Audit counts granted resources beyond the bound on their scope's row, refused ones as untold", async () => {
  await using fixture = createFixture({ resourcesMax: 3 });
  const { audit, entries, rows, untold } = fixture;
  const own = { permission: "env", resource: "TZ", count: 1 } as const;
  audit.take(cell, [...many(5, "/srv/"), ...many(5, "/etc/"), own]);
  const expected = ["granted /srv/0 1", "granted /srv/1 1", "granted /srv/2 1", "granted /srv/* 2"];
  const refused = ["refused /etc/0 1", "refused /etc/1 1", "refused /etc/2 1"];
  assert.deepEqual((await rows()).sort(), [...expected, ...refused, "granted TZ 1"].sort());
  assert.equal(await untold(), 2);
  // The same once they are rows, and not in memory any more.
  audit.take(cell, [...many(2, "/srv/", 5), read("/d/x"), read("/etc/1"), read("/etc/9")]);
  const after = await rows();
  for (const row of ["granted /srv/* 4", "granted ${data}/* 1", "refused /etc/1 2"]) {
    assert.ok(after.includes(row));
  }
  assert.equal(after.length, 9);
  assert.equal(await untold(), 3);
  assert.equal(entries.filter((entry) => entry.includes("used /srv/*")).length, 1);
});

// 10,000 new names a second, as fast as Deno's words of them are read at all.
Deno.test("Audit under a flood of ever new names keeps rows, entries and openings bounded", async () => {
  await using fixture = createFixture({ resourcesMax: 100, refusalsMax: 10 });
  const { audit, timing, store, entries, counts, rowsAtEntry } = fixture;
  const started = performance.now();
  for (let second = 0; second < 20; second++) {
    for (let report = 0; report < 20; report++) {
      const from = (second * 20 + report) * 500;
      audit.take(cell, [...many(250, "/etc/", from), ...many(250, "/srv/", from)]);
    }
    await timing.pass(1_000);
    // The batches of a write wait for each other in the event loop.
    await audit.list("hello", { limit: 1 });
  }
  const rows = store.audit.list("hello", { limit: 10_000 });
  assert.equal(rows.length, 201);
  const checks = rows.reduce((sum, { count }) => sum + count, 0);
  assert.equal(checks + store.audit.untold("hello"), 200_000);
  await audit.close();
  assert.equal(entries.filter((entry) => entry.includes(" used ")).length, 101);
  assert.equal(entries.filter((entry) => entry.includes(" refused ")).length, 10);
  assert.equal(entries.filter((entry) => entry.includes(" counted ")).length, 1);
  assert.equal((counts["permission.refused"] ?? 0) + (counts["permission.counted"] ?? 0), 100_000);
  assert.equal(rowsAtEntry.length, 112);
  const millisecondsOfEach = (performance.now() - started) / 20;
  assert.ok(millisecondsOfEach < 1_000, `${millisecondsOfEach} ms for one second of it`);
});

Deno.test("Audit.close() writes what was taken, and takes nothing after it", async () => {
  const fixture = createFixture();
  const { audit, store, timing } = fixture;
  audit.take(cell, [read("/srv/a")]);
  await audit.close();
  audit.take(cell, [read("/srv/b")]);
  assert.deepEqual(store.audit.list("hello", { limit: 9 }).map(({ resource }) => resource), ["/srv/a"]);
  assert.deepEqual(timing.pendingMs, []);
  await fixture[Symbol.asyncDispose]();
});

// An orderly stop goes on without it.
Deno.test("Audit.close() warns of what could not be written", async () => {
  await using fixture = createFixture({ refusalsMax: 0 });
  const { audit, tableFailures, failures, warnings } = fixture;
  tableFailures.push(new Error("the disk is full"));
  audit.take(cell, [read("/etc/passwd")]);
  failures.push(new Error("the queue is full"));
  await audit.close();
  assert.deepEqual(warnings, [
    "Cannot write the audit: Error: the disk is full; it is lost",
    "Cannot write the audit: Error: the queue is full; a count is lost",
  ]);
});

// The ledger works and airlock.db does not: each second the same is tried again.
Deno.test("Audit makes an entry once, and counts a check once, however often its row cannot be written", async () => {
  await using fixture = createFixture({ resourcesMax: 2, refusalsMax: 2 });
  const { audit, timing, store, entries, counts, tableFailures, warnings, untold } = fixture;
  tableFailures.push(...Array.from({ length: 3 }, () => new Error("the disk is full")));
  for (let second = 0; second < 3; second++) {
    audit.take(cell, [read("/srv/a"), ...many(4, "/etc/")]);
    await timing.pass(1_000);
    await audit.list("other", { limit: 1 });
  }
  assert.equal(warnings.length, 3);
  assert.deepEqual(store.audit.list("hello", { limit: 9 }), []);
  assert.deepEqual(await fixture.rows(), ["granted /srv/a 3", "refused /etc/0 3", "refused /etc/1 3"]);
  assert.equal(await untold(), 6);
  assert.deepEqual(entries, [
    "hello@1.0.0 used /srv/a",
    "hello@1.0.0 refused /etc/0 1",
    "hello@1.0.0 refused /etc/1 1",
  ]);
  await audit.close();
  assert.deepEqual(entries.slice(3), ["hello@1.0.0 counted 10"]);
  assert.equal((counts["permission.refused"] ?? 0) + (counts["permission.counted"] ?? 0), 12);
});

Deno.test("Audit tells of the rest of a scope, although what it was told of before goes there", async () => {
  await using fixture = createFixture({ resourcesMax: 1 });
  const { audit, timing, entries, tableFailures } = fixture;
  tableFailures.push(new Error("the disk is full"));
  audit.take(cell, [read("/srv/a"), read("/srv/b")]);
  await timing.pass(1_000);
  assert.deepEqual(await fixture.rows(), ["granted /srv/a 1", "granted /srv/* 1"]);
  assert.deepEqual(entries, ["hello@1.0.0 used /srv/a", "hello@1.0.0 used /srv/*"]);
});

Deno.test("Audit loses nothing where the table cannot be read", async () => {
  await using fixture = createFixture({ resourcesMax: 1 });
  const { audit, timing, entries, counts, readFailures, warnings, untold } = fixture;
  readFailures.push(new Error("the disk is broken"));
  audit.take(cell, [...many(2, "/etc/"), read("/srv/a")]);
  await timing.pass(1_000);
  assert.deepEqual([warnings.length, entries.length], [1, 0]);
  assert.deepEqual(await fixture.rows(), ["refused /etc/0 1", "granted /srv/a 1"]);
  assert.equal(await untold(), 1);
  await audit.close();
  assert.equal((counts["permission.refused"] ?? 0) + (counts["permission.counted"] ?? 0), 2);
});

Deno.test("Audit tells of each version what that version asked for", async () => {
  await using fixture = createFixture({ refusalsMax: 1 });
  const { audit, entries, rows } = fixture;
  const next = { ...cell, name: "hello@2.0.0" };
  audit.take(cell, [read("/srv/a"), read("/etc/passwd", 3), read("/etc/shadow")]);
  audit.take(next, [read("/srv/a"), read("/srv/b"), read("/etc/passwd")]);
  assert.deepEqual(await rows(), [
    ...["granted /srv/a 2", "refused /etc/passwd 4", "refused /etc/shadow 1", "granted /srv/b 1"],
  ]);
  await audit.close();
  assert.deepEqual(entries, [
    ...["hello@1.0.0 used /srv/a", "hello@1.0.0 refused /etc/passwd 3", "hello@2.0.0 used /srv/b"],
    ...["hello@2.0.0 refused /etc/passwd 1", "hello@1.0.0 counted 1"],
  ]);
});

Deno.test("Audit.list() rejects with what is the plugin's own alone", async () => {
  await using fixture = createFixture();
  const { audit, failures } = fixture;
  failures.push(new Error("the queue is full"));
  audit.take({ ...cell, id: "other", name: "other@1.0.0" }, [read("/srv/a")]);
  audit.take(cell, [read("/srv/a")]);
  assert.equal((await audit.list("hello", { limit: 9 })).rows.length, 1);
  failures.push(new Error("the queue is full"));
  await assert.rejects(() => audit.list("other", { limit: 9 }), /the queue is full/);
  assert.equal((await audit.list("other", { limit: 9 })).rows.length, 1);
});

Deno.test("Audit.list() shows what is taken while it writes", async () => {
  await using fixture = createFixture();
  const { audit } = fixture;
  audit.take(cell, [read("/srv/a")]);
  const first = audit.list("hello", { limit: 9 });
  audit.take(cell, [read("/srv/b")]);
  assert.equal((await first).rows.length, 2);
});
