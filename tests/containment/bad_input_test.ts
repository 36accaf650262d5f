/**
 * Bad input: each gets its status and code, an entry where an act was refused, and nothing else is lost.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Problem, ProblemCode } from "../../schemas/problem.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";

const strict = `
export const actions = {
  echo: (input) => input,
  double: ({ n }) => ({ n: 2 * n }),
  lie: () => ({ n: "two", more: [] }),
  map: (input) => input,
  tree: () => 1,
  list: () => 1,
  constructor: () => "constructed",
};
`;
const number = {
  type: "object",
  properties: { n: { type: "integer" } },
  required: ["n"],
  additionalProperties: false,
};
const strictActions = {
  echo: {},
  double: { input: number, output: number },
  lie: { output: number },
  map: { input: { type: "object", additionalProperties: { type: "number" } } },
  list: { input: { type: "array", items: { type: "string" } } },
  tree: {
    input: { $ref: "#/$defs/tree", $defs: { tree: { type: "array", items: { $ref: "#/$defs/tree" } } } },
  },
};

function start(more: Parameters<typeof Airlock.start>[0] = {}): Promise<Airlock> {
  return Airlock.start({
    args: ["--tier", "process"],
    plugins: { strict: { "plugin.jsonc": manifest("strict", { actions: strictActions }), "mod.ts": strict } },
    ...more,
  });
}

async function checkWorks(airlock: Airlock): Promise<void> {
  deepEqual(await airlock.call("strict", "double", { n: 4 }), { n: 8 });
}

interface BadRequest {
  readonly path: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly code: ProblemCode;
  /** What the ledger calls it; absent where nothing was refused but a look. */
  readonly entry?: "request.refused" | "call.refused" | "call.failed";
}

const json = { "content-type": "application/json" };
const echo = "/v1/plugins/strict/actions/echo";
const act = (action: string, plugin = "strict") => `/v1/plugins/${plugin}/actions/${action}`;
const malformed: readonly BadRequest[] = [
  ...["{", "{}{}", "undefined", "'x'", "{n:1}", "\uFEFF{}", "NaN", '{"a":1,}', "\u0000", "[".repeat(100_000)]
    .map((
      body,
    ): BadRequest => ({
      ...{ path: echo, body, headers: json, status: 400, code: "MALFORMED_JSON", entry: "request.refused" },
    })),
  // Not UTF-8.
  ...[[0xff], [0x22, 0xc0, 0xaf, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22]].map((bytes): BadRequest => ({
    ...{ path: echo, body: new Uint8Array(bytes), headers: json },
    ...{ status: 400, code: "MALFORMED_JSON", entry: "request.refused" },
  })),
];
const typed = (type: string): Record<string, string> => type === "" ? {} : { "content-type": type };
const types = ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json", "x", ""];
const mistyped: readonly BadRequest[] = types.map((type) => ({
  ...{
    path: echo,
    body: new TextEncoder().encode("{}"),
    headers: typed(type),
  },
  ...{ status: 415, code: "UNSUPPORTED_MEDIA_TYPE", entry: "request.refused" },
}));
const unknown: readonly BadRequest[] = [
  ...["nobody", "__proto__", "constructor", "Strict", "strict.", "-"].map((plugin): BadRequest => ({
    ...{ path: act("echo", plugin), body: "{}", headers: json },
    ...{ status: 404, code: "PLUGIN_NOT_FOUND", entry: "call.refused" },
  })),
  ...["nothing", "__proto__", "constructor", "toString", "hasOwnProperty", "ECHO", "start"].map((
    action,
  ): BadRequest => ({
    ...{ path: act(action), body: "{}", headers: json },
    ...{ status: 404, code: "ACTION_NOT_FOUND", entry: "call.refused" },
  })),
  ...["%73trict/actions/echo", "strict/actions/%65cho", "strict//actions/echo", "../v1/x"].map((
    path,
  ): BadRequest => ({
    ...{ path: `/v1/plugins/${path}`, body: "{}", headers: json },
    ...{ status: 404, code: "NOT_FOUND", entry: "request.refused" },
  })),
];
const misfits: readonly BadRequest[] = [
  ...['{"n":"four"}', '{"n":1.5}', "{}", "[]", "null", '{"n":1,"m":2}', '{"n":1,"__proto__":{"m":1}}'].map((
    body,
  ): BadRequest => ({
    ...{ path: act("double"), body, headers: json, status: 422, code: "INPUT_INVALID", entry: "call.failed" },
  })),
  { path: act("lie"), body: "{}", headers: json, status: 502, code: "OUTPUT_INVALID", entry: "call.failed" },
];

Deno.test("a bad request gets its status, its code and its entry, and the next good one works", async () => {
  await using airlock = await start();
  const requests = [...malformed, ...mistyped, ...unknown, ...misfits];
  for (const { path, body, headers, status, code } of requests) {
    const answer = await airlock.request<Problem>("POST", path, body, headers);
    const shown = JSON.stringify({ path, body, headers });
    deepEqual([answer.status, answer.body.code, shown], [status, code, shown]);
    match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
    match(answer.body.detail, /^Cannot /);
    await checkWorks(airlock);
  }
  const entries = (await airlock.records()).filter(({ type }) => /refused$|^call.failed$/.test(type));
  for (const [index, { path, entry, code }] of requests.entries()) {
    deepEqual([path, entries[index]?.type, entries[index]?.data["code"]], [path, entry, code]);
  }
  equal(entries.length, requests.length);
});

Deno.test("input and output that do not fit name each place where they do not", async () => {
  await using airlock = await start();
  const { errors: inputErrors } = await airlock.fail("strict", "double", { n: "four", m: 1 });
  const inputPaths = inputErrors?.map(({ path }) => path);
  ok(inputPaths?.includes("/m") && inputPaths.includes("/n"), `${inputPaths}`);
  const { code, errors } = await airlock.fail("strict", "lie");
  equal(code, "OUTPUT_INVALID");
  const paths = errors?.map(({ path }) => path);
  ok(paths?.includes("/more") && paths.includes("/n"), `${paths}`);
  // A JSON Pointer, not the fragment of an address.
  const { errors: named } = await airlock.fail("strict", "map", { "naïve key/~%": "x" });
  deepEqual(named?.map(({ path }) => path), ["/naïve key~1~0%"]);
});

// The faults of an input travel in an envelope that has a size, and are found by recursion.
Deno.test("an input with any number of faults, long ones or deep ones, costs no one else's call", async () => {
  await using airlock = await start();
  await checkWorks(airlock);
  const { pid } = await airlock.plugin("strict");
  const long = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [`\u0001\ud800${index}`.repeat(400), "x"]),
  );
  const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  const inputs: [action: string, input: string, faultsMin: number][] = [
    ["map", JSON.stringify(long), 1],
    ["list", JSON.stringify(Array(1_000).fill(1)), 32],
    ["list", JSON.stringify(Array(100_000).fill(1)), 1],
    ["tree", deep(5_000), 1],
    ["tree", deep(200_000), 1],
  ];
  for (const [action, input, faultsMin] of inputs) {
    const startedMs = performance.now();
    const { body } = await airlock.request<Problem>("POST", act(action), input, json);
    equal(body.code, "INPUT_INVALID", `${action}: ${body.detail}`);
    ok((body.errors?.length ?? 0) >= faultsMin && (body.errors?.length ?? 0) <= 32);
    ok(performance.now() - startedMs < 5_000);
  }
  equal((await airlock.plugin("strict")).pid, pid);
});

/** Sends a request by hand and reads the status and problem of its answer, which may come before its end. */
async function sendRaw(
  airlock: Airlock,
  head: string[],
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ status: number; problem: Problem; sentBytes: number }> {
  const { hostname, port } = new URL(airlock.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const lines = [
    `POST ${echo} HTTP/1.1`,
    `Host: ${hostname}`,
    `Authorization: Bearer ${airlock.token}`,
    "Content-Type: application/json",
    ...head,
  ];
  const writeAll = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  };
  await writeAll(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
  let answer = "";
  const reading = (async () => {
    const chunk = new Uint8Array(65_536);
    const decoder = new TextDecoder();
    while (!/\r\n\r\n.*\}$/s.test(answer)) {
      const read = await connection.read(chunk).catch(() => null);
      if (read === null) break;
      answer += decoder.decode(chunk.subarray(0, read), { stream: true });
    }
  })();
  let sentBytes = 0;
  try {
    for await (const chunk of body) {
      if (answer !== "") break;
      await writeAll(chunk);
      sentBytes += chunk.length;
    }
  } catch (error) {
    // The server has answered and closed.
    if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset)) {
      throw error;
    }
  }
  await reading;
  const [, status = "", json = "null"] = /^HTTP\/1\.1 ([0-9]+) .*?\r\n\r\n(.*)$/s.exec(answer) ?? [];
  return { status: Number(status), problem: JSON.parse(json), sentBytes };
}

const bodyBytes = 100 * 1_048_576;

function* pieces(isChunked: boolean): Iterable<Uint8Array> {
  const spaces = new Uint8Array(65_536).fill(0x20);
  const encoder = new TextEncoder();
  for (let sent = 0; sent < bodyBytes; sent += spaces.length) {
    if (isChunked) yield encoder.encode(`${spaces.length.toString(16)}\r\n`);
    yield spaces;
    if (isChunked) yield encoder.encode("\r\n");
  }
  if (isChunked) yield encoder.encode("0\r\n\r\n");
}

function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+([0-9]+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`));
  return Number(match?.[1]) * 1_024;
}

Deno.test("a body of 100 MB is BODY_TOO_LARGE, declared or not, and is not held", async () => {
  await using airlock = await start();
  await checkWorks(airlock);
  const kernel = await airlock.kernelPid();
  const before = residentBytes(kernel);
  for (
    const [head, isChunked] of [[`Content-Length: ${bodyBytes}`, false], [
      "Transfer-Encoding: chunked",
      true,
    ]] as const
  ) {
    const { status, problem, sentBytes } = await sendRaw(airlock, [head], pieces(isChunked));
    deepEqual([head, status, problem.code], [head, 413, "BODY_TOO_LARGE"]);
    ok(sentBytes < bodyBytes, `${head}: all was taken`);
    await checkWorks(airlock);
  }
  ok(residentBytes(kernel) - before < 80_000_000, `${residentBytes(kernel) - before} bytes more`);
  const refused = (await airlock.records()).filter(({ type }) => type === "request.refused");
  deepEqual(refused.map(({ data }) => data["code"]), ["BODY_TOO_LARGE", "BODY_TOO_LARGE"]);
});

Deno.test("a wrong token is UNAUTHENTICATED, a weak one FORBIDDEN, and both are recorded", async () => {
  await using airlock = await start({
    args: ["--tier", "process"],
    config: { ledger: { refusalsWindowMs: 50 } },
    plugins: { strict: { "plugin.jsonc": manifest("strict", { actions: strictActions }), "mod.ts": strict } },
  });
  const headers = [
    "",
    "Bearer",
    "Bearer x",
    "Basic YTpi",
    `Bearer ${airlock.token}x`,
    `bearer  ${"0".repeat(64)}`,
  ];
  for (const authorization of headers) {
    const { status, body } = await airlock.request<Problem>("POST", echo, {}, { authorization });
    deepEqual([authorization, status, body.code], [authorization, 401, "UNAUTHENTICATED"]);
  }
  const created = await airlock.request<{ token: string }>("POST", "/v1/tokens", {
    name: "looks",
    role: "viewer",
  });
  const viewer = { authorization: `Bearer ${created.body.token}` };
  equal((await airlock.request("GET", "/v1/plugins", undefined, viewer)).status, 200);
  for (const path of [echo, "/v1/plugins/strict/stop", "/v1/tokens"]) {
    const { status, body } = await airlock.request<Problem>("POST", path, {}, viewer);
    deepEqual([path, status, body.code], [path, 403, "FORBIDDEN"]);
  }
  await checkWorks(airlock);
  const records = await until("the refused tokens are in the ledger", async () => {
    const found = await airlock.records();
    const refused = found.filter(({ type }) => type === "token.refused");
    const count = refused.reduce((sum, { data }) => sum + Number(data["count"]), 0);
    return count === headers.length ? found : undefined;
  });
  const forbidden = records.filter(({ type }) => type === "request.refused");
  deepEqual(forbidden.map(({ data }) => data["code"]), ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN"]);
});

Deno.test("names of the language are names like any other", async () => {
  await using airlock = await start({
    args: ["--tier", "process"],
    plugins: {
      constructor: {
        "plugin.jsonc": manifest("constructor", { actions: { constructor: {}, toString: {}, valueOf: {} } }),
        "mod.ts":
          `export const actions = { constructor: () => "built", toString: () => "told", valueOf: () => "worth" };`,
      },
    },
  });
  equal(await airlock.call("constructor", "constructor"), "built");
  equal(await airlock.call("constructor", "toString"), "told");
  equal(await airlock.call("constructor", "valueOf"), "worth");
  equal((await airlock.fail("constructor", "hasOwnProperty")).code, "ACTION_NOT_FOUND");
  const { body } = await airlock.request<{ operator: unknown }>("GET", "/v1/plugins/constructor/grants");
  deepEqual(body.operator, {});
  equal((await airlock.request("PUT", "/v1/plugins/constructor/grants", {})).status, 200);
});
