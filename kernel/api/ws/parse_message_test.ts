import assert from "node:assert/strict";
import { nestingMax, valuesMax } from "../json_bounds.ts";
import { messageFaultsMax, type ParsedMessage, parseMessage as parseBounded } from "./parse_message.ts";

const parseMessage = (text: string): ParsedMessage => parseBounded(text, 16_777_216);

const job = "01JD0000000000000000000001";

function invokeOf(input: string): string {
  return `{"type":"INVOKE","id":"1","payload":{"plugin":"a","action":"b","input":${input}}}`;
}

/** Texts that are no message: the id that can be read, and the paths of the faults. */
const malformed: [what: string, text: string, id: string | null, paths: string[]][] = [
  ["nothing", "", null, [""]],
  ["no JSON", "{", null, [""]],
  ["two values", '{"type":"PING","id":"1"}{}', null, [""]],
  ["a byte order mark", '\ufeff{"type":"PING","id":"1"}', null, [""]],
  ["JSON with a comment", '{"type":"PING","id":"1"}//', null, [""]],
  ["NaN", '{"type":"PING","id":NaN}', null, [""]],
  ["an array", "[]", null, [""]],
  ["an array of a message", '[{"type":"PING","id":"1"}]', null, [""]],
  ["a number", "1", null, [""]],
  ["a string", '"PING"', null, [""]],
  ["null", "null", null, [""]],
  ["no type", '{"id":"1"}', "1", ["/type"]],
  ["an unknown type", '{"type":"PONG","id":"1"}', "1", ["/type"]],
  ["a type in lower case", '{"type":"ping","id":"1"}', "1", ["/type"]],
  ["a mistyped type", '{"type":["PING"],"id":"1"}', "1", ["/type"]],
  ["a type named as a property", '{"type":"__proto__","id":"1"}', "1", ["/type"]],
  ["no id", '{"type":"PING"}', null, ["/id"]],
  ["a mistyped id", '{"type":"PING","id":1}', null, ["/id"]],
  ["an id of null", '{"type":"PING","id":null}', null, ["/id"]],
  ["an empty id", '{"type":"PING","id":""}', null, ["/id", "/id"]],
  ["a long id", `{"type":"PING","id":"${"i".repeat(65)}"}`, null, ["/id"]],
  ["an id with a space", '{"type":"PING","id":"a b"}', null, ["/id"]],
  ["an id that is a lone surrogate", '{"type":"PING","id":"\\ud800"}', null, ["/id"]],
  ["an extra field", '{"type":"PING","id":"1","extra":1}', "1", ["/extra"]],
  ["__proto__", '{"type":"PING","id":"1","__proto__":{"type":"PING"}}', "1", ["/__proto__"]],
  ["a payload of __proto__", '{"type":"PING","id":"1","payload":{"__proto__":1}}', "1", [
    "/payload/__proto__",
  ]],
  ["PING with a payload", '{"type":"PING","id":"1","payload":{"a":1}}', "1", ["/payload/a"]],
  ["PING with a mistyped payload", '{"type":"PING","id":"1","payload":null}', "1", ["/payload"]],
  [
    "INIT mistyped",
    '{"type":"INIT","id":"1","payload":{"version":1,"client":2,"feed":"x","feedAfter":3}}',
    "1",
    [
      ...["/payload/version", "/payload/client", "/payload/feed", "/payload/feedAfter"],
    ],
  ],
  ["INIT with more", '{"type":"INIT","id":"1","payload":{"version":"1.0","token":"x"}}', "1", [
    "/payload/token",
  ]],
  ["INVOKE without payload", '{"type":"INVOKE","id":"1"}', "1", ["/payload"]],
  ["INVOKE of nothing", '{"type":"INVOKE","id":"1","payload":{}}', "1", [
    "/payload/plugin",
    "/payload/action",
  ]],
  ["INVOKE mistyped", '{"type":"INVOKE","id":"1","payload":{"plugin":1,"action":{},"stream":0}}', "1", [
    ...["/payload/plugin", "/payload/action", "/payload/stream"],
  ]],
  ["INVOKE of a path", '{"type":"INVOKE","id":"1","payload":{"plugin":"../a","action":"b/c"}}', "1", [
    ...["/payload/plugin", "/payload/action"],
  ]],
  ["INVOKE with more", '{"type":"INVOKE","id":"1","payload":{"plugin":"a","action":"b","job":1}}', "1", [
    "/payload/job",
  ]],
  ["ENQUEUE of nothing", '{"type":"ENQUEUE","id":"1","payload":{}}', "1", [
    "/payload/plugin",
    "/payload/action",
  ]],
  [
    "ENQUEUE mistyped",
    '{"type":"ENQUEUE","id":"1","payload":{"plugin":"a","action":"b","retry":{"attempts":"3"},"dependsOn":["x"]}}',
    "1",
    ["/payload/retry/attempts", "/payload/dependsOn/0"],
  ],
  ["ENQUEUE with more", '{"type":"ENQUEUE","id":"1","payload":{"plugin":"a","action":"b","x/~y":1}}', "1", [
    "/payload/x~1~0y",
  ]],
  ["SUBSCRIBE to nothing", '{"type":"SUBSCRIBE","id":"1","payload":{}}', "1", ["/payload/job"]],
  ["SUBSCRIBE mistyped", `{"type":"SUBSCRIBE","id":"1","payload":{"job":"x","after":"3"}}`, "1", [
    ...["/payload/job", "/payload/after"],
  ]],
  [
    "SUBSCRIBE after less than nothing",
    `{"type":"SUBSCRIBE","id":"1","payload":{"job":"${job}","after":-1}}`,
    "1",
    [
      "/payload/after",
    ],
  ],
  [
    "SUBSCRIBE after more than a whole number holds",
    `{"type":"SUBSCRIBE","id":"1","payload":{"job":"${job}","after":1e300}}`,
    "1",
    [
      "/payload/after",
    ],
  ],
  ["CANCEL of nothing", '{"type":"CANCEL","id":"1","payload":{}}', "1", ["/payload/request"]],
  ["CANCEL of two", `{"type":"CANCEL","id":"1","payload":{"job":"${job}","request":"2"}}`, "1", [
    "/payload/job",
  ]],
  ["CANCEL mistyped", '{"type":"CANCEL","id":"1","payload":{"request":2}}', "1", ["/payload/request"]],
  ["deep nesting", invokeOf(`${"[".repeat(nestingMax)}${"]".repeat(nestingMax)}`), null, [""]],
  ["more values than are taken", invokeOf(`[${"0,".repeat(valuesMax)}0]`), null, [""]],
  ["a number that would become null", invokeOf('{"a":[0,{"b":1e999}]}'), "1", ["/payload/input/a/1/b"]],
  ["deep nesting without end", "[".repeat(10_000), null, [""]],
];

for (const [what, text, id, paths] of malformed) {
  Deno.test(`parseMessage() refuses ${what}`, () => {
    const parsed = parseMessage(text);
    assert.ok(!parsed.ok);
    assert.deepEqual(
      [parsed.id, parsed.errors.map(({ path }) => path)],
      [id, paths],
      JSON.stringify(parsed.errors),
    );
    for (const { message } of parsed.errors) assert.match(message, /^must /);
  });
}

Deno.test("parseMessage() names the nearest key of the message's own type", () => {
  const parsed = parseMessage(
    '{"type":"INVOKE","id":"1","payload":{"plugin":"a","action":"b","inputs":1,"jobb":2}}',
  );
  assert.deepEqual(parsed, {
    ok: false,
    id: "1",
    errors: [
      { path: "/payload/inputs", message: 'must not be here: "input" may be meant' },
      { path: "/payload/jobb", message: "must not be here: known are plugin, action, input, stream" },
    ],
  });
});

// Whoever sends much that is wrong must not be answered with more.
Deno.test("parseMessage() tells of few faults, and never repeats a long text", () => {
  const keys = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`key${n}`, n]));
  const many = parseMessage(JSON.stringify({ type: "PING", id: "1", ...keys }));
  assert.equal(many.ok ? 0 : many.errors.length, messageFaultsMax);
  const long = "k".repeat(1_000_000);
  for (
    const message of [{ [long]: 1 }, { type: long }, { type: "PING", id: long }, {
      type: "PING",
      id: "1",
      payload: { [long]: 1 },
    }]
  ) {
    const parsed = parseMessage(JSON.stringify(message));
    assert.ok(!parsed.ok && JSON.stringify(parsed).length < 1_000);
  }
  const parsed = parseMessage(JSON.stringify({
    ...{ type: "ENQUEUE", id: "1" },
    payload: { plugin: "a", action: "b", dependsOn: Array.from({ length: 1_000_000 }, () => 1) },
  }));
  assert.deepEqual(parsed.ok ? [] : parsed.errors.map(({ path }) => path), [""]);
});

Deno.test("parseMessage() takes a message without a payload where all of it may be left out", () => {
  for (const payload of ["", ',"payload":{}']) {
    const init = parseMessage(`{"type":"INIT","id":"1"${payload}}`);
    assert.ok(init.ok);
    assert.deepEqual(init.message.payload, { version: "1.0", feed: true });
    assert.ok(parseMessage(`{"type":"PING","id":"1"${payload}}`).ok);
  }
});

Deno.test("parseMessage() counts a text in UTF-8", () => {
  const text = '{"type":"PING","id":"1","payload":{"€€€":1}}';
  const bytes = new TextEncoder().encode(text).length;
  for (const bytesMax of [0, text.length - 1, text.length, bytes - 1]) {
    const errors = [{ path: "", message: `must have at most ${bytesMax} bytes` }];
    assert.deepEqual(parseBounded(text, bytesMax), { ok: false, id: null, errors });
  }
  assert.notDeepEqual(parseBounded(text, bytes), parseBounded(text, bytes - 1));
});

Deno.test("parseMessage() keeps an input as it is: deep, with lone surrogates, with __proto__", () => {
  const deep = "[".repeat(nestingMax - 2) + "]".repeat(nestingMax - 2);
  for (const input of [deep, '"\\ud800"', '{"__proto__":{"a":1}}', "null", "0"]) {
    const parsed = parseMessage(
      `{"type":"INVOKE","id":"1","payload":{"plugin":"a","action":"b","input":${input}}}`,
    );
    assert.ok(parsed.ok && parsed.message.type === "INVOKE");
    assert.equal(JSON.stringify(parsed.message.payload.input), input);
    assert.equal(Reflect.get({}, "a"), undefined);
  }
});

Deno.test("parseMessage() takes the last of two equal keys", () => {
  const parsed = parseMessage('{"type":"INVOKE","id":"1","type":"PING","id":"2"}');
  assert.ok(parsed.ok);
  assert.deepEqual([parsed.message.type, parsed.message.id], ["PING", "2"]);
});
