/**
 * Invariant: typed at every boundary. What does not fit is refused, told apart, and harms nothing.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { encodeFrame } from "../../sandbox/frame.ts";
import { LiveCell } from "../../sandbox/live_cell.ts";
import { readMessages } from "../../sandbox/warden/lines.ts";
import type { Problem, ProblemCode } from "../../schemas/problem.ts";
import {
  fromWardenSchema,
  kernelBootSchema,
  toWardenSchema,
  wardenLineBytesMax,
} from "../../schemas/warden_protocol.ts";
import { Airlock, manifest, until } from "../support/airlock.ts";

const schema = {
  type: "object",
  properties: { n: { type: "integer" } },
  required: ["n"],
  additionalProperties: false,
};
const strict = {
  "plugin.jsonc": manifest("strict", {
    actions: { run: { input: schema, output: schema }, wrong: { output: schema }, wide: { input: schema } },
  }),
  "mod.ts": `export const actions = {
    run: (input) => input, wrong: () => ({ n: "one" }), wide: () => ({}),
  };`,
};

/** Ten faults, each in another key. */
const faulty = `{
  "id": "Faulty_Plugin",
  "version": "1",
  "airlock": "whenever",
  "entrypoint": "../mod.ts",
  "licence": "MIT",
  "tier": "tools",
  "kind": "ai",
  "actions": { "1run": {} },
  "limits": { "memoryMb": 1 },
  "idleMs": "long",
  "reuse": "never"
}`;

const json = { "content-type": "application/json" };
const run = "/v1/plugins/strict/actions/run";
const greet = "/v1/plugins/hello/actions/greet";

const job = { plugin: "strict", action: "run", input: { n: 1 } };
const nested = (depth: number): unknown =>
  depth === 0 ? { ...job, id: "deep" } : { parallel: [[nested(depth - 1)]] };

type Case = [
  what: string,
  code: ProblemCode,
  status: number,
  method: string,
  path: string,
  body: unknown,
  headers?: Record<string, string>,
];

const badRequests: Case[] = [
  ["not JSON", "MALFORMED_JSON", 400, "POST", run, "{", json],
  ["two values", "MALFORMED_JSON", 400, "POST", run, "{} {}", json],
  ["not UTF-8", "MALFORMED_JSON", 400, "POST", run, new Uint8Array([0x22, 0xff, 0x22]), json],
  ["a byte order mark", "MALFORMED_JSON", 400, "POST", run, '\ufeff{"n":1}', json],
  ["a form", "UNSUPPORTED_MEDIA_TYPE", 415, "POST", run, "n=1", {
    "content-type": "application/x-www-form-urlencoded",
  }],
  ["no content type", "UNSUPPORTED_MEDIA_TYPE", 415, "POST", run, new TextEncoder().encode('{"n":1}')],
  ["another character set", "UNSUPPORTED_MEDIA_TYPE", 415, "POST", run, '{"n":1}', {
    "content-type": "application/json; charset=utf-16",
  }],
  ["input outside the schema", "INPUT_INVALID", 422, "POST", run, { n: 1.5 }],
  ["a key too many", "INPUT_INVALID", 422, "POST", run, { n: 1, m: 1 }],
  ["output outside the schema", "OUTPUT_INVALID", 502, "POST", "/v1/plugins/strict/actions/wrong", {}],
  ["an unknown plugin", "PLUGIN_NOT_FOUND", 404, "POST", "/v1/plugins/strikt/actions/run", {}],
  ["an unknown action", "ACTION_NOT_FOUND", 404, "POST", "/v1/plugins/strict/actions/constructor", {}],
  ["an unknown verb", "NOT_FOUND", 404, "POST", "/v1/plugins/strict/explode", undefined],
  ["a method that is not taken", "METHOD_NOT_ALLOWED", 405, "DELETE", "/v1/plugins", undefined],
  ["a role that does not exist", "INPUT_INVALID", 422, "POST", "/v1/tokens", { name: "x", role: "root" }],
  ["a key that does not exist", "INPUT_INVALID", 422, "POST", "/v1/tokens", {
    name: "x",
    role: "viewer",
    admin: true,
  }],
  ["a grant of the wrong type", "INPUT_INVALID", 422, "PUT", "/v1/plugins/strict/grants", { read: "/etc" }],
  ["a job with a key too many", "INPUT_INVALID", 422, "POST", "/v1/jobs", { ...job, prioriti: 1 }],
  ["a job that is never due", "INPUT_INVALID", 422, "POST", "/v1/jobs", { ...job, runAt: "tomorrow" }],
  ["a job with no attempt", "INPUT_INVALID", 422, "POST", "/v1/jobs", { ...job, retry: { attempts: 0 } }],
  ["a job of an unknown action", "ACTION_NOT_FOUND", 404, "POST", "/v1/jobs", { ...job, action: "toString" }],
  ["an unknown job", "JOB_NOT_FOUND", 404, "POST", "/v1/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel", undefined],
  ["what is no id of a job", "JOB_NOT_FOUND", 404, "POST", "/v1/jobs/none/retry", undefined],
  ["a plan without steps", "INPUT_INVALID", 422, "POST", "/v1/pipelines", { steps: [] }],
  ["a plan that nests too deep", "INPUT_INVALID", 422, "POST", "/v1/pipelines", { steps: [nested(40)] }],
  ["a schedule of no time", "INPUT_INVALID", 422, "POST", "/v1/schedules", {
    ...job,
    name: "x",
    cron: "61 * * * *",
  }],
  ["a limit out of range", "INPUT_INVALID", 422, "GET", "/v1/ledger/entries?limit=1001", undefined],
];

Deno.test("typed at every boundary: HTTP refuses what does not fit, and records each refused act", async () => {
  await using airlock = await Airlock.start({
    plugins: { strict, faulty: { "plugin.jsonc": faulty, "mod.ts": "" } },
  });
  for (const [what, code, status, method, path, body, headers] of badRequests) {
    const before = (await airlock.records()).length;
    const answer = await airlock.request<Problem>(method, path, body, headers);
    deepEqual([answer.status, answer.body.code, answer.body.status], [status, code, status], what);
    equal(answer.headers.get("content-type"), "application/problem+json", what);
    match(answer.body.detail, /^Cannot /, what);
    if (method === "GET") continue;
    const written = (await airlock.records()).slice(before);
    ok(
      written.some(({ type, data }) => /\.(?:refused|failed)$/.test(type) && data["code"] === code),
      `${what}: ${JSON.stringify(written)}`,
    );
  }
  deepEqual(await airlock.call("strict", "run", { n: 1 }), { n: 1 });

  const rejected = (await airlock.request<
    {
      items: {
        standing: string;
        lastError: { errors?: { path: string; line?: number; message: string }[] } | null;
      }[];
    }
  >("GET", "/v1/plugins"))
    .body.items.find(({ standing, lastError }) =>
      standing === "rejected" && lastError?.errors !== undefined && lastError.errors.length > 3
    );
  const faults = rejected?.lastError?.errors ?? [];
  ok(faults.length >= 10, JSON.stringify(faults));
  for (const { line } of faults) ok(line !== undefined && line > 1);
  match(faults.find(({ path }) => path === "/licence")?.message ?? "", /license/);
});

Deno.test("typed at every boundary: a body of 100 MB is refused while it is sent", async () => {
  await using airlock = await Airlock.start();
  const chunk = new Uint8Array(1_048_576).fill(0x20);
  let sent = 0;
  const stream = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent++ === 100) return controller.close();
        controller.enqueue(chunk);
      },
    });
  const send = (body: BodyInit) =>
    fetch(`${airlock.url}${greet}`, {
      method: "POST",
      body,
      headers: { ...json, authorization: `Bearer ${airlock.token}` },
    });
  const [response] = await Promise.allSettled([send(stream())]);
  // A server may close on a sender that does not stop: then there is no answer to read.
  if (response.status === "fulfilled") {
    equal((await response.value.json()).code, "BODY_TOO_LARGE");
  }
  ok(sent < 100, `${sent} MB were taken`);
  const declared = await airlock.request<Problem>("POST", greet, " ".repeat(17_000_000), json);
  deepEqual([declared.status, declared.body.code], [413, "BODY_TOO_LARGE"]);
  await airlock.call("hello", "greet", { name: "x" });
});

/** What a stranger on the cells' socket may try. */
const greetings: [string, Uint8Array][] = [
  ["nothing but bytes", new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
  ["a frame that claims 4 GB", new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 2, 0x7b, 0x7d])],
  ["a frame of no length", new Uint8Array([0, 0, 0, 0])],
  ["an envelope longer than its frame", new Uint8Array([0, 0, 0, 4, 0xff, 0xff, 0x7b, 0x7d])],
  ["an envelope that is not JSON", new Uint8Array([0, 0, 0, 4, 0, 2, 0x7b, 0x5b])],
  ["an unknown message", encodeFrame({ type: "admin", token: "0" })],
  ["a result before a greeting", encodeFrame({ type: "result", id: 1 }, new TextEncoder().encode("1"))],
  [
    "a token that is not expected",
    encodeFrame({ type: "hello", protocol: { major: 1, minor: 0 }, token: "0".repeat(64) }),
  ],
  [
    "a key too many",
    encodeFrame({ type: "hello", protocol: { major: 1, minor: 0 }, token: "0", role: "admin" }),
  ],
];

Deno.test("typed at every boundary: the cells' socket drops who does not greet as a cell", async () => {
  await using airlock = await Airlock.start();
  const connect = () => Deno.connect({ transport: "unix", path: `${airlock.runFolder}/s` });
  for (const [what, bytes] of greetings) {
    using connection = await connect();
    await connection.write(bytes);
    equal(await readToEnd(connection), 0, what);
  }
  using old = await connect();
  await old.write(encodeFrame({ type: "hello", protocol: { major: 0, minor: 9 }, token: "0" }));
  ok(await readToEnd(old) > 0, "another major version is told what to upgrade");
  using silent = await connect();
  equal(await readToEnd(silent), 0, "one that says nothing is dropped");
  await airlock.call("hello", "greet", { name: "x" });
});

async function readToEnd(connection: Deno.Conn): Promise<number> {
  const chunk = new Uint8Array(1_024);
  const startedMs = performance.now();
  let bytes = 0;
  for (;;) {
    const read = await connection.read(chunk).catch(() => null);
    ok(performance.now() - startedMs < 5_000);
    if (read === null) return bytes;
    bytes += read;
  }
}

/** What a cell that was taken over may send after its greeting. */
const answers: [string, Uint8Array][] = [
  ["a frame that claims 4 GB", new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 2, 0x7b, 0x7d])],
  ["an unknown message", encodeFrame({ type: "listening", port: 1 })],
  ["a second greeting", encodeFrame({ type: "hello", protocol: { major: 1, minor: 0 }, token: "0" })],
  ["a code of the kernel's own", encodeFrame({ type: "error", id: 1, code: "FORBIDDEN", message: "x" })],
  [
    "a token for a call without a stream",
    encodeFrame({ type: "token", id: 1 }, new TextEncoder().encode("1")),
  ],
];

for (const [what, bytes] of answers) {
  Deno.test(`typed at every boundary: a cell that sends ${what} is killed, and its call fails`, async () => {
    const folder = await Deno.makeTempDir();
    using listener = Deno.listen({ transport: "unix", path: `${folder}/s` });
    using far = await Deno.connect({ transport: "unix", path: `${folder}/s` });
    const killed = Promise.withResolvers<void>();
    const cell = new LiveCell({
      ...{
        cell: "1",
        plugin: "taken-over",
        frameBytesMax: 65_536,
        outputBytesMax: 65_536,
        queueBytesMax: 65_536,
      },
      ...{ streamWindowChars: 1_024, abortGraceMs: 10, messagesPerSecond: 1_000, kill: killed.resolve },
      ...{ suspend() {}, resume() {}, onCall() {}, onLog() {} },
    });
    cell.connect(await listener.accept(), new TextEncoder().encode("{}"));
    await far.write(encodeFrame({ type: "ready" }));
    await cell.ready;
    const { signal } = new AbortController();
    const call = cell.call({
      action: "run",
      request: "1",
      input: new TextEncoder().encode("{}"),
      wallMs: 60_000,
      signal,
    });
    await far.write(bytes);
    await killed.promise;
    cell.over({ exitCode: 137, signal: "SIGKILL", killed: "asked", detail: "", calls: [] });
    await rejects(call, { code: "PLUGIN_CRASHED" });
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("typed at every boundary: the warden and the kernel end at a line that is not theirs", async () => {
  const lines: [string, string][] = [
    ["not JSON", "{"],
    ["a program to run", '{"type":"run","program":"/bin/sh"}'],
    ["a signal that is not offered", '{"type":"signal","cell":"1","signal":"SIGTERM"}'],
    ["a process that is no cell", '{"type":"kill","cell":"../1"}'],
    ["a key too many", '{"type":"kill","cell":"1","pid":1}'],
    ["no type", "{}"],
    ["a number", "1"],
  ];
  for (const [what, line] of lines) {
    await rejects(firstMessage(`${line}\n`, toWardenSchema), what);
    await rejects(firstMessage(`${line}\n`, fromWardenSchema), what);
    await rejects(firstMessage(`${line}\n`, kernelBootSchema), what);
  }
  await rejects(firstMessage("x".repeat(wardenLineBytesMax + 1), toWardenSchema), RangeError);
  deepEqual(await firstMessage('{"type":"drained"}\n', toWardenSchema), { type: "drained" });
});

async function firstMessage<T>(
  text: string,
  messages: Parameters<typeof readMessages<T>>[1],
): Promise<T | undefined> {
  const bytes = new Blob([text]).stream();
  return (await readMessages(bytes, messages, wardenLineBytesMax).next()).value ?? undefined;
}

Deno.test("typed at every boundary: a kernel that breaks the protocol is replaced", async () => {
  await using airlock = await Airlock.start({
    plugins: { strict },
  });
  const pid = await airlock.kernelPid();
  // As root a test can write to the pipe that the kernel writes to; a kernel that was taken over could too.
  await Deno.writeTextFile(`/proc/${pid}/fd/1`, '{"type":"run","program":"/bin/sh"}\n');
  await until("another kernel", async () => {
    try {
      return await airlock.kernelPid() !== pid;
    } catch {
      return false; // between the two lives
    }
  });
  match(airlock.output.stderr, /The kernel broke the protocol and is killed/);
  deepEqual(await airlock.call("strict", "run", { n: 1 }), { n: 1 });
});
