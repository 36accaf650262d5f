import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/event.ts";
import { openStore, type Store } from "../store/store.ts";
import { createTokens, type TokenLedger, type TokensDeps } from "./tokens.ts";

/** A ledger that remembers, and can be made to refuse or to hang as a crash would. */
class RecordingLedger implements TokenLedger {
  readonly events: LedgerEventInput[] = [];
  mode: "open" | "refusing" | "hanging" = "open";
  #appended = Promise.withResolvers<void>();

  append(event: LedgerEventInput): Promise<{ checkpoint: string }> {
    this.#appended.resolve();
    this.#appended = Promise.withResolvers();
    if (this.mode === "hanging") return new Promise(() => {});
    if (this.mode === "refusing") return Promise.reject(new Error("refused"));
    this.events.push(event);
    return Promise.resolve({ checkpoint: `checkpoint ${this.events.length}` });
  }

  /** Resolves at the next append. */
  get appended(): Promise<void> {
    return this.#appended.promise;
  }

  get types(): string[] {
    return this.events.map(({ type }) => type);
  }
}

class Fixture implements Disposable {
  readonly folder = Deno.makeTempDirSync();
  readonly file = `${this.folder}/admin.token`;
  readonly ledger = new RecordingLedger();
  readonly clock = { nowMs: 1_700_000_000_000 };
  #store: Store = this.#open();

  #open(): Store {
    return openStore({ file: `${this.folder}/airlock.db` });
  }

  get table() {
    return this.#store.tokens;
  }

  create(options: Partial<TokensDeps> = {}) {
    return createTokens({
      table: this.#store.tokens,
      ledger: this.ledger,
      nowMs: () => this.clock.nowMs++,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
      tokensMax: 100,
      refusalsWindowMs: 10_000,
      ...options,
    });
  }

  /** As the next start finds it. */
  restart(options: Partial<TokensDeps> = {}) {
    this.#store[Symbol.dispose]();
    this.#store = this.#open();
    this.ledger.mode = "open";
    return this.create(options);
  }

  readSecret(): string {
    return Deno.readTextFileSync(this.file).trimEnd();
  }

  [Symbol.dispose]() {
    this.#store[Symbol.dispose]();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

const problem = (code: string) => (error: unknown) => error instanceof ProblemError && error.code === code;

Deno.test("Tokens.create() returns a secret that authenticates, now and after a restart", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  const { token, secret, checkpoint } = await tokens.create({ name: "ci", role: "invoker" }, "token:a");
  assert.match(secret, /^airlock_[A-Za-z0-9_-]{43}$/);
  const identity = { id: token.id, role: "invoker", actor: `token:${token.id}` };
  assert.deepEqual(tokens.authenticate(secret), identity);
  assert.equal(checkpoint, "checkpoint 1");
  assert.deepEqual(fixture.ledger.events, [{
    type: "token.created",
    actor: "token:a",
    plugin: "",
    data: { token: token.id, role: "invoker" },
    commit: { name: "ci" },
  }]);
  assert.deepEqual(fixture.restart().authenticate(secret), identity);
});

Deno.test("Tokens keeps no secret on disk", async () => {
  using fixture = new Fixture();
  const { secret } = await fixture.create().create({ name: "ci", role: "viewer" }, "kernel");
  for (const { name } of Deno.readDirSync(fixture.folder)) {
    const bytes = Deno.readFileSync(`${fixture.folder}/${name}`);
    assert.ok(!bytes.toHex().includes(new TextEncoder().encode(secret.slice(8)).toHex()), name);
  }
});

Deno.test("Tokens.authenticate() knows no other secret", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  const { secret } = await tokens.create({ name: "ci", role: "viewer" }, "kernel");
  const last = secret.endsWith("A") ? "B" : "A";
  for (const wrong of ["", "airlock_", secret.slice(0, -1) + last, `${secret}A`, secret.toUpperCase()]) {
    assert.equal(tokens.authenticate(wrong), undefined, wrong);
  }
});

Deno.test("Tokens.revoke() ends a token at once and for good, and can be repeated", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  const { token, secret } = await tokens.create({ name: "ci", role: "viewer" }, "kernel");
  const revoking = tokens.revoke(token.id, "token:a");
  assert.equal(tokens.authenticate(secret), undefined);
  const [first, second] = await Promise.all([revoking, tokens.revoke(token.id, "token:b")]);
  assert.notEqual(first.token.revokedAt, null);
  assert.deepEqual(second.token, first.token);
  assert.deepEqual((await tokens.revoke(token.id, "token:b")).token, first.token);
  await assert.rejects(tokens.revoke("none", "token:a"), problem("TOKEN_NOT_FOUND"));
  assert.equal(fixture.table.get(token.id)?.state, "revoked");
  assert.equal(fixture.restart().authenticate(secret), undefined);
});

Deno.test("Tokens.revoke() refuses the last active admin token", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  const one = await tokens.create({ name: "one", role: "admin" }, "kernel");
  const two = await tokens.create({ name: "two", role: "admin" }, "kernel");
  const [first, second] = await Promise.allSettled([
    tokens.revoke(one.token.id, "kernel"),
    tokens.revoke(two.token.id, "kernel"),
  ]);
  assert.equal(first.status, "fulfilled");
  assert.ok(second.status === "rejected" && problem("CONFLICT")(second.reason));
  assert.notEqual(tokens.authenticate(two.secret), undefined);
  await tokens.revoke(one.token.id, "kernel");
});

Deno.test("Tokens.list() pages by creation", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  for (const name of ["a", "b", "c"]) await tokens.create({ name, role: "viewer" }, "kernel");
  const first = tokens.list({ limit: 2 });
  assert.deepEqual(first.items.map(({ name }) => name), ["a", "b"]);
  assert.equal(first.next, first.items[1]?.id);
  const second = tokens.list({ after: first.next ?? "", limit: 2 });
  assert.deepEqual(second.items.map(({ name }) => name), ["c"]);
  assert.equal(second.next, null);
});

Deno.test("Tokens.create() makes room by forgetting the oldest revoked token, never an active one", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create({ tokensMax: 2 });
  const { token } = await tokens.create({ name: "a", role: "viewer" }, "kernel");
  await tokens.create({ name: "b", role: "viewer" }, "kernel");
  await assert.rejects(tokens.create({ name: "c", role: "viewer" }, "kernel"), problem("CONFLICT"));
  await tokens.revoke(token.id, "kernel");
  await tokens.create({ name: "c", role: "viewer" }, "kernel");
  assert.deepEqual(tokens.list({ limit: 10 }).items.map(({ name }) => name), ["b", "c"]);
  assert.deepEqual(await tokens.ensureAdminToken(fixture.file), { created: true });
});

Deno.test("Tokens settles a token whose creation a crash cut short", async () => {
  using fixture = new Fixture();
  fixture.ledger.mode = "hanging";
  const appended = fixture.ledger.appended;
  void fixture.create().create({ name: "cut", role: "admin" }, "kernel");
  await appended;
  assert.equal(fixture.table.inState("pending").length, 1);
  const tokens = fixture.restart();
  assert.deepEqual(tokens.list({ limit: 10 }).items, []);
  await tokens.ensureAdminToken(fixture.file);
  assert.deepEqual(fixture.ledger.types, ["token.revoked", "token.created"]);
  assert.equal(fixture.table.inState("pending").length, 0);
});

Deno.test("Tokens settles a token whose revocation a crash cut short", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  await tokens.ensureAdminToken(fixture.file);
  const { token, secret } = await tokens.create({ name: "ci", role: "viewer" }, "kernel");
  fixture.ledger.mode = "hanging";
  void tokens.revoke(token.id, "kernel");
  const restarted = fixture.restart();
  assert.equal(restarted.authenticate(secret), undefined);
  assert.deepEqual(await restarted.ensureAdminToken(fixture.file), { created: false });
  assert.equal(fixture.ledger.types.at(-1), "token.revoked");
  assert.equal(fixture.table.get(token.id)?.state, "revoked");
});

Deno.test("Tokens.create() shows no secret that the ledger does not hold", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create();
  fixture.ledger.mode = "refusing";
  await assert.rejects(tokens.create({ name: "ci", role: "viewer" }, "kernel"), /refused/);
  assert.deepEqual(tokens.list({ limit: 10 }).items, []);
});

Deno.test("Tokens.ensureAdminToken() makes a file for its owner only, and keeps it", async () => {
  using fixture = new Fixture();
  assert.deepEqual(await fixture.create().ensureAdminToken(fixture.file), { created: true });
  const secret = fixture.readSecret();
  assert.equal((Deno.statSync(fixture.file).mode ?? 0) & 0o777, 0o600);
  Deno.chmodSync(fixture.file, 0o644);
  const tokens = fixture.restart();
  assert.deepEqual(await tokens.ensureAdminToken(fixture.file), { created: false });
  assert.equal((Deno.statSync(fixture.file).mode ?? 0) & 0o777, 0o600);
  assert.equal(fixture.readSecret(), secret);
  assert.equal(tokens.authenticate(secret)?.role, "admin");
});

Deno.test("Tokens.ensureAdminToken() replaces a lost or worthless file and revokes the old token", async () => {
  using fixture = new Fixture();
  await fixture.create().ensureAdminToken(fixture.file);
  const viewer = await fixture.create().create({ name: "v", role: "viewer" }, "kernel");
  for (const content of [undefined, "nonsense\n", `${viewer.secret}\n`, "x".repeat(100_000)]) {
    const old = fixture.readSecret();
    if (content === undefined) Deno.removeSync(fixture.file);
    else Deno.writeTextFileSync(fixture.file, content);
    Deno.writeTextFileSync(`${fixture.file}.tmp`, "left over", { mode: 0o644 });
    const tokens = fixture.restart();
    assert.deepEqual(await tokens.ensureAdminToken(fixture.file), { created: true });
    assert.equal(tokens.authenticate(fixture.readSecret())?.role, "admin");
    if (content === undefined) assert.equal(tokens.authenticate(old), undefined);
    assert.equal(fixture.table.inState("active").filter(({ bootstrap }) => bootstrap).length, 1);
    assert.equal((Deno.statSync(fixture.file).mode ?? 0) & 0o777, 0o600);
  }
});

Deno.test("Tokens.ensureAdminToken() finishes what a crash left between the file and the revocation", async () => {
  using fixture = new Fixture();
  await fixture.create().ensureAdminToken(fixture.file);
  const old = fixture.readSecret();
  Deno.removeSync(fixture.file);
  // The old token is revoked last, so its ledger entry is where the crash comes.
  const tokens = fixture.restart({
    ledger: {
      append: (event) =>
        event.type === "token.revoked" ? Promise.reject(new Error("crash")) : fixture.ledger.append(event),
    },
  });
  await assert.rejects(tokens.ensureAdminToken(fixture.file), /crash/);
  const secret = fixture.readSecret();
  const restarted = fixture.restart();
  assert.deepEqual(await restarted.ensureAdminToken(fixture.file), { created: false });
  assert.equal(fixture.readSecret(), secret);
  assert.equal(restarted.authenticate(old), undefined);
  assert.equal(fixture.ledger.types.at(-1), "token.revoked");
});

Deno.test("Tokens.refused() writes one entry a window", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create({ refusalsWindowMs: 1 });
  const appended = fixture.ledger.appended;
  for (let i = 0; i < 1_000; i++) tokens.refused();
  await appended;
  await tokens.close();
  assert.deepEqual(fixture.ledger.types, ["token.refused"]);
  assert.equal(
    fixture.ledger.events[0]?.type === "token.refused" && fixture.ledger.events[0].data.count,
    1_000,
  );
});

Deno.test("Tokens.close() writes the refusals of a window that is still open", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create({ nowMs: () => 5 });
  tokens.refused();
  tokens.refused();
  await tokens.close();
  await tokens.close();
  assert.deepEqual(fixture.ledger.events.map(({ data }) => data), [{ count: 2, windowMs: 0 }]);
});

Deno.test("Tokens.refused() carries what the ledger refused into the next window", async () => {
  using fixture = new Fixture();
  const tokens = fixture.create({ refusalsWindowMs: 1 });
  fixture.ledger.mode = "refusing";
  const refusal = fixture.ledger.appended;
  tokens.refused();
  await refusal;
  fixture.ledger.mode = "open";
  tokens.refused();
  await fixture.ledger.appended;
  await tokens.close();
  assert.deepEqual(fixture.ledger.events.map(({ data }) => "count" in data && data.count), [2]);
});

Deno.test("Tokens keeps what it acknowledged before a SIGKILL", async () => {
  using fixture = new Fixture();
  const folder = `${fixture.folder}/child`;
  Deno.mkdirSync(folder);
  const program = `${fixture.folder}/child.ts`;
  Deno.writeTextFileSync(
    program,
    `
    import { openStore } from ${JSON.stringify(import.meta.resolve("../store/store.ts"))};
    import { createTokens } from ${JSON.stringify(import.meta.resolve("./tokens.ts"))};
    const folder = Deno.args[0];
    const tokens = createTokens({
      table: openStore({ file: folder + "/airlock.db" }).tokens,
      ledger: { append: () => Promise.resolve({ checkpoint: "" }) },
      nowMs: Date.now,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
      tokensMax: 10,
      refusalsWindowMs: 1_000,
    });
    await tokens.ensureAdminToken(folder + "/admin.token");
    const { secret } = await tokens.create({ name: "ci", role: "viewer" }, "kernel");
    Deno.stdout.writeSync(new TextEncoder().encode(secret));
    setInterval(() => {}, 1_000);
    `,
  );
  const config = new URL("../../deno.json", import.meta.url).pathname;
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", `--config=${config}`]
      .concat([`--allow-read=${folder}`, `--allow-write=${folder}`, program, folder]),
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let secret = "";
  for await (const chunk of child.stdout) {
    secret += new TextDecoder().decode(chunk);
    child.kill("SIGKILL");
  }
  using store = openStore({ file: `${folder}/airlock.db` });
  const tokens = fixture.create({ table: store.tokens });
  assert.equal(tokens.authenticate(secret)?.role, "viewer");
  assert.deepEqual(await tokens.ensureAdminToken(`${folder}/admin.token`), { created: false });
});
