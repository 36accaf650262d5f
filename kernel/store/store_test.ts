import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openCommitments } from "./commitments_table.ts";
import { openDatabase, StoreError } from "./database.ts";
import { storeMigrations } from "./migrations.ts";
import { openStore } from "./store.ts";

function createFolder() {
  const path = Deno.makeTempDirSync();
  return {
    path,
    file: `${path}/airlock.db`,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

function row(id: string) {
  return {
    id,
    name: `name of ${id}`,
    role: "viewer" as const,
    bootstrap: false,
    secretSha256: crypto.getRandomValues(new Uint8Array(32)),
    createdAtMs: 1_000,
  };
}

const codeOf = (code: StoreError["code"]) => (error: unknown) =>
  error instanceof StoreError && error.code === code && error.message.startsWith("Cannot open ");

Deno.test("openStore() makes a file that only its owner may read", () => {
  using folder = createFolder();
  using _store = openStore(folder);
  for (const suffix of ["", "-wal", "-shm"]) {
    assert.equal((Deno.statSync(folder.file + suffix).mode ?? 0) & 0o777, 0o600, suffix);
  }
});

Deno.test("openStore() keeps rows from one opening to the next", () => {
  using folder = createFolder();
  {
    using store = openStore(folder);
    store.plugins.set({ id: "hello", enabled: true, desired: "on-demand", updatedAtMs: 1 });
    store.plugins.set({ id: "hello", enabled: false, desired: "stopped", updatedAtMs: 2 });
    store.grants.set({ plugin: "hello", grants: { net: ["a:1"] }, setBy: "token:a", setAtMs: 3 });
    store.grants.set({ plugin: "hello", grants: { read: ["/srv"] }, setBy: "token:b", setAtMs: 4 });
  }
  using store = openStore(folder);
  const plugin = { id: "hello", enabled: false, desired: "stopped", updatedAtMs: 2 };
  assert.deepEqual(store.plugins.get("hello"), plugin);
  assert.deepEqual(store.plugins.list(), [plugin]);
  assert.equal(store.plugins.get("other"), undefined);
  const grants = { plugin: "hello", grants: { read: ["/srv"] }, setBy: "token:b", setAtMs: 4 };
  assert.deepEqual(store.grants.get("hello"), grants);
  assert.deepEqual(store.grants.list(), [grants]);
});

const quarantine = {
  plugin: "hello",
  digest: "ab",
  code: "LIMIT_MEMORY",
  reason: "Cannot call plugin",
  failures: 3,
  windowMs: 60_000,
  atMs: 5,
  recorded: false,
} as const;

Deno.test("QuarantinesTable keeps a row until it is deleted, and knows what the ledger was told", () => {
  using folder = createFolder();
  {
    using store = openStore(folder);
    store.quarantines.set({ ...quarantine, failures: 2 });
    store.quarantines.set(quarantine);
  }
  using store = openStore(folder);
  assert.deepEqual(store.quarantines.get("hello"), quarantine);
  for (const plugin of ["hello", "other"]) store.quarantines.setRecorded(plugin);
  assert.deepEqual(store.quarantines.get("hello"), { ...quarantine, recorded: true });
  for (let time = 0; time < 2; time++) store.quarantines.delete("hello");
  assert.equal(store.quarantines.get("hello"), undefined);
});

Deno.test("openStore() brings a file of the first version to the present shape, and keeps its rows", () => {
  using folder = createFolder();
  openDatabase({
    ...{ file: folder.file, durability: "full", check: true, exclusive: false },
    migrations: storeMigrations.slice(0, 1),
  }).close();
  using store = openStore(folder);
  store.quarantines.set(quarantine);
  assert.equal(store.quarantines.get("hello")?.code, "LIMIT_MEMORY");
});

Deno.test("openStore() refuses a file newer than the program", () => {
  using folder = createFolder();
  openStore(folder)[Symbol.dispose]();
  const db = new DatabaseSync(folder.file);
  db.exec(`PRAGMA user_version = ${storeMigrations.length + 1}`);
  db.close();
  assert.throws(() => openStore(folder), codeOf("newer"));
});

Deno.test("openStore() refuses a file that is not a database", () => {
  using folder = createFolder();
  Deno.writeTextFileSync(folder.file, "not a database, but long enough to be one. ".repeat(100));
  assert.throws(() => openStore(folder), codeOf("damaged"));
});

Deno.test("openStore() refuses a file with a page overwritten", () => {
  using folder = createFolder();
  {
    using store = openStore(folder);
    for (let i = 0; i < 200; i++) store.tokens.insert(row(`t${String(i).padStart(4, "0")}`));
  }
  {
    using file = Deno.openSync(folder.file, { write: true });
    const { size } = file.statSync();
    for (let page = 1; page < size / 4_096; page++) {
      file.seekSync(page * 4_096, Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(64).fill(0xff));
    }
  }
  assert.throws(() => openStore(folder), codeOf("damaged"));
});

Deno.test("openStore() names the file it cannot make", () => {
  using folder = createFolder();
  assert.throws(() => openStore({ file: `${folder.path}/none/airlock.db` }), codeOf("unusable"));
});

Deno.test("openStore() keeps what the ledger was told from one opening to the next", () => {
  using folder = createFolder();
  const row = { plugin: "hello", operator: { read: ["/a"] }, granted: { read: ["/a"] }, pending: null };
  {
    using store = openStore(folder);
    assert.deepEqual([store.config.get(), store.folders.get("/f"), store.grantsTold.get("hello")], [
      undefined,
      undefined,
      undefined,
    ]);
    store.config.set({ port: 1 });
    store.config.set({ port: 2, grants: { hello: { read: ["/a"] } } });
    for (const name of ["/f", "/g"]) store.folders.set(name, "ab");
    store.folders.set("/f", "cd");
    store.grantsTold.set({ ...row, pending: { read: ["/b"] } });
    store.grantsTold.set({ ...row, plugin: "other" });
  }
  using store = openStore(folder);
  assert.deepEqual(store.config.get(), { port: 2, grants: { hello: { read: ["/a"] } } });
  store.folders.keepOnly(new Set(["/f"]));
  assert.deepEqual([store.folders.get("/f"), store.folders.get("/g")], ["cd", undefined]);
  assert.deepEqual(store.grantsTold.get("hello")?.pending, { read: ["/b"] });
  store.grantsTold.set(row);
  store.grantsTold.delete("other");
  assert.deepEqual(store.grantsTold.list(), [row]);
});

Deno.test("openDatabase() undoes a step of migration that fails", () => {
  using folder = createFolder();
  const options = { file: folder.file, durability: "full", check: true, exclusive: false } as const;
  const first = "CREATE TABLE a (x INTEGER) STRICT";
  assert.throws(
    () =>
      openDatabase({ ...options, migrations: [first, "CREATE TABLE b (x INTEGER) STRICT; SELECT nonsense"] }),
    codeOf("unusable"),
  );
  const db = openDatabase({ ...options, migrations: [first, "CREATE TABLE b (y INTEGER) STRICT"] });
  assert.equal(db.prepare("SELECT name FROM pragma_table_info('b')").get()?.name, "y");
  assert.equal(db.prepare("PRAGMA user_version").get()?.user_version, 2);
  db.close();
});

Deno.test("openDatabase() lets no one write the schema table", () => {
  using folder = createFolder();
  const db = openDatabase({
    file: folder.file,
    migrations: storeMigrations,
    durability: "full",
    check: true,
    exclusive: false,
  });
  assert.throws(() => db.exec("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema"));
  assert.equal(db.prepare("PRAGMA synchronous").get()?.synchronous, 2);
  assert.equal(db.prepare("PRAGMA trusted_schema").get()?.trusted_schema, 0);
  assert.equal(db.prepare("PRAGMA foreign_keys").get()?.foreign_keys, 1);
  db.close();
});

Deno.test("TokensTable walks a token from pending to revoked and refuses any other way", () => {
  using folder = createFolder();
  using store = openStore(folder);
  const { tokens } = store;
  tokens.insert(row("a"));
  assert.equal(tokens.get("a")?.state, "pending");
  assert.deepEqual(tokens.list({ after: "", limit: 10 }), []);
  assert.equal(tokens.endRevoke("a"), false);
  tokens.activate("a");
  assert.throws(() => tokens.activate("a"), RangeError);
  assert.deepEqual(tokens.inState("active").map(({ id }) => id), ["a"]);
  tokens.beginRevoke("a", 5_000);
  assert.throws(() => tokens.beginRevoke("a", 6_000), RangeError);
  assert.throws(() => tokens.activate("a"), RangeError);
  assert.equal(tokens.deleteOldestRevoked(), false);
  assert.equal(tokens.endRevoke("a"), true);
  assert.equal(tokens.get("a")?.revokedAtMs, 5_000);
  assert.equal(tokens.deleteOldestRevoked(), true);
  assert.equal(tokens.count(), 0);
});

// The kernel has these two permissions for its data folder, and nothing else.
const childSource = (store: string, body: string) => `
  import { openStore } from ${JSON.stringify(store)};
  import { openCommitments } from ${JSON.stringify(import.meta.resolve("./commitments_table.ts"))};
  const folder = Deno.args[0];
  const store = openStore({ file: folder + "/airlock.db" });
  const commitments = openCommitments({ file: folder + "/commitments.db", rowsMax: 10 });
  ${body}
`;

async function startChild(folder: string, body: string) {
  const program = `${folder}/child.ts`;
  await Deno.writeTextFile(program, childSource(import.meta.resolve("./store.ts"), body));
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--no-check",
      `--config=${new URL("../../deno.json", import.meta.url).pathname}`,
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
      program,
      folder,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

Deno.test("openStore() keeps what it acknowledged before a SIGKILL", async () => {
  using folder = createFolder();
  await using child = await startChild(
    folder.path,
    `
    store.plugins.set({ id: "hello", enabled: false, desired: "unloaded", updatedAtMs: 7 });
    commitments.save([{ index: 3, field: "input", salt: new Uint8Array(16), value: null }]);
    Deno.stdout.writeSync(new TextEncoder().encode("acknowledged"));
    while (true) store.plugins.set({ id: "busy", enabled: true, desired: "on-demand", updatedAtMs: 8 });
    `,
  );
  for await (const chunk of child.stdout) {
    assert.equal(new TextDecoder().decode(chunk), "acknowledged");
    child.kill("SIGKILL");
  }
  assert.equal((await child.status).signal, "SIGKILL");
  using store = openStore(folder);
  assert.equal(store.plugins.get("hello")?.desired, "unloaded");
  using commitments = openCommitments({ file: `${folder.path}/commitments.db`, rowsMax: 10 });
  assert.equal(commitments.get(3).length, 1);
  assert.equal(commitments.rows, 1);
});
