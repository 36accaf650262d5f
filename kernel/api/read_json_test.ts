import assert from "node:assert/strict";
import fc from "fast-check";
import { z } from "zod";
import { ProblemError } from "../../schemas/problem.ts";
import { createApp } from "./app.ts";
import { nestingMax, valuesMax } from "./json_bounds.ts";
import { parseValue, readJson } from "./read_json.ts";
import { bearer, createTestingKernel } from "./testing_kernel.ts";

const limits = { bodyBytesMax: 16_777_216, bodyTimeoutMs: 1_000 };

async function read(body: string, options?: { whenEmpty: unknown }): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const request = new Request("http://localhost/", { method: "POST", headers, body });
  return await readJson(request, limits, options);
}

function isInvalid(message: RegExp, path = ""): (error: unknown) => boolean {
  return (error) =>
    error instanceof ProblemError && error.code === "INPUT_INVALID" && message.test(error.message) &&
    error.options.errors?.[0]?.path === path;
}

Deno.test("readJson() measures a text before it makes values of it", async () => {
  await assert.rejects(() => read(`[${"{},".repeat(valuesMax)}1]`), isInvalid(/more than 200000 values/));
  await assert.rejects(() => read("[".repeat(nestingMax + 1)), isInvalid(/nested deeper than 256/));
  await assert.rejects(() => read('{"a":'.repeat(nestingMax + 1)), isInvalid(/nested deeper than 256/));
});

Deno.test("readJson() takes nothing within a string for a value", async () => {
  const text = `\\"${"[{,".repeat(valuesMax / 2)}\\\\`;
  assert.equal(await read(`"${text}"`), JSON.parse(`"${text}"`));
  const brackets = "[]".repeat(nestingMax * 2);
  assert.deepEqual(await read(`{"a":"\\\\","b":"${brackets}"}`), { a: "\\", b: brackets });
});

Deno.test("readJson() bounds what a schema has to look at, not what is passed on", async () => {
  const many = `[${"0,".repeat(150_000)}0]`;
  await assert.rejects(() => read(`{"dependsOn":${many}}`), isInvalid(/beside its inputs/));
  for (const text of [`{"input":${many}}`, `{"steps":[{"map":${many}}]}`]) assert.ok(await read(text));
  // An item of a list has no name, and a list called so counts in full.
  await assert.rejects(() => read(`[${many}]`), isInvalid(/beside its inputs/));
});

Deno.test("readJson() refuses a number that would become null, and tells where it is", async () => {
  const path = "/input/0/a~1b";
  await assert.rejects(() => read('{"input":[{"a/b":-1e309}]}'), isInvalid(/a double can hold/, path));
  assert.deepEqual(await read("[1e308,5e-324,-0]"), [1e308, 5e-324, -0]);
  const long = `/input/${"x".repeat(64)}…`;
  await assert.rejects(() => read(`{"input":{"${"x".repeat(1_000_000)}":1e309}}`), isInvalid(/double/, long));
});

Deno.test("readJson() takes no body for what stands for it, and for a fault without that", async () => {
  assert.deepEqual(await read("", { whenEmpty: {} }), {});
  await assert.rejects(() => read(""), { code: "MALFORMED_JSON" });
  await assert.rejects(() => read("]"), { code: "MALFORMED_JSON" });
});

Deno.test("parseValue() tells at most a hundred faults, hints first, and shortens long keys", () => {
  const schema = z.strictObject({ name: z.string() });
  const value = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`k${index}`, index]));
  assert.throws(() => parseValue(schema, value), (error) => {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.options.errors?.length, 100);
    return true;
  });
  assert.throws(() => parseValue(schema, { nmae: "x" }), isInvalid(/\/nmae .*"name" may be meant/, "/nmae"));
  const long = "x".repeat(100_000);
  assert.throws(() => parseValue(schema, { name: "x", [long]: 1 }), (error) => {
    assert.ok(error instanceof ProblemError && error.message.length < 300);
    return true;
  });
});

Deno.test("createApp() answers no body of jobs, pipelines and schedules with a failure of ours", async () => {
  const kernel = createTestingKernel();
  const app = createApp(kernel, { swaggerUiFolder: "/nowhere" });
  const headers = { ...bearer("operator"), "content-type": "application/json" };
  const names = [
    "jobs",
    "steps",
    "parallel",
    "plugin",
    "action",
    "input",
    "map",
    "retry",
    "id",
    "__proto__",
    "$from",
  ];
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom("hello", "greet", "a", 1, null),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.array(fc.tuple(fc.constantFrom(...names), tie("value")), { maxLength: 6 }).map(textOf),
    ),
  }));
  const path = fc.constantFrom("/v1/jobs", "/v1/pipelines", "/v1/schedules", "/v1/jobs/redrive");
  await fc.assert(
    fc.asyncProperty(path, value, async (path, value) => {
      const response = await app.request(path, { method: "POST", headers, body: JSON.stringify(value) });
      assert.ok(response.status < 500, `${path} ${JSON.stringify(value)}: ${await response.text()}`);
    }),
    { numRuns: 2_000 },
  );
});

/** An object with these members, `__proto__` a member like others. */
function textOf(members: [name: string, value: unknown][]): unknown {
  return JSON.parse(`{${members.map(([name, value]) => `"${name}":${JSON.stringify(value)}`).join()}}`);
}
