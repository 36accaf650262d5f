import assert from "node:assert/strict";
import { type Schema, Validator } from "@cfworker/json-schema";
import { parse } from "@std/jsonc";
import { generateJsonSchemas } from "./generate_json_schemas.ts";

type JsonObject = Record<string, unknown>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The pointers of all keys that an editor would complete without a word on them. */
function* undescribed(schema: unknown, path: string): Generator<string> {
  if (!isObject(schema)) return;
  for (const [key, property] of Object.entries(isObject(schema.properties) ? schema.properties : {})) {
    if (isObject(property) && property.description === undefined) yield `${path}/${key}`;
    yield* undescribed(property, `${path}/${key}`);
  }
  yield* undescribed(schema.additionalProperties, `${path}/*`);
  yield* undescribed(schema.items, `${path}/*`);
}

Deno.test("generateJsonSchemas() gives what is checked in", async () => {
  for (const [name, text] of generateJsonSchemas()) {
    const checkedIn = await Deno.readTextFile(new URL(`./json/${name}`, import.meta.url));
    assert.equal(
      checkedIn,
      text,
      `${name}: run deno run --allow-read --allow-write schemas/generate_json_schemas.ts`,
    );
  }
});

Deno.test("generateJsonSchemas() describes every key of the manifest and the configuration", () => {
  const texts = generateJsonSchemas();
  for (const name of ["manifest.schema.json", "config.schema.json"]) {
    assert.deepEqual([...undescribed(JSON.parse(texts.get(name) ?? ""), "")], [], name);
  }
});

Deno.test("generateJsonSchemas() gives a manifest schema that takes what Airlock takes", () => {
  const schema: Schema = JSON.parse(generateJsonSchemas().get("manifest.schema.json") ?? "");
  const validator = new Validator(schema, "2020-12", false);
  const minimal = `{
    "$schema": "../schemas/json/manifest.schema.json",
    "id": "hello", "version": "1.0.0", "airlock": "^0.1", "entrypoint": "mod.ts",
    "actions": { "greet": { "input": { "type": "object" } } }, // one is enough
  }`;
  assert.ok(validator.validate(parse(minimal)).valid);
  for (
    const [from, to] of [["entrypoint", "entrypont"], ["hello", "Hello"], ["1.0.0", "1.0"], [
      "input",
      "inputs",
    ]]
  ) {
    assert.ok(!validator.validate(parse(minimal.replace(`"${from}"`, `"${to}"`))).valid, to);
  }
});
