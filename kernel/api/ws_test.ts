import assert from "node:assert/strict";
import { askUpgrade, serveWs, TestingClient, upgradeHeaders } from "./ws/testing_client.ts";
import { bearer } from "./testing_kernel.ts";
import { idleTimeoutS } from "./ws.ts";

const own: [string, string] = ["Host", "localhost"];
const authorized: [string, string] = ["Authorization", bearer("viewer").authorization];

Deno.test("registerWs() selects airlock.v1, and never sends a token back beside another protocol", async () => {
  await using server = serveWs();
  const rows: [offer: string | null, withHeader: boolean, selected: string | null][] = [
    [null, true, null],
    ["airlock.v1", true, "airlock.v1"],
    ["airlock.v1, bearer.secret-viewer", false, "airlock.v1"],
    ["bearer.secret-viewer,airlock.v1", false, "airlock.v1"],
    ["airlock.v1, secret-viewer", false, "airlock.v1"],
    ["other.v1, bearer.secret-viewer", false, "other.v1"],
    ["bearer.secret-viewer", false, "bearer.secret-viewer"],
    ["secret-viewer", false, "secret-viewer"],
  ];
  for (const [offer, withHeader, selected] of rows) {
    const { status, headers } = await askUpgrade(server.port, [
      ...upgradeHeaders,
      own,
      ...(offer === null ? [] : [["Sec-WebSocket-Protocol", offer] satisfies [string, string]]),
      ...(withHeader ? [authorized] : []),
    ]);
    assert.deepEqual([status, headers.get("sec-websocket-protocol")], [101, selected], offer ?? "none");
    assert.match(headers.get("airlock-request-id") ?? "", /^[0-9a-f-]{36}$/);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
  }
});

Deno.test("registerWs() refuses whoever has no valid token, and counts it", async () => {
  await using server = serveWs();
  const offers: [string, string][][] = [
    [],
    [["Authorization", "Bearer wrong"]],
    [["Authorization", "Basic c2VjcmV0LWFkbWlu"]],
    [["Sec-WebSocket-Protocol", "airlock.v1"]],
    [["Sec-WebSocket-Protocol", "airlock.v1, bearer.wrong"]],
    [["Sec-WebSocket-Protocol", "airlock.v1, bearer."]],
    [["Sec-WebSocket-Protocol", "airlock.v1, wrong, secret-admin"]],
    [["Cookie", "token=secret-admin"]],
    // A header that is told is the one that counts.
    [["Authorization", "Bearer wrong"], ["Sec-WebSocket-Protocol", "bearer.secret-admin"]],
  ];
  for (const offer of offers) {
    const answer = await askUpgrade(server.port, [...upgradeHeaders, own, ...offer]);
    assert.deepEqual([answer.status, answer.code], [401, "UNAUTHENTICATED"], JSON.stringify(offer));
    assert.equal(answer.headers.get("www-authenticate"), 'Bearer realm="airlock"');
  }
  assert.equal(server.kernel.refusedTokens.count, offers.length);
  assert.deepEqual([server.readers.count, server.kernel.refusals], [0, []]);
});

Deno.test("registerWs() refuses another page's origin and another's name, and records it", async () => {
  const streams = { origins: ["https://console.example"], hosts: ["air.example", "lock.example:8443"] };
  await using server = serveWs({ config: { host: "10.1.2.3", streams } });
  const rows: [host: string | null, origin: string | null, status: number][] = [
    ["localhost", null, 101],
    ["LOCALHOST:1", null, 101],
    ["127.0.0.1:8787", "http://127.0.0.1:8787", 101],
    ["[::1]:8787", "https://[::1]:8787", 101],
    ["10.1.2.3", null, 101],
    ["10.1.2.3:99", "http://10.1.2.3:99", 101],
    ["air.example", "https://air.example", 101],
    ["air.example:80", null, 101],
    ["lock.example:8443", null, 101],
    ["localhost", "https://console.example", 101],
    ["lock.example", null, 403],
    ["lock.example:80", null, 403],
    ["evil.example", null, 403],
    ["evil.example", "http://evil.example", 403],
    ["localhost.evil.example", null, 403],
    ["127.0.0.1.evil.example:8787", null, 403],
    ["user@localhost", null, 403],
    ["localhost", "http://evil.example", 403],
    ["localhost", "null", 403],
    ["localhost", "", 403],
    ["localhost", "http://localhost:1", 403],
    ["localhost:8787", "http://localhost", 403],
    ["localhost", "ws://localhost", 403],
    ["localhost", "http://localhost.evil.example", 403],
    ["localhost", "https://console.example.evil.example", 403],
    ["localhost", "http://console.example", 403],
  ];
  let refused = 0;
  for (const [host, origin, status] of rows) {
    const answer = await askUpgrade(server.port, [
      ...upgradeHeaders,
      authorized,
      ...(host === null ? [] : [["Host", host] satisfies [string, string]]),
      ...(origin === null ? [] : [["Origin", origin] satisfies [string, string]]),
    ]);
    // Deno itself refuses a name that is none.
    assert.ok(
      answer.status === status || (answer.status === 400 && status === 403),
      `${host} ${origin}: ${answer.status}`,
    );
    if (answer.status !== 403) continue;
    refused++;
    assert.equal(answer.code, "FORBIDDEN");
    assert.deepEqual(server.kernel.refusals.at(-1)?.actor, "token:viewer");
  }
  assert.equal(server.kernel.refusals.length, refused);
});

Deno.test("registerWs() answers a request that is no upgrade, and one that comes too early", async () => {
  await using server = serveWs();
  const url = `http://127.0.0.1:${server.port}/v1/ws`;
  const plain = await fetch(url, { headers: bearer("viewer") });
  assert.deepEqual([plain.status, (await plain.json()).code], [426, "UPGRADE_REQUIRED"]);
  assert.deepEqual([plain.headers.get("upgrade"), plain.headers.get("connection")], ["websocket", "upgrade"]);
  const head = await fetch(url, { method: "HEAD", headers: bearer("viewer") });
  assert.equal(head.status, 426);
  const other = await askUpgrade(server.port, [
    ["Upgrade", "h2c"],
    ["Connection", "Upgrade"],
    own,
    authorized,
  ]);
  assert.deepEqual([other.status, other.code], [426, "UPGRADE_REQUIRED"]);
  const noKey = await askUpgrade(server.port, [
    ...upgradeHeaders.filter(([name]) => name !== "Sec-WebSocket-Key"),
    own,
    authorized,
  ]);
  assert.deepEqual([noKey.status, noKey.code], [422, "INPUT_INVALID"]);
  for (const status of ["starting", "draining"] as const) {
    server.kernel.state.status = status;
    const early = await askUpgrade(server.port, [...upgradeHeaders, own, authorized]);
    assert.deepEqual([early.status, early.code, early.headers.get("retry-after")], [503, "NOT_READY", "1"]);
  }
  assert.equal(server.readers.count, 0);
});

Deno.test("registerWs() gives each connection a place, and refuses one above streams.readersMax", async () => {
  await using server = serveWs({ config: { streams: { readersMax: 2 } } });
  const first = await server.ready();
  await using second = await server.ready();
  assert.deepEqual([server.connections.count, server.readers.count], [2, 2]);
  const third = new TestingClient(server.port);
  await assert.rejects(third.opened);
  const refused = await askUpgrade(server.port, [...upgradeHeaders, own, authorized]);
  assert.deepEqual([refused.status, refused.code], [503, "QUEUE_FULL"]);
  await first[Symbol.asyncDispose]();
  await using fourth = await server.ready();
  assert.deepEqual([second.texts, fourth.texts], [[], []]);
});

// Deno's own 15 seconds would cut who takes a long message at the slowest rate that is allowed.
Deno.test("idleTimeoutS() lets a slow client take what lies in the system's buffers before it answers a ping", () => {
  assert.equal(idleTimeoutS({ readerTimeoutMs: 30_000 }), 2 * (30 + 64));
  assert.equal(idleTimeoutS({ readerTimeoutMs: 1 }), 2 * 65);
});
