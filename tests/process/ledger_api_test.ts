/**
 * The ledger as its API shows it: every write of the OpenAPI document answers with a checkpoint that covers
 * what it did, and every proof, tile and bundle can be checked by whoever holds the key.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { openCheckpoint } from "../../kernel/ledger/checkpoint.ts";
import { bundleHeaderSchema } from "../../kernel/ledger/bundle.ts";
import { checkConsistency, checkInclusion } from "../../kernel/ledger/proof.ts";
import { parseVerifierKey } from "../../kernel/ledger/signed_note.ts";
import { parseTlogProof } from "../../kernel/ledger/tlog_proof.ts";
import { coverRange, Frontier, hashLeaf } from "../../kernel/ledger/tree.ts";
import type { Role } from "../../schemas/api.ts";
import { Airlock, manifest, readEvents } from "../support/airlock.ts";
import { rootOf } from "../support/ledger.ts";

const plugins = {
  acting: {
    "plugin.jsonc": manifest("acting", {
      actions: { run: {}, fail: {}, words: { stream: true }, breaks: { stream: true } },
      capabilities: { read: ["*"] },
    }),
    "mod.ts": `
      export const actions = {
        run: () => "done",
        fail() { throw new Error("no"); },
        async *words() { yield "one"; return "two"; },
        async *breaks() { yield "one"; throw new Error("no"); },
      };`,
  },
  failing: { "plugin.jsonc": manifest("failing"), "mod.ts": `throw new Error("no");` },
};

/** The checkpoint of a note in base64, if one of the ledger's keys signed it. */
function openBase64(text: string | null, keys: string) {
  ok(text !== null, "no checkpoint");
  const note = new TextDecoder().decode(Uint8Array.fromBase64(text));
  return openCheckpoint(note, keys.split("\n").map((key) => parseVerifierKey(key))).checkpoint;
}

async function readText(airlock: Airlock, path: string): Promise<string> {
  const response = await airlock.fetch("GET", path);
  const text = await response.text();
  equal(response.status, 200, text);
  return text;
}

function readKeys(airlock: Airlock): Promise<string> {
  return readText(airlock, "/v1/ledger/key");
}

async function readSize(airlock: Airlock): Promise<number> {
  return (await airlock.request<{ size: number }>("GET", "/v1/ledger/checkpoint?format=json")).body.size;
}

interface Write {
  /** As in the OpenAPI document. */
  readonly operation: string;
  readonly path?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Of the token it is made with; admin if left out. */
  readonly role?: Role;
  readonly status: number;
  /** Type of the entry that tells of it; null where nothing is to be told. */
  readonly entry: string | null;
}

const verb = (name: string) => `POST /v1/plugins/{id}/${name}`;
/** An order, and the entry of what it did. */
const order = (name: string, entry: string): Write => ({
  operation: verb(name),
  path: `/v1/plugins/acting/${name}`,
  status: 200,
  entry,
});
const invoke = "POST /v1/plugins/{id}/actions/{action}";
const call = (action: string, status: number, entry: string, more: Partial<Write> = {}): Write => ({
  operation: invoke,
  path: `/v1/plugins/acting/actions/${action}`,
  body: {},
  status,
  entry,
  ...more,
});
const streaming = { accept: "text/event-stream" };
const shred = "DELETE /v1/ledger/commitments/{index}";

/** Every write once at least, and the ways in which it is refused or fails. In this order. */
const writes: readonly Write[] = [
  order("unload", "plugin.unloaded"),
  order("load", "plugin.loaded"),
  {
    operation: "PUT /v1/plugins/{id}/grants",
    path: "/v1/plugins/acting/grants",
    body: { read: ["/srv"] },
    status: 200,
    entry: "grant.given",
  },
  {
    operation: "PUT /v1/plugins/{id}/grants",
    path: "/v1/plugins/acting/grants",
    body: { run: ["/usr/bin/git"] },
    status: 422,
    entry: "request.refused",
  },
  order("start", "plugin.started"),
  order("suspend", "plugin.suspended"),
  order("resume", "plugin.resumed"),
  call("run", 200, "call.completed"),
  call("fail", 502, "call.failed"),
  call("none", 404, "call.refused"),
  call("run", 403, "request.refused", { role: "viewer" }),
  call("words", 200, "call.completed", { headers: streaming }),
  call("breaks", 200, "call.failed", { headers: streaming }),
  call("fail", 502, "call.failed", { headers: streaming }),
  call("run", 503, "call.refused"), // its breaker has opened
  order("reset", "breaker.changed"),
  order("reset", "plugin.reset"),
  order("stop", "plugin.stopped"),
  call("run", 409, "call.refused"),
  // While it is stopped they wait.
  {
    operation: "POST /v1/jobs",
    body: { plugin: "acting", action: "run" },
    status: 202,
    entry: "job.enqueued",
  },
  {
    operation: "POST /v1/jobs",
    body: { plugin: "none", action: "x" },
    status: 404,
    entry: "request.refused",
  },
  {
    operation: "POST /v1/jobs/{id}/cancel",
    path: "/v1/jobs/JOB/cancel",
    status: 200,
    entry: "job.cancelled",
  },
  { operation: "POST /v1/jobs/{id}/retry", path: "/v1/jobs/JOB/retry", status: 200, entry: "job.ordered" },
  {
    operation: "POST /v1/jobs/{id}/retry",
    path: "/v1/jobs/JOB/retry",
    status: 409,
    entry: "request.refused",
  },
  { operation: "POST /v1/jobs/redrive", body: {}, status: 200, entry: null },
  {
    operation: "POST /v1/pipelines",
    body: { steps: [{ id: "a", plugin: "acting", action: "run" }] },
    status: 202,
    entry: "job.enqueued",
  },
  {
    operation: "POST /v1/schedules",
    body: { name: "yearly", plugin: "acting", action: "run", cron: "0 0 1 1 *" },
    status: 201,
    entry: "schedule.created",
  },
  {
    operation: "DELETE /v1/schedules/{id}",
    path: "/v1/schedules/MADE",
    status: 200,
    entry: "schedule.deleted",
  },
  order("disable", "plugin.disabled"),
  order("disable", "plugin.ordered"),
  order("enable", "plugin.enabled"),
  { ...order("start", "request.refused"), role: "viewer", status: 403 },
  { ...order("start", "request.refused"), path: "/v1/plugins/none/start", status: 404 },
  { ...order("start", "request.refused"), path: "/v1/plugins/failing/start", status: 502 },
  { operation: "POST /v1/tokens", body: { name: "x", role: "viewer" }, status: 201, entry: "token.created" },
  { operation: "POST /v1/tokens", body: { name: "x" }, status: 422, entry: "request.refused" },
  { operation: "DELETE /v1/tokens/{id}", path: "/v1/tokens/TOKEN", status: 200, entry: "token.revoked" },
  { operation: "DELETE /v1/tokens/{id}", path: "/v1/tokens/none", status: 404, entry: "request.refused" },
  { operation: shred, path: "/v1/ledger/commitments/ACCEPTED", status: 200, entry: "commitment.deleted" },
  { operation: shred, path: "/v1/ledger/commitments/ACCEPTED", status: 200, entry: null },
  { operation: shred, path: "/v1/ledger/commitments/900000000", status: 404, entry: "request.refused" },
  { operation: "POST /v1/ledger/key/retire", status: 409, entry: "request.refused" },
  { operation: "POST /v1/ledger/key/rotate", status: 200, entry: "ledger.rotated" },
  { operation: "POST /v1/ledger/key/rotate", status: 409, entry: "request.refused" },
  { operation: "POST /v1/ledger/key/retire", status: 200, entry: "ledger.retired" },
];

async function listWrites(airlock: Airlock): Promise<string[]> {
  const { body } = await airlock.request<{ paths: Record<string, Record<string, unknown>> }>(
    "GET",
    "/openapi.json",
  );
  return Object.entries(body.paths).flatMap(([path, item]) =>
    Object.keys(item).filter((method) => method !== "get").map((method) => `${method.toUpperCase()} ${path}`)
  );
}

/** Index of the newest entry of a type, which is not the first of all, among those at and after `size`. */
async function findEntry(airlock: Airlock, type: string, size: number): Promise<number | undefined> {
  const path = `/v1/ledger/entries?type=${type}&after=${Math.max(0, size - 1)}&limit=1000`;
  const { body } = await airlock.request<{ items: { index: number }[] }>("GET", path);
  return body.items.at(-1)?.index;
}

type LedgerRecord = Awaited<ReturnType<Airlock["records"]>>[number];

/** What no write of the table answers for: `failing` is started again after a while, a pipeline enqueues its step. */
function isBackground({ type, actor, plugin, data }: LedgerRecord): boolean {
  if (type === "job.enqueued") return data["parent"] !== undefined;
  return actor === "kernel" && plugin === "failing@1.0.0" && /^plugin\.(?:failed|quarantined)$/.test(type);
}

/** Of the last event of a stream. */
async function readOutcome(body: ReadableStream<Uint8Array> | null): Promise<string> {
  ok(body !== null);
  const events = await Array.fromAsync(readEvents(body));
  const { event, data } = events.at(-1) ?? {};
  match(event ?? "", /^(?:COMPLETE|ERROR)$/);
  return (data as { checkpoint: string }).checkpoint;
}

Deno.test("every write that the OpenAPI document has answers with a checkpoint that covers its entry", async () => {
  await using airlock = await Airlock.start({ plugins, config: { cells: { breakerFailures: 2 } } });
  deepEqual(new Set(writes.map(({ operation }) => operation)), new Set(await listWrites(airlock)));
  const { body: viewer } = await airlock.request<{ token: string; id: string }>("POST", "/v1/tokens", {
    name: "viewer",
    role: "viewer",
  });
  for (const { operation, path, body, headers, role, status, entry } of writes) {
    const [method = "", pattern = ""] = operation.split(" ");
    const size = await readSize(airlock);
    const keys = await readKeys(airlock);
    const accepted = await findEntry(airlock, "call.accepted", 0);
    const named = async (type: string, member: string) =>
      String((await airlock.records()).findLast((record) => record.type === type)?.data[member]);
    const target = (path ?? pattern).replace("TOKEN", viewer.id).replace("ACCEPTED", String(accepted))
      .replace("JOB", await named("job.enqueued", "job"))
      .replace("MADE", await named("schedule.created", "schedule"));
    const response = await airlock.fetch(method, target, body, {
      ...headers,
      ...(role === "viewer" ? { authorization: `Bearer ${viewer.token}` } : {}),
    });
    const isStream = response.headers.get("content-type") === "text/event-stream";
    const header = response.headers.get("airlock-checkpoint");
    const outcome = isStream ? await readOutcome(response.body) : header;
    const text = isStream ? "" : await response.text();
    const what = `${method} ${target}: ${response.status} ${text}`;
    equal(response.status, status, what);
    // A retired key no longer signs, and a new one does so at once: either of them was there before or after.
    const known = `${keys}\n${await readKeys(airlock)}`;
    const covered = openBase64(outcome, known).size;
    const own = (await airlock.records()).filter((record) => record.seq >= size && !isBackground(record));
    if (entry === null) {
      deepEqual(own, [], what);
      ok(covered >= size, `${what}: the checkpoint is of ${covered}, and ${size} were there before`);
      continue;
    }
    const index = own.findLast(({ type }) => type === entry)?.seq;
    ok(index !== undefined, `${what}: no ${entry}`);
    ok(covered > index, `${what}: ${entry} is ${index}, the checkpoint is of ${covered}`);
    if (!isStream) continue;
    // The header of a stream is sent at its beginning.
    const begun = own.find(({ type }) => type === "call.accepted")?.seq;
    ok(begun !== undefined && openBase64(header, known).size > begun, what);
  }
});

Deno.test("a write of nobody has no checkpoint, because who asks may not know what is logged", async () => {
  await using airlock = await Airlock.start();
  const response = await airlock.fetch("POST", "/v1/plugins/hello/stop", undefined, {
    authorization: "Bearer wrong",
  });
  await response.body?.cancel();
  deepEqual([response.status, response.headers.get("airlock-checkpoint")], [401, null]);
});

Deno.test("proofs hold for the newest checkpoint, for every entry and every smaller size", async () => {
  await using airlock = await Airlock.start();
  await airlock.call("hello", "greet", { name: "world" });
  const keys = await readKeys(airlock);
  const size = await readSize(airlock);
  const leaves: string[] = [];
  for (let index = 0; index < size; index++) {
    const { body } = await airlock.request<{ items: { line: string }[] }>(
      "GET",
      `/v1/ledger/entries?limit=1${index === 0 ? "" : `&after=${index - 1}`}`,
    );
    leaves.push(hashLeaf(body.items[0]?.line ?? ""));
    const proof = parseTlogProof(await readText(airlock, `/v1/ledger/proofs/inclusion/${index}`));
    const { checkpoint } = openCheckpoint(proof.checkpoint, [parseVerifierKey(keys)]);
    checkInclusion({ ...checkpoint, index, leafHash: leaves[index] ?? "", hashes: proof.hashes });
  }
  const hex = (base64: string) => Uint8Array.fromBase64(base64).toHex();
  const toRootHash = hex(rootOf(leaves));
  for (let from = 1; from <= size; from++) {
    const { body } = await airlock.request<{ to: number; hashes: string[] }>(
      "GET",
      `/v1/ledger/proofs/consistency?from=${from}&to=${size}`,
    );
    const fromRootHash = hex(rootOf(leaves.slice(0, from)));
    checkConsistency({ from, to: body.to, fromRootHash, toRootHash, hashes: body.hashes.map(hex) });
  }
});

Deno.test("an entry can be proven as soon as its answer is here, under load", async () => {
  await using airlock = await Airlock.start({ plugins });
  const keys = [parseVerifierKey(await readKeys(airlock))];
  const caller = async () => {
    for (let round = 0; round < 25; round++) {
      const { body } = await airlock.invoke("acting", "run");
      const { index } = (body as unknown as { ledger: { index: number } }).ledger;
      const proof = parseTlogProof(await readText(airlock, `/v1/ledger/proofs/inclusion/${index}`));
      ok(openCheckpoint(proof.checkpoint, keys).checkpoint.size > index);
    }
  };
  await Promise.all(Array.from({ length: 8 }, caller));
});

Deno.test("tiles have the hashes and the lines of the log, and a full one may be kept", async () => {
  await using airlock = await Airlock.start({ plugins, config: { ledger: { public: true } } });
  while (await readSize(airlock) < 257) {
    await Promise.all(Array.from({ length: 32 }, () => airlock.call("acting", "run")));
  }
  const get = (path: string) => fetch(`${airlock.url}/log/${path}`);
  const { body } = await airlock.request<{ items: { line: string; leafHash: string }[] }>(
    "GET",
    "/v1/ledger/entries?limit=257",
  );
  const leaves = body.items.map(({ leafHash }) => leafHash);
  const tile = await get("tile/0/000");
  equal(tile.headers.get("cache-control"), "public, max-age=31536000, immutable");
  equal((await tile.bytes()).toHex(), leaves.slice(0, 256).join(""));
  equal((await (await get("tile/0/001.p/1")).bytes()).toHex(), leaves[256]);
  equal((await (await get("tile/0/000.p/7")).bytes()).toHex(), leaves.slice(0, 7).join(""));
  const level1 = (await (await get("tile/1/000.p/1")).bytes()).toBase64();
  equal(level1, rootOf(leaves.slice(0, 256)));
  const entries = new TextDecoder().decode(await (await get("tile/entries/000.p/2")).bytes());
  equal(entries.slice(2), `${body.items[0]?.line}${entries.slice(2).slice(body.items[0]?.line.length ?? 0)}`);
  ok(entries.endsWith(body.items[1]?.line ?? "?"));
  for (const path of ["tile/0/999", "tile/9/000", "tile/0/0", "tile/0/%30%30%30", "tile//0/000", "none"]) {
    const response = await get(path);
    equal(response.status, 404, path);
    await response.body?.cancel();
  }
  const checkpoint = await (await get("checkpoint")).text();
  openCheckpoint(checkpoint, [parseVerifierKey(await readKeys(airlock))]);
  equal((await fetch(`${airlock.url}/v1/ledger/checkpoint`, { method: "HEAD" })).status, 401);
});

Deno.test("an exported stretch leads to the signed root, whatever its ends", async () => {
  await using airlock = await Airlock.start();
  const keys = [parseVerifierKey(await readKeys(airlock))];
  const size = await readSize(airlock);
  for (const [from, to] of [[0, size], [1, 3], [size - 1, size]] as const) {
    const text = await readText(airlock, `/v1/ledger/export?from=${from}&to=${to}`);
    const [head = "", ...lines] = text.split("\n").slice(0, -1);
    const header = bundleHeaderSchema.parse(JSON.parse(head));
    equal(lines.length, to - from);
    const frontier = new Frontier();
    const append = (hashes: readonly string[], start: number, end: number) =>
      coverRange(start, end).forEach(({ level }, at) =>
        frontier.appendSubtree(Uint8Array.fromBase64(hashes[at] ?? "").toHex(), level)
      );
    append(header.left, 0, from);
    for (const line of lines) frontier.append(hashLeaf(line));
    append(header.right, to, header.size);
    equal(openCheckpoint(header.checkpoint, keys).checkpoint.rootHash, frontier.rootHash());
  }
  const whole = await readText(airlock, "/v1/ledger/export");
  equal(whole.split("\n").length, size + 2);
});

Deno.test("shredded commitments are gone and every proof still holds", async () => {
  await using airlock = await Airlock.start();
  await airlock.call("hello", "greet", { name: "Ada" });
  const index = await findEntry(airlock, "call.accepted", 0);
  const path = `/v1/ledger/commitments/${index}`;
  const size = await readSize(airlock);
  const { body: before, headers } = await airlock.request<{ items: { field: string; value: string }[] }>(
    "GET",
    path,
  );
  const opened = await findEntry(airlock, "commitment.opened", size);
  const shown = openBase64(headers.get("airlock-checkpoint"), await readKeys(airlock));
  ok(opened !== undefined && shown.size > opened, `${opened} in ${shown.size}`);
  deepEqual(before.items.map(({ field, value }) => [field, atob(value)]), [[
    "inputCommitment",
    '{"name":"Ada"}',
  ]]);
  const deletions = await Promise.all(
    Array.from({ length: 5 }, () => airlock.request<{ deleted: number }>("DELETE", path)),
  );
  deepEqual(deletions.map(({ body }) => body.deleted).toSorted(), [0, 0, 0, 0, 1]);
  const { body: after } = await airlock.request("GET", path);
  deepEqual(after, { index, items: [] });
  const told = (await airlock.records()).filter(({ type }) => type === "commitment.deleted");
  deepEqual(told.map(({ data }) => data), [{ entry: index, fields: ["inputCommitment"] }]);
  match(told[0]?.actor ?? "", /^token:/);
  const proof = parseTlogProof(await readText(airlock, `/v1/ledger/proofs/inclusion/${index}`));
  equal(proof.index, index);
});
