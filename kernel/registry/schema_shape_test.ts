import assert from "node:assert/strict";
import { Validator } from "@cfworker/json-schema";
import { faultsOfSchema } from "./schema_shape.ts";

const shown = (schema: unknown) =>
  faultsOfSchema(schema).map(({ path, message }) => `${path.join("/")}: ${message}`);

Deno.test("faultsOfSchema() finds none in schemas that the validator takes", () => {
  const schemas = [
    true,
    false,
    {},
    {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "Input",
      type: "object",
      required: ["n"],
      properties: {
        n: { type: ["integer", "null"], minimum: 0, multipleOf: 0.5, default: 1 },
        id: { type: "string", pattern: "^[a-z]+$", format: "uuid" },
        $id: { $ref: "#/$defs/a%20b" },
        tree: { $ref: "#node" },
        self: { $ref: "#" },
        kind: { enum: ["a", { $id: "x" }], const: "a" },
        tuple: { prefixItems: [true, { type: "string" }], items: false, uniqueItems: true },
      },
      patternProperties: { "^x-": { maxLength: 3 } },
      dependentRequired: { n: ["id"] },
      if: { minProperties: 1 },
      then: true,
      anyOf: [{ not: { type: "null" } }],
      $defs: {
        "a b": { type: "number" },
        node: { $anchor: "node", additionalProperties: { $ref: "#node" } },
      },
      note: "a note is not a slip of `not`",
      "x-ui": { widget: "slider", options: { type: 5 } },
    },
  ];
  for (const schema of schemas) {
    const before = JSON.stringify(schema);
    assert.deepEqual(shown(schema), []);
    assert.equal(JSON.stringify(schema), before);
    assert.doesNotThrow(() => new Validator(JSON.parse(before), "2020-12").validate({ n: 1 }));
  }
});

Deno.test("faultsOfSchema() names every fault and where it stands", () => {
  const rows: [schema: unknown, faults: string[]][] = [
    [7, [": must be a JSON Schema: an object, true or false"]],
    [null, [": must be a JSON Schema: an object, true or false"]],
    [{ type: "strin" }, [
      'type: must be one or several of null, boolean, object, array, number, string, integer: did you mean "string"?',
    ]],
    [{ requried: ["a"], minLength: -1 }, [
      'requried: Unknown key "requried": did you mean "required"?',
      "minLength: must be a whole number, 0 or more",
    ]],
    [{ properties: { a: { items: [{}] } } }, [
      "properties/a/items: must be a JSON Schema: an object, true or false",
    ]],
    [{ properties: [] }, ["properties: must be an object of JSON Schemas"]],
    [{ pattern: "(" }, ["pattern: must be a regular expression"]],
    [{ patternProperties: { "[": true } }, ["patternProperties/[: must be a regular expression"]],
    [{ anyOf: [] }, ["anyOf: must be an array of at least one JSON Schema"]],
    [{ allOf: [{ required: "a" }] }, ["allOf/0/required: must be an array of strings"]],
    [{ $ref: "https://example.com/s.json" }, [
      "$ref: must begin with #: only references within the schema are followed",
    ]],
    [{ items: { $ref: "#/$defs/none" } }, [
      'items/$ref: must name a schema that is there, not "#/$defs/none"',
    ]],
    [{ $dynamicRef: "#x" }, ["$dynamicRef: must not be used: name inner schemas by $anchor or $defs"]],
    [{ "x-ui": { a: { id: "b" } } }, ["x-ui/a/id: must not be used outside a JSON Schema"]],
    [{ $ref: "#/%zz" }, ['$ref: must name a schema that is there, not "#/%zz"']],
  ];
  for (const [schema, faults] of rows) assert.deepEqual(shown(schema), faults);
});

// The validator visits what lies below an inner `$id` twice, so thirty of them would be 2^30 visits.
Deno.test("faultsOfSchema() refuses nested names before the validator's set-up sees them", () => {
  let schema: Record<string, unknown> = {};
  for (let depth = 0; depth < 100; depth++) schema = { $id: `https://example.com/${depth}`, items: schema };
  assert.equal(faultsOfSchema(schema).length, 100);
});
