/**
 * Invariant: one gateway, no other way in.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock } from "../support/airlock.ts";
import { descendantsOf, listeningSocketsOf } from "../support/processes.ts";

interface OpenApi {
  paths: Record<string, Record<string, unknown>>;
}

/** Answered without a token: liveness, readiness and the reader of the API. */
const openPaths = ["/healthz", "/readyz", "/openapi.json"];

Deno.test("one gateway: no process listens but the kernel, on its address and its cells' socket", async () => {
  await using airlock = await Airlock.start();
  for (const id of ["hello", "notes", "ngram"]) {
    equal((await airlock.request("POST", `/v1/plugins/${id}/start`)).status, 200);
  }
  const kernel = await airlock.kernelPid();
  const others = [airlock.pid, ...descendantsOf(airlock.pid)].filter((pid) => pid !== kernel);
  ok(others.length >= 4, `${others.length} processes beside the kernel`);
  for (const pid of others) deepEqual(listeningSocketsOf(pid), []);
  const { host } = new URL(airlock.url);
  deepEqual(listeningSocketsOf(kernel).sort(), [`${airlock.runFolder}/s`, host].sort());
});

Deno.test("one gateway: every operation refuses a caller without a valid bearer token", async () => {
  await using airlock = await Airlock.start();
  const { body: document } = await airlock.request<OpenApi>("GET", "/openapi.json");
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) =>
      [method.toUpperCase(), path.replaceAll(/\{[a-z]+\}/gi, "hello")] as const
    )
  ).filter(([, path]) => path.startsWith("/v1/") || path === "/metrics");
  ok(operations.length >= 15, `${operations.length} operations`);
  const { token } = airlock;
  const credentials: Record<string, string>[] = [
    {},
    { authorization: "Bearer " },
    { authorization: `Bearer ${token}x` },
    { authorization: `Basic ${btoa(`admin:${token}`)}` },
    { cookie: `token=${token}; authorization=${token}` },
    { "x-api-key": token, "proxy-authorization": `Bearer ${token}` },
  ];
  for (const [method, path] of operations) {
    for (const headers of credentials) {
      const response = await fetch(`${airlock.url}${path}?token=${token}&access_token=${token}`, {
        method,
        headers: { "content-type": "application/json", ...headers },
        ...(method === "POST" || method === "PUT" ? { body: "{}" } : {}),
      });
      equal((await response.json()).code, "UNAUTHENTICATED", `${method} ${path} ${JSON.stringify(headers)}`);
    }
  }
  for (const path of openPaths) {
    const response = await fetch(`${airlock.url}${path}`);
    await response.body?.cancel();
    equal(response.status, 200, path);
  }
});

Deno.test("one gateway: another spelling of a path leads nowhere", async () => {
  await using airlock = await Airlock.start();
  const spellings = [
    "//v1/plugins",
    "/v1//plugins",
    "/v1/plugins/",
    "/V1/plugins",
    "/v1/%70lugins",
    "/%76%31/plugins",
    "/v1/plugins/hello/../notes",
    "/v1/plugins/hello%2factions%2fgreet",
    "/v1/plugins/..%2f..%2fhealthz",
    "/v1/plugins;a=b",
    "/healthz/../v1/plugins",
    "/docs/../v1/plugins",
    "/docs/..%2f..%2fdeno.json",
    "/docs/%2e%2e/%2e%2e/package.json",
  ];
  for (const path of spellings) {
    const status = await rawStatus(airlock.url, path);
    ok(status === 404 || status === 401 || status === 400, `${path}: ${status}`);
  }
});

/** `fetch` would tidy the path up before it leaves. */
async function rawStatus(url: string, path: string): Promise<number> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(
    new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`),
  );
  const chunk = new Uint8Array(64);
  const read = await connection.read(chunk) ?? 0;
  return Number(new TextDecoder().decode(chunk.subarray(0, read)).split(" ")[1]);
}
