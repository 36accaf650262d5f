import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { HeldLane } from "../../sandbox/testing_lane.ts";
import { SlowLane } from "../../sandbox/slow_lane.ts";
import { checkJsonBytes, parseJsonBytes, readBody } from "./json_body.ts";
import { serveApi } from "./serve.ts";
import { bearer, createTestingKernel } from "./testing_kernel.ts";

const limits = { bodyBytesMax: 16, bodyTimeoutMs: 10_000 };
const json = { "content-type": "application/json" };

function post(body: BodyInit | null, headers: Record<string, string> = json): Request {
  return new Request("http://localhost/", { method: "POST", body, headers });
}

/** A body of undeclared length, in these pieces; one that is left open never ends. */
function pieces(parts: string[], { open = false } = {}): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      if (!open) controller.close();
    },
  });
}

async function codeOf(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
  } catch (error) {
    if (error instanceof ProblemError) return error.code;
    throw error;
  }
  return "none";
}

Deno.test("readBody() returns the bytes as they came", async () => {
  assert.deepEqual(await readBody(post("[1, 2]"), limits), new TextEncoder().encode("[1, 2]"));
  const declared = post("[1, 2]", { ...json, "content-length": "6" });
  assert.deepEqual(await readBody(declared, limits), new TextEncoder().encode("[1, 2]"));
  assert.deepEqual(
    await readBody(post(pieces(["[1", ", ", "2]"])), limits),
    new TextEncoder().encode("[1, 2]"),
  );
});

Deno.test("readBody() keeps many small pieces in one buffer", async () => {
  const parts = Array.from({ length: 10_000 }, () => "7");
  const bytes = await readBody(post(pieces(parts)), { ...limits, bodyBytesMax: 10_000 });
  assert.equal(bytes.length, 10_000);
  assert.equal(bytes.buffer.byteLength, 10_000);
});

Deno.test("readBody() takes no body for one without a content type", async () => {
  for (const request of [post(null, {}), post(pieces([]), {}), post("", { "content-length": "0" })]) {
    assert.equal((await readBody(request, limits)).length, 0);
  }
});

Deno.test("readBody() accepts application/json in UTF-8 and no other content type", async () => {
  const table: [type: string | undefined, code: string][] = [
    ["application/json", "none"],
    ["Application/JSON; charset=utf-8", "none"],
    ['application/json;charset="UTF-8"', "none"],
    [undefined, "UNSUPPORTED_MEDIA_TYPE"],
    ["", "UNSUPPORTED_MEDIA_TYPE"],
    ["text/plain", "UNSUPPORTED_MEDIA_TYPE"],
    ["text/json", "UNSUPPORTED_MEDIA_TYPE"],
    ["application/jsonp", "UNSUPPORTED_MEDIA_TYPE"],
    ["application/x-www-form-urlencoded", "UNSUPPORTED_MEDIA_TYPE"],
    ["application/json; charset=latin1", "UNSUPPORTED_MEDIA_TYPE"],
    ["application/json, text/plain", "UNSUPPORTED_MEDIA_TYPE"],
    ["text/plain; application/json", "UNSUPPORTED_MEDIA_TYPE"],
  ];
  for (const [type, code] of table) {
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    const bytes = new TextEncoder().encode("{}");
    assert.equal(
      await codeOf(readBody(post(bytes, { ...headers, "content-length": "2" }), limits)),
      code,
      type,
    );
    assert.equal(await codeOf(readBody(post(pieces(["{}"]), headers), limits)), code, type);
  }
});

Deno.test("readBody() refuses a declared length over the limit before it reads a byte", async () => {
  const request = post(pieces(["x"], { open: true }), { ...json, "content-length": "17" });
  assert.equal(await codeOf(readBody(request, limits)), "BODY_TOO_LARGE");
  assert.equal(request.bodyUsed, false);
});

Deno.test("readBody() cuts a body of undeclared length at the limit", async () => {
  assert.equal(await codeOf(readBody(post(pieces(["12345678", "12345678"])), limits)), "none");
  const over = pieces(["12345678", "123456789"], { open: true });
  assert.equal(await codeOf(readBody(post(over), limits)), "BODY_TOO_LARGE");
});

Deno.test("readBody() gives a body up that does not arrive in time", async () => {
  const soon = { ...limits, bodyTimeoutMs: 1 };
  assert.equal(await codeOf(readBody(post(pieces(["{"], { open: true })), soon)), "BODY_TIMEOUT");
  const declared = post(pieces(["{"], { open: true }), { ...json, "content-length": "2" });
  assert.equal(await codeOf(readBody(declared, soon)), "BODY_TIMEOUT");
});

Deno.test("readBody() tells a lost connection from a bug", async () => {
  const lost = () => new ReadableStream({ start: (controller) => controller.error(new Error("reset")) });
  assert.equal(await codeOf(readBody(post(lost()), limits)), "CANCELLED");
  assert.equal(await codeOf(readBody(post(lost(), { ...json, "content-length": "2" }), limits)), "CANCELLED");
});

Deno.test("parseJsonBytes() refuses all that is not one JSON value in UTF-8", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  assert.deepEqual(parseJsonBytes(encode(' {"a":["\\u0000","é"]} ')), { a: ["\0", "é"] });
  const refused = ["", " ", "{", "1 2", "1,", "{}{}", "NaN", "'a'", "\ufeff{}", '"\n"', "undefined"].map(
    encode,
  );
  refused.push(new Uint8Array([0x22, 0xff, 0x22]), new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]));
  for (const bytes of refused) {
    assert.throws(() => parseJsonBytes(bytes), { name: "ProblemError", code: "MALFORMED_JSON" });
  }
});

Deno.test("serveApi() answers a client that is still sending 100 MB, and takes its next request", async () => {
  const kernel = createTestingKernel({ config: { http: { bodyBytesMax: 1_048_576 } } });
  const server = serveApi({ kernel, host: "127.0.0.1", port: 0, swaggerUiFolder: "/nowhere" });
  const url = `http://127.0.0.1:${server.port}/v1/plugins/hello/actions/greet`;
  const headers = { ...bearer("invoker"), ...json };
  const chunk = new Uint8Array(1_000_000).fill(0x20);
  const chunked = () => ReadableStream.from(Array.from({ length: 100 }, () => chunk));
  for (const body of [new Uint8Array(100_000_000), chunked()]) {
    const response = await fetch(url, { method: "POST", headers, body });
    assert.equal(response.status, 413);
    assert.equal((await response.json()).code, "BODY_TOO_LARGE");
  }
  const after = await fetch(url, { method: "POST", headers, body: '{"n":1}' });
  assert.deepEqual((await after.json()).output, { n: 1 });
  assert.equal(kernel.calls.length, 1);
  await server.shutdown();
  await server.finished;
});

Deno.test("serveApi() answers BODY_TIMEOUT to a client that stops sending", async () => {
  const kernel = createTestingKernel({ config: { http: { bodyTimeoutMs: 50 } } });
  const server = serveApi({ kernel, host: "127.0.0.1", port: 0, swaggerUiFolder: "/nowhere" });
  for (const framing of ["content-length: 5\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"]) {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await client.write(new TextEncoder().encode(
      "POST /v1/plugins/hello/actions/greet HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
        `authorization: ${bearer("invoker").authorization}\r\n${framing}`,
    ));
    const buffer = new Uint8Array(4_096);
    const answer = new TextDecoder().decode(buffer.subarray(0, await client.read(buffer) ?? 0));
    assert.match(answer, /^HTTP\/1\.1 408 [^]*"code":"BODY_TIMEOUT"/);
  }
  await server.shutdown();
  await server.finished;
});

Deno.test("serveApi() takes a body whatever the Host is", async () => {
  const server = serveApi({
    ...{ kernel: createTestingKernel(), host: "127.0.0.1", port: 0, swaggerUiFolder: "/nowhere" },
  });
  for (const host of ["[", ":", "%00", "x@y", "a/b", "[::1]:99999"]) {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await client.write(new TextEncoder().encode(
      `POST /v1/plugins/hello/stop HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n` +
        `authorization: ${bearer("operator").authorization}\r\ncontent-length: 0\r\n\r\n`,
    ));
    const buffer = new Uint8Array(4_096);
    const answer = new TextDecoder().decode(buffer.subarray(0, await client.read(buffer) ?? 0));
    assert.match(answer, /^HTTP\/1\.1 (?:200|400|404) /, host);
  }
  await server.shutdown();
  await server.finished;
});

Deno.test("checkJsonBytes() takes one JSON value of any size, and nothing else", async () => {
  const { signal } = new AbortController();
  const check = (text: string) =>
    codeOf(checkJsonBytes(new TextEncoder().encode(text), { lane: new SlowLane() }, signal));
  const long = "x".repeat(100_000);
  assert.deepEqual(await Promise.all([`"x"`, `"${long}"`].map(check)), ["none", "none"]);
  const bad = [`"x`, `"${long}`, `"${long}",`].map(check);
  assert.deepEqual(await Promise.all(bad), ["MALFORMED_JSON", "MALFORMED_JSON", "MALFORMED_JSON"]);
});

Deno.test("checkJsonBytes() has a large body wait for the lane, a small one never, and gives up with its caller", async () => {
  const lane = new HeldLane();
  const caller = new AbortController();
  const bytes = new TextEncoder().encode(`"${"x".repeat(100_000)}"`);
  await checkJsonBytes(bytes.slice(-1).fill(0x31), { lane }, caller.signal);
  assert.equal(lane.asked, 0);
  const checking = codeOf(checkJsonBytes(bytes, { lane }, caller.signal));
  caller.abort();
  lane.release();
  assert.equal(await checking, "CANCELLED");
  assert.equal(lane.asked, 1);
});
