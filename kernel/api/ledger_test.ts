import assert from "node:assert/strict";
import type { Role } from "../../schemas/api.ts";
import { createApp } from "./app.ts";
import { exportsMax, exportsPerCallerMax } from "./ledger_export.ts";
import {
  bearer,
  checkpointBase64,
  createTestingKernel,
  note,
  type TestingKernelOptions,
} from "./testing_kernel.ts";

function create(options: TestingKernelOptions = {}) {
  const kernel = createTestingKernel(options);
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const ask = (method: string, path: string, role: Role = "admin") =>
    app.request(path, { method, headers: bearer(role) });
  return { kernel, app, ask, get: (path: string, role: Role = "viewer") => ask("GET", path, role) };
}

async function codeOf(response: Response): Promise<string> {
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  return (await response.json()).code;
}

Deno.test("registerLedger() hands filters on as they are meant", async () => {
  const { kernel, get } = create();
  const table: [query: string, expected: Record<string, unknown>][] = [
    ["", {}],
    ["?type=call.accepted", { types: ["call.accepted"] }],
    ["?type=call.*&type=token.created", { types: ["call.*", "token.created"] }],
    ["?plugin=hello%401.2.0&actor=token%3Aci", { plugin: "hello@1.2.0", actor: "token:ci" }],
    ["?plugin=.*%5B(", { plugin: ".*[(" }],
    ["?since=2026-11-20T10:00:00Z", { sinceMs: Date.UTC(2026, 10, 20, 10) }],
    ["?until=2026-11-20T10:00:00.5%2B01:00", { untilMs: Date.UTC(2026, 10, 20, 9, 0, 0, 500) }],
    ["?since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", {
      sinceMs: Date.parse("0000-01-01T00:00:00Z"),
      untilMs: Date.parse("9999-12-31T23:59:59Z"),
    }],
    ["?after=9007199254740991&limit=7", { after: Number.MAX_SAFE_INTEGER, limit: 7 }],
  ];
  for (const [query, expected] of table) {
    assert.equal((await get(`/v1/ledger/entries${query}`)).status, 200, query);
    const asked = kernel.queries.at(-1) ?? {};
    const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
    assert.deepEqual(given, { limit: 100, ...expected }, query);
  }
});

Deno.test("registerLedger() refuses filters that mean nothing", async () => {
  const { kernel, get } = create();
  const queries = [
    "type=.*",
    "type=call",
    "type=call.**",
    "type=CALL.accepted",
    "type=call.(a%2B)%2B$",
    `${"type=call.accepted&".repeat(33)}limit=1`,
    "plugin=",
    `plugin=${"x".repeat(257)}`,
    "plugin=a&plugin=b",
    "actor=",
    "since=yesterday",
    "since=2026-11-20",
    "since=2026-02-30T10:00:00Z",
    "since=%2B275760-09-13T00:00:00Z",
    "since=1e308",
    "until=2026-11-20T10:00:00",
    "after=9007199254740992",
    "after=1.5",
    "after=0x1",
    "after=007",
  ];
  for (const query of queries) {
    const response = await get(`/v1/ledger/entries?${query}`);
    assert.equal(response.status, 422, query);
    assert.equal(await codeOf(response), "INPUT_INVALID");
  }
  assert.deepEqual(kernel.queries, []);
});

Deno.test("strictQuery() has the reads of the ledger refuse parameters that they do not know", async () => {
  const { kernel, get } = create();
  const table: [path: string, message: RegExp][] = [
    [
      "entries?plugn=hello",
      /Cannot read the request: must not have the parameter "plugn": "plugin" may be meant/,
    ],
    ["entries?types=call.*", /"types": "type" may be meant/],
    ["entries?zzzzzz=1", /it takes after, limit, type, plugin, actor, since, until/],
    ["entries?constructor=1", /"constructor"/],
    ["export?form=1", /"form": "from" may be meant/],
    ["checkpoint?fromat=json", /"fromat": "format" may be meant/],
    ["proofs/inclusion/1?formt=json", /"formt": "format" may be meant/],
    ["proofs/consistency?from=1&two=2", /"two": "to" may be meant/],
  ];
  for (const [path, message] of table) {
    const response = await get(`/v1/ledger/${path}`);
    assert.equal(response.status, 422, path);
    const { code, detail } = await response.json();
    assert.equal(code, "INPUT_INVALID");
    assert.match(detail, message);
  }
  assert.deepEqual(kernel.queries, []);
});

Deno.test("registerLedgerKeys() shows both keys while two sign, the newer one first", async () => {
  const { kernel, get } = create();
  Object.assign(kernel.ledger, { verifierKeys: ["new", "old"] });
  assert.equal(await (await get("/v1/ledger/key")).text(), "new\nold");
});

Deno.test("registerLedgerKeys() rotates and retires keys in the caller's name", async () => {
  const { kernel, ask } = create();
  for (const verb of ["rotate", "retire"]) {
    const response = await ask("POST", `/v1/ledger/key/${verb}`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
    assert.deepEqual(await response.json(), {
      key: "airlock.test+11111111+AQ==",
      ledger: { index: 3, size: 4 },
    });
  }
  assert.deepEqual(kernel.acts, ["token:admin rotates the key", "token:admin retires the key"]);
});

Deno.test("registerProofs() proves inclusion as text, and as JSON on demand", async () => {
  const { get } = create();
  const hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  const text = await get("/v1/ledger/proofs/inclusion/1");
  assert.match(text.headers.get("content-type") ?? "", /^text\/plain/);
  assert.equal(await text.text(), `c2sp.org/tlog-proof@v1\nindex 1\n${hash}\n${hash}\n\n${note}`);
  assert.deepEqual(await (await get("/v1/ledger/proofs/inclusion/1?format=json")).json(), {
    index: 1,
    size: 3,
    hashes: [hash, hash],
    checkpoint: note,
  });
  assert.deepEqual(await (await get("/v1/ledger/proofs/consistency?from=1")).json(), {
    from: 1,
    to: 3,
    hashes: [hash],
  });
  assert.equal((await (await get("/v1/ledger/proofs/consistency?from=1&to=2")).json()).to, 2);
});

Deno.test("registerProofs() refuses what is no index and no size", async () => {
  const { get } = create();
  for (const index of ["3", "9007199254740991"]) {
    const response = await get(`/v1/ledger/proofs/inclusion/${index}`);
    assert.deepEqual([response.status, await codeOf(response)], [404, "ENTRY_NOT_FOUND"], index);
  }
  const invalid = [
    ...["9007199254740992", "99999999999999999999", "-1", "1.0", "01", "x", "0x1", "1e3"].map((index) =>
      `inclusion/${index}`
    ),
    ...["", "?from=", "?from=-1", "?from=1&to=x", "?from=1&from=2", "?to=3", "?from=9007199254740992"].map(
      (query) => `consistency${query}`,
    ),
    "inclusion/1?format=xml",
  ];
  for (const path of invalid) {
    const response = await get(`/v1/ledger/proofs/${path}`);
    assert.deepEqual([response.status, await codeOf(response)], [422, "INPUT_INVALID"], path);
  }
});

Deno.test("registerCommitments() shows and deletes what opens an entry, in the caller's name", async () => {
  const { kernel, ask } = create();
  const shown = await ask("GET", "/v1/ledger/commitments/7");
  assert.equal(shown.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await shown.json(), {
    index: 7,
    items: [{ field: "inputCommitment", salt: "AAAA", value: null }],
  });
  const deleted = await ask("DELETE", "/v1/ledger/commitments/7");
  assert.equal(deleted.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual(await deleted.json(), { index: 7, deleted: 1 });
  assert.deepEqual(kernel.acts, ["token:admin opens 7", "token:admin shreds 7"]);
  const refused = await ask("DELETE", "/v1/ledger/commitments/9007199254740992");
  assert.equal(refused.headers.get("airlock-checkpoint"), checkpointBase64);
  assert.deepEqual([refused.status, await codeOf(refused)], [422, "INPUT_INVALID"]);
});

Deno.test("registerLedgerExport() streams a bundle under a name of its own", async () => {
  const { get } = create();
  const response = await get("/v1/ledger/export?from=1");
  assert.equal(response.headers.get("content-type"), "application/x-ndjson");
  assert.equal(
    response.headers.get("content-disposition"),
    'attachment; filename="airlock.test-1-3.ndjson"',
  );
  assert.equal(await response.text(), '{"v":1,"seq":1}\n{"v":1,"seq":2}\n');
});

/** A kernel whose exports never end, and how many were begun. */
function createEndless() {
  const begun = { count: 0 };
  const header = { format: "airlock-ledger-bundle@v1" as const, origin: "o", from: 0, to: 3, size: 3 };
  const world = create({
    reader: {
      bundle: () => {
        begun.count += 1;
        const lines = async function* () {
          for (;;) yield await Promise.resolve(new Uint8Array(8));
        };
        return Promise.resolve({
          header: { ...header, keys: [], left: [], right: [], checkpoint: note },
          lines: lines(),
        });
      },
    },
  });
  return { ...world, begun };
}

Deno.test("registerLedgerExport() lets one caller have a few at once, and another one more", async () => {
  const { get, begun } = createEndless();
  const answers = await Promise.all(Array.from({ length: 100 }, () => get("/v1/ledger/export")));
  const open = answers.filter(({ status }) => status === 200);
  assert.deepEqual([open.length, begun.count], [exportsPerCallerMax, exportsPerCallerMax]);
  for (const refused of answers.filter(({ status }) => status !== 200)) {
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "5"]);
    assert.equal(await codeOf(refused), "QUEUE_FULL");
  }
  const other = await get("/v1/ledger/export", "operator");
  assert.equal(other.status, 200);
  for (const { body } of [...open, other]) await body?.cancel();
  const again = await get("/v1/ledger/export");
  assert.equal(again.status, 200);
  await again.body?.cancel();
  assert.ok(exportsMax >= 2 * exportsPerCallerMax);
});

Deno.test("registerLedgerExport() gives the place back after a HEAD, a refusal and a failure", async () => {
  const { ask, get } = createEndless();
  for (let round = 0; round <= exportsPerCallerMax; round++) {
    const head = await ask("HEAD", "/v1/ledger/export");
    assert.deepEqual([head.status, head.body], [200, null]);
    assert.equal((await get("/v1/ledger/export?from=x")).status, 422);
  }
  const failing = create({ reader: { bundle: () => Promise.reject(new Error("EIO")) } });
  for (let round = 0; round <= exportsPerCallerMax; round++) {
    assert.equal(await codeOf(await failing.get("/v1/ledger/export")), "INTERNAL");
  }
});

Deno.test("registerLogTiles() serves checkpoint and tiles, and lets full tiles be kept", async () => {
  const { get } = create();
  const checkpoint = await get("/log/checkpoint");
  assert.deepEqual([await checkpoint.text(), checkpoint.headers.get("cache-control")], [note, "no-store"]);
  const table: [path: string, place: Record<string, unknown>, cache: string][] = [
    ["0/000", { kind: "hashes", level: 0, index: 0, width: 256 }, "private, max-age=31536000, immutable"],
    ["1/000.p/255", { kind: "hashes", level: 1, index: 0, width: 255 }, "no-store"],
    ["entries/000", { kind: "entries", index: 0, width: 256 }, "private, max-age=31536000, immutable"],
    ["entries/000.p/1", { kind: "entries", index: 0, width: 1 }, "no-store"],
  ];
  for (const [path, place, cache] of table) {
    const response = await get(`/log/tile/${path}`);
    assert.equal(response.headers.get("content-type"), "application/octet-stream");
    assert.equal(response.headers.get("cache-control"), cache);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.deepEqual(await response.json(), place);
  }
});

Deno.test("registerLogTiles() knows one spelling of a path", async () => {
  const { get } = create();
  const paths = [
    "0/001",
    "0/0",
    "0/000/",
    "0/000.p/256",
    "0/000.p/0",
    "0/000.p/01",
    "00/000",
    "0/x000/000",
    "0//000",
    "entries",
    "0/%30%30%30",
    "0/000%2ep/1",
    "",
  ];
  for (const path of paths.map((path) => `/log/tile/${path}`).concat("/log", "/log/", "/log/tiles")) {
    const response = await get(path);
    assert.deepEqual([response.status, await codeOf(response)], [404, "NOT_FOUND"], path);
  }
});

Deno.test("registerLogTiles() asks for a token below /log/, known address or not, spelt plainly or not", async () => {
  const { app } = create();
  const paths = ["/log/checkpoint", "/log/tile/0/000", "/log/tile/0/0", "/log/none", "/log/%63heckpoint"];
  for (const path of paths) {
    for (const headers of [new Headers(), new Headers({ authorization: "Bearer wrong" })]) {
      const response = await app.request(path, { headers });
      assert.deepEqual([response.status, await codeOf(response)], [401, "UNAUTHENTICATED"], path);
    }
  }
});

Deno.test("registerLogTiles() asks nobody where `ledger.public` is set, and looks at no token", async () => {
  const { app, kernel } = create({ config: { ledger: { public: true } } });
  const wrong = { authorization: "Bearer wrong" };
  for (const headers of [{}, wrong, bearer("viewer")].map((init) => new Headers(init))) {
    assert.equal(await (await app.request("/log/checkpoint", { headers })).text(), note);
    const tile = await app.request("/log/tile/0/000", { headers });
    assert.equal(tile.status, 200);
    assert.equal(tile.headers.get("cache-control"), "public, max-age=31536000, immutable");
    assert.equal((await app.request("/log/tile/0/001", { headers })).status, 404);
    assert.equal((await app.request("/log/none", { headers })).status, 404);
  }
  assert.equal((await app.request("/v1/ledger/checkpoint")).status, 401);
  assert.equal(kernel.refusedTokens.count, 1);
  const { paths } = await (await app.request("/openapi.json")).json();
  assert.deepEqual(paths["/log/tile/{path}"].get.security, []);
  kernel.state.status = "draining";
  assert.equal(await codeOf(await app.request("/log/checkpoint")), "NOT_READY");
});

Deno.test("createApp() answers HEAD like GET, without a body, on the routes of the ledger", async () => {
  const { ask } = create();
  const paths = [
    ...["entries", "checkpoint", "key", "export", "commitments/1", "proofs/inclusion/1"].map((path) =>
      `/v1/ledger/${path}`
    ),
    ...["/v1/ledger/proofs/consistency?from=1", "/log/checkpoint", "/log/tile/0/000"],
  ];
  for (const path of paths) {
    const [get, head] = [await ask("GET", path), await ask("HEAD", path)];
    assert.deepEqual([head.status, await head.text()], [200, ""], path);
    const kept = (headers: Headers) => ["content-type", "cache-control"].map((name) => headers.get(name));
    assert.deepEqual(kept(head.headers), kept(get.headers), path);
    await get.body?.cancel();
  }
});

Deno.test("createApp() answers a write to an address that only reads with what it takes", async () => {
  const { ask, kernel } = create();
  for (const path of ["/log/checkpoint", "/log/tile/0/000", "/v1/ledger/export"]) {
    const response = await ask("POST", path);
    assert.deepEqual([response.status, response.headers.get("allow")], [405, "GET, HEAD"], path);
    assert.equal(response.headers.get("airlock-checkpoint"), checkpointBase64);
  }
  assert.equal(kernel.refusals.length, 3);
});
