import assert from "node:assert/strict";
import { z } from "zod";
import { configSchema } from "./config.ts";
import { manifestSchema } from "./manifest.ts";
import {
  documentLengthMax,
  type DocumentResult,
  faultsMax,
  jsonPointer,
  parseDocument,
} from "./parse_document.ts";

const options = { what: 'manifest "x/plugin.jsonc"' };

function faultsOf(result: DocumentResult<unknown>): string[] {
  assert.ok(!result.ok);
  return result.faults.map(({ line, path, message }) => `${line} ${path} ${message}`);
}

const minimal = `{
  "id": "hello",
  "version": "1.0.0",
  "airlock": ">=0.1.0 <1.0.0",
  "entrypoint": "mod.ts",
  "actions": { "greet": {} }, // one is enough
}`;

Deno.test("parseDocument() gives the value with its defaults", () => {
  const result = parseDocument(manifestSchema, minimal, options);
  assert.ok(result.ok);
  assert.equal(result.value.limits.memoryMb, 128);
  assert.deepEqual(result.value.capabilities.net, []);
  assert.deepEqual(result.faultAt(["entrypoint"], "must exist"), {
    path: "/entrypoint",
    message: "must exist",
    line: 5,
    column: 17,
  });
});

Deno.test("parseDocument() gives ten faults for ten mistakes, each with its path and line", () => {
  const text = `{
  "id": "Hello World",
  "version": "1.0",
  "airlock": "soon",
  "entrypont": "mod.ts",
  "tier": "core",
  "actions": {
    "greet": { "concurrency": 0, "input": 7 },
    "2nd": {}
  },
  "limits": { "memoryMB": 128 }
}`;
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [
    "2 /id must be 1 to 64 of a-z, 0-9 and inner hyphens",
    "3 /version must be a semantic version such as 1.2.3",
    "4 /airlock must be a version range such as >=0.1.0 <1.0.0",
    '5 /entrypont Unknown key "entrypont": did you mean "entrypoint"?',
    '6 /tier must be one of "tool", "system"',
    "8 /actions/greet/concurrency must be at least 1",
    "8 /actions/greet/input must be true or false or an object",
    '9 /actions/2nd Key "2nd" must be a letter, then at most 63 letters, digits, _ and -',
    '11 /limits/memoryMB Unknown key "memoryMB": did you mean "memoryMb"?',
  ]);
});

Deno.test("parseDocument() refuses the second of two equal keys, and checks its value", () => {
  const text = minimal.replace(/\}$/, '"idleMs": "long",\n"idleMs": 60000,\n"idleMs": 1}');
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [
    '8 /idleMs Key "idleMs" stands here twice',
    '9 /idleMs Key "idleMs" stands here twice',
    "9 /idleMs must be at least 100",
  ]);
});

Deno.test("parseDocument() locates a missing key at the object that lacks it", () => {
  const text = `{
  "id": "hello", "version": "1.0.0", "airlock": "^0.1", "entrypoint": "mod.ts",
  "actions": {
    "greet": {}
  },
  "dependencies": [
    { "range": "^1" }
  ]
}`;
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [
    '7 /dependencies/0/id Missing key "id": must be a string',
  ]);
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, "\n{}", options)).sort(), [
    '2 /actions Missing key "actions": must be an object',
    '2 /airlock Missing key "airlock": must be a string',
    '2 /entrypoint Missing key "entrypoint": must be a string',
    '2 /id Missing key "id": must be a string',
    '2 /version Missing key "version": must be a string',
  ]);
});

Deno.test("parseDocument() gives every syntax fault, and checks on when only commas are missing", () => {
  const broken = '{\n  "id": hello,\n  "version": \'1.0.0\',\n  "tier": "too\n}';
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, broken, options)).map((fault) => fault[0]), [
    "2",
    "3",
    "4",
  ]);
  const text = minimal.replace('"hello",', '"Hello"').replace('"1.0.0",', '"1.0.0"');
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [
    "2 /id must be 1 to 64 of a-z, 0-9 and inner hyphens",
    "3  Expected a comma before this",
    "4  Expected a comma before this",
  ]);
});

Deno.test("parseDocument() refuses texts that are not an object, or nothing at all", () => {
  for (
    const [text, fault] of [
      ["", "1  Expected a value"],
      ["[]", "1  must be an object"],
      ["[".repeat(1_000), "1  must not be nested deeper than 128 levels"],
      [" ".repeat(documentLengthMax + 1), `1  must have at most ${documentLengthMax} characters`],
    ]
  ) assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [fault]);
});

Deno.test("parseDocument() refuses __proto__ wherever it stands", () => {
  const text = minimal.replace('"greet": {}', '"greet": { "input": { "properties": { "__proto__": {} } } }');
  assert.deepEqual(faultsOf(parseDocument(manifestSchema, text, options)), [
    '6 /actions/greet/input/properties/__proto__ Key "__proto__" is not allowed',
  ]);
});

Deno.test("parseDocument() takes the branch of a union that fits deepest", () => {
  const schema = z.strictObject({
    step: z.union([
      z.string(),
      z.strictObject({ call: z.string(), retry: z.strictObject({ attempts: z.int() }) }),
      z.strictObject({ wait: z.int() }),
    ]),
  });
  const faults = (text: string) => faultsOf(parseDocument(schema, text, options));
  assert.deepEqual(faults('{"step": {"call": "a", "retry": {"attempt": 3}}}'), [
    '1 /step/retry/attempt Unknown key "attempt": did you mean "attempts"?',
  ]);
  assert.deepEqual(faults('{"step": 1}'), ["1 /step must be a string or an object"]);
});

Deno.test("parseDocument() takes the branch of a union that knows the keys before one that fits deeper", () => {
  const schema = z.strictObject({
    step: z.union([
      z.strictObject({ of: z.strictObject({ size: z.int() }) }),
      z.strictObject({ of: z.unknown(), name: z.string() }),
    ]),
  });
  assert.deepEqual(faultsOf(parseDocument(schema, '{"step": {"of": {"size": "1"}, "name": 1}}', options)), [
    "1 /step/name must be a string",
  ]);
});

Deno.test("parseDocument() counts lines of every kind of line ending, and columns from one", () => {
  for (const ending of ["\n", "\r\n", "\r"]) {
    const result = parseDocument(configSchema, ["{", '  "prot": 1', "}"].join(ending), options);
    assert.ok(!result.ok);
    assert.deepEqual(result.faults, [
      { path: "/prot", message: 'Unknown key "prot": did you mean "port"?', line: 2, column: 3 },
    ]);
    assert.equal(
      result.message,
      'Cannot read manifest "x/plugin.jsonc": Unknown key "prot": did you mean "port"? (line 2)',
    );
  }
});

Deno.test("parseDocument() looks for a bounded number of faults, in a bounded time", () => {
  const startedMs = performance.now();
  const keys = Array.from({ length: 60_000 }, (_, i) => `"key${i}": 1`);
  const result = parseDocument(configSchema, `{${keys.join(",")}}`, options);
  assert.equal(faultsOf(result).length, faultsMax + 1);
  assert.ok(performance.now() - startedMs < 5_000);
});

Deno.test("jsonPointer() escapes ~ and /", () => {
  assert.equal(jsonPointer(["a/b", "~c", 0]), "/a~1b/~0c/0");
  assert.equal(jsonPointer([]), "");
});
