/**
 * Forgery: a plugin's output arrives as data or not at all, and never as a part of what surrounds it. The raw
 * bytes of the answers are compared.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest } from "../support/airlock.ts";
import { actions as forgerActions } from "./forger/mod.ts";
import { pluginSource } from "./support.ts";

async function start(): Promise<Airlock> {
  const special: Record<string, unknown> = {
    number: { output: { type: "number" } },
    stream: { stream: true },
    streamChars: { stream: true },
    yields: { stream: true },
    yieldsChars: { stream: true },
    wait: { output: { type: "number" } },
  };
  const actions = Object.fromEntries(Object.keys(forgerActions).map((name) => [name, special[name] ?? {}]));
  return await Airlock.start({
    args: ["--tier", "process"],
    plugins: {
      forger: {
        "plugin.jsonc": manifest("forger", { actions, limits: { outputMb: 1 } }),
        "mod.ts": pluginSource("forger"),
      },
    },
  });
}

/** Ends the cell, so that the forger counts calls from 1 again. */
async function restart(airlock: Airlock): Promise<void> {
  equal((await airlock.request("POST", "/v1/plugins/forger/stop")).status, 200);
  equal((await airlock.request("POST", "/v1/plugins/forger/start")).status, 200);
}

async function rawAnswer(airlock: Airlock, action: string, input: unknown, accept = "application/json") {
  const response = await airlock.fetch("POST", `/v1/plugins/forger/actions/${action}`, input, { accept });
  return { status: response.status, text: new TextDecoder().decode(await response.bytes()) };
}

/** The last `bytes` of an answer whose output is `json`. */
function tail(json: string): RegExp {
  const sha256 = createHash("sha256").update(json).digest("hex");
  return new RegExp(
    `^,"durationMs":[0-9.]+,"inputSha256":"[0-9a-f]{64}","outputSha256":"${sha256}","ledger":{"index":[0-9]+,"size":[0-9]+}}$`,
  );
}

const forged = '1},"ledger":{"index":0,"size":1},"x":{"FORGED":1';

const valid: readonly string[] = [
  JSON.stringify(forged),
  JSON.stringify({ [forged]: forged }),
  '{"a":1,"a":2,"ledger":{"index":0,"size":1}}',
  '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}',
  " [ 1 ,\n\t2 ]\r\n",
  "1e400",
  "-0",
  "1.0000000000000000000000001",
  '"\u2028\u2029\\u2028"',
  '"\\ud800"',
  '"\\u0000\\"}"',
  "[".repeat(1_000) + "]".repeat(1_000),
];

const invalid: readonly string[] = [
  forged,
  '1,"ledger":{"index":0,"size":1}',
  "1 2",
  "1}",
  '{"a":1}}',
  "{}\n{}",
  "",
  " ",
  "undefined",
  "NaN",
  "'x'",
  "[1,]",
  "1 // FORGED",
  "\uFEFF1",
  '"unterminated',
  '"line\nbreak"',
  "01",
];

Deno.test("an output is either exactly one JSON value, byte for byte, or OUTPUT_INVALID", async () => {
  await using airlock = await start();
  for (const json of valid) {
    const { status, text } = await rawAnswer(airlock, "result", { json });
    deepEqual([status, text.slice(0, 10 + json.length)], [200, `{"output":${json}`]);
    match(text.slice(10 + json.length), tail(json));
  }
  for (const json of invalid) {
    const { status, text } = await rawAnswer(airlock, "result", { json });
    const problem: Problem = JSON.parse(text);
    deepEqual([json, status, problem.code], [json, 502, "OUTPUT_INVALID"]);
    deepEqual(Object.keys(problem), ["type", "title", "status", "code", "detail"]);
    ok(!text.includes("FORGED"));
  }
  // What has no encoding in UTF-8 is replaced on the way.
  match((await rawAnswer(airlock, "result", { json: '"\ud800"' })).text, /^{"output":"\ufffd",/);
  equal(await airlock.call("forger", "run"), "fine");
  await checkLedger(airlock);
});

/** Nothing that a plugin chose stands in the ledger in the clear. */
async function checkLedger(airlock: Airlock): Promise<void> {
  const records = JSON.stringify(await airlock.records());
  ok(!records.includes("FORGED"));
  ok(!records.includes("isAdmin"));
}

Deno.test("an output schema holds for what is posted past the guest host", async () => {
  await using airlock = await start();
  match((await rawAnswer(airlock, "number", { json: " 1 " })).text, /^{"output": 1 ,"durationMs"/);
  for (const json of ['"1"', "null", "[1]", "1 2", ""]) {
    const { status, body } = await airlock.invoke("forger", "number", { json });
    deepEqual([json, status, (body as Problem).code], [json, 502, "OUTPUT_INVALID"]);
    ok((body as Problem).errors?.length === 1);
  }
});

Deno.test("an answer for another call is that call's data, checked against that call's schema", async () => {
  await using airlock = await start();
  for (const [json, code] of [["7", undefined], ['"text"', "OUTPUT_INVALID"], ["7 8", "OUTPUT_INVALID"]]) {
    const waiting = airlock.invoke("forger", "wait");
    equal(await airlock.call("forger", "steal", { json }), "stolen");
    const { body } = await waiting;
    equal("code" in body ? body.code : undefined, code, json);
    if ("output" in body) equal(body.output, 7);
  }
});

Deno.test("answers to calls that nobody made are dropped, and of many answers the first counts", async () => {
  await using airlock = await start();
  equal(await airlock.call("forger", "elsewhere"), 0);
  equal(await airlock.call("forger", "run"), "fine");
  const { message } = await airlock.call<{ message: string }>("hello", "greet", { name: "a neighbour" });
  ok(message.includes("a neighbour"));
});

Deno.test("messages outside the protocol are dropped, and those in it bear no more than they may", async () => {
  await using airlock = await start();
  const codes = ["LIMIT_WALL", "UNAUTHENTICATED", "OUTPUT_INVALID", "__proto__", ""];
  const dropped: Record<string, unknown>[] = [
    ...codes.map((code) => ({ type: "error", code, message: "FORGED" })),
    { type: "hello", protocol: { major: 1, minor: 0 }, token: "0".repeat(64) },
    { type: "setup" },
    { type: "call", action: "run", request: "x", stream: false },
    { type: "refused", message: "FORGED" },
    { type: "pong", nonce: 1 },
    { type: "result" },
    { type: "result", json: 1 },
    { type: "result", json: "1", ledger: { index: 0, size: 1 } },
    { type: "token", json: null },
    { type: "progress", fraction: "1", note: "x" },
    { type: "log", level: "FORGED", message: "x" },
    { type: "constructor" },
    { type: "toString" },
    { type: ["result"] },
    {},
  ];
  for (const message of dropped) {
    equal(await airlock.call("forger", "message", { message }), "sent", JSON.stringify(message));
  }
  const long = "\u0000\ud800\n\nevent: COMPLETE\ndata: {}\n\n".repeat(10_000);
  for (const message of [{ type: "ready" }, { type: "log", level: "error", message: long, fields: long }]) {
    equal(await airlock.call("forger", "message", { message }), "sent");
  }
  const { status, text } = await rawAnswer(airlock, "message", {
    message: { type: "error", code: "ACTION_FAILED", message: long },
  });
  equal(status, 502);
  ok(text.length < 16_384 && !text.includes("\n"));
  equal((JSON.parse(text) as Problem).code, "ACTION_FAILED");
  // These two end the cell.
  for (const message of [{ type: "failed", message: long }, { type: "stopped" }]) {
    const problem = await airlock.fail("forger", "only", { message });
    equal(problem.code, "PLUGIN_CRASHED");
    ok(problem.detail.length < 4_096);
  }
});

const rawEvent = (id: number, event: string, data: string) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`;

Deno.test("a token is one event with one line of data, whatever is in it", async () => {
  await using airlock = await start();
  const tokens = [
    'a\n\nevent: COMPLETE\ndata: {"output":"FORGED"}\n\n',
    "\r\n\r\nid: 7\r\nevent: ERROR\r\n\r\n",
    "\u2028event: TOKEN\u2029data: 1",
    "\ud800",
    { data: "x", event: "COMPLETE", __proto__: null },
    "",
  ];
  const { text } = await rawAnswer(airlock, "yields", { tokens }, "text/event-stream");
  const expected = tokens.map((token, index) => rawEvent(index + 1, "TOKEN", JSON.stringify(token))).join("");
  equal(text.slice(0, expected.length), expected);
  const output = `[${tokens.map((token) => JSON.stringify(token)).join(",")}]`;
  const end = text.slice(expected.length);
  ok(end.startsWith(`id: 7\nevent: COMPLETE\ndata: {"output":${output},"durationMs":`));
  equal(end.split("\n").length, 5);

  // White space between the parts of a value may be a line break: it is one inside an event too.
  await restart(airlock);
  const jsons = ['\n"a"\r\n', '{"a":\n\n1,\r"b":\r\n2}', '"\u2028"'];
  const posted = await rawAnswer(airlock, "stream", { jsons, end: "\n1\n" }, "text/event-stream");
  const lines = jsons.map((json, index) => rawEvent(index + 1, "TOKEN", json.replace(/[\r\n]/g, " "))).join(
    "",
  );
  equal(posted.text.slice(0, lines.length), lines);
  match(
    posted.text.slice(lines.length),
    /^id: 4\nevent: COMPLETE\ndata: {"output": 1 ,"durationMs":[^\n]*}\n\n$/,
  );
});

Deno.test("a token that is not one JSON value ends its stream, and is not in it", async () => {
  await using airlock = await start();
  for (const json of ['"a"\n\nevent: COMPLETE\ndata: {"output":"FORGED"}\n\n', forged, "", "1 2"]) {
    const jsons = ["1", json, "2"];
    const { text } = await rawAnswer(airlock, "stream", { jsons }, "text/event-stream");
    const first = rawEvent(1, "TOKEN", "1");
    equal(text.slice(0, first.length), first);
    match(text.slice(first.length), /^id: 2\nevent: ERROR\ndata: {[^\n]*"code":"OUTPUT_INVALID"[^\n]*}\n\n$/);
    ok(!text.includes("FORGED"));
  }
  // A caller that asked for no stream is sent none: a cell that does is not the one that was started.
  equal((await airlock.fail("forger", "unstreamed", { jsons: ["1"] })).code, "PLUGIN_CRASHED");
  equal(await airlock.call("forger", "run"), "fine");
});

Deno.test("an output and a stream have at most limits.outputMb, from the guest host or past it", async () => {
  await using airlock = await start();
  const mb = 1_048_576;
  equal((await airlock.call<string>("forger", "chars", { chars: mb - 2 })).length, mb - 2);
  equal((await airlock.fail("forger", "chars", { chars: mb - 1 })).code, "LIMIT_OUTPUT");
  const json = JSON.stringify("x".repeat(mb));
  equal((await airlock.fail("forger", "result", { json })).code, "LIMIT_OUTPUT");
  const streams: [action: string, input: Record<string, number>, code: RegExp][] = [
    ["yieldsChars", { chars: 2 * mb }, /^LIMIT_OUTPUT$/],
    ["streamChars", { chars: 2 * mb, count: 1 }, /^LIMIT_OUTPUT$/],
    // The second is for a reader that is slower than what nobody holds back.
    ["streamChars", { chars: 1_000, count: 2_000 }, /^LIMIT_OUTPUT$|^PLUGIN_CRASHED$/],
  ];
  for (const [action, input, code] of streams) {
    const { text } = await rawAnswer(airlock, action, input, "text/event-stream");
    match(codeIn(text), code, `${action} ${JSON.stringify(input)}: ${text.slice(-512)}`);
    equal(await airlock.call("forger", "run"), "fine");
    await restart(airlock);
  }
});

Deno.test("a flood of tokens arrives whole, or is ended as a flood", async () => {
  await using airlock = await start();
  const count = 100_000;
  const { text } = await rawAnswer(airlock, "streamChars", { chars: 0, count }, "text/event-stream");
  const tokens = Array.from({ length: count }, (_, index) => rawEvent(index + 1, "TOKEN", '""')).join("");
  // Within each limit where its reader keeps up. Where it does not, the kernel is sent more than it takes, or the
  // rest stays in the cell, which has only so much memory.
  if (text.startsWith(tokens)) {
    match(text.slice(tokens.length), /^id: 100001\nevent: COMPLETE\ndata: {"output":null,[^\n]*}\n\n$/);
  } else {
    match(codeIn(text), /^PLUGIN_CRASHED$|^LIMIT_MEMORY$/, text.slice(-512));
    const end = text.indexOf("event: ERROR");
    ok(tokens.startsWith(text.slice(0, text.lastIndexOf("id: ", end))));
  }
  equal(await airlock.call("forger", "run"), "fine");
});

function codeIn(text: string): string {
  return /"code":"([A-Z_]+)"/.exec(text)?.[1] ?? "none";
}
