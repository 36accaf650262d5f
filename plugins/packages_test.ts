/**
 * Tests of the bundled packages: each is admitted, and holds nothing but what its plugin needs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { parse } from "@std/jsonc";
import { type Schema, Validator } from "@cfworker/json-schema";
import { type ReadPackage, readPackage } from "../kernel/registry/read_package.ts";
import type { JsonValue } from "../sdk/mod.ts";

const pluginsDir = new URL(".", import.meta.url).pathname;
const ids = ["csv-profile", "git-log", "hello", "ngram", "notes", "page-title"];

async function admitted(id: string): Promise<ReadPackage> {
  const result = await readPackage(`${pluginsDir}${id}`, {
    hostVersion: "0.1.0",
    bytesMax: 1_048_576,
    filesMax: 32,
  });
  assert.ok(result.ok, result.ok ? "" : JSON.stringify(result.error.toProblem()));
  return result.package;
}

for (const id of ids) {
  Deno.test(`readPackage() admits ${id}, whose actions are those of its manifest`, async () => {
    const { manifest, files } = await admitted(id);
    assert.equal(manifest.id, id);
    const { actions } = await import(`./${id}/${manifest.entrypoint}`);
    assert.deepEqual(Object.keys(actions).sort(), Object.keys(manifest.actions).sort());
    for (const { path } of files) assert.doesNotMatch(path, /_test\.ts$/);
  });
}

Deno.test("the folder of plugins holds the bundled packages and no other", async () => {
  const folders = await Array.fromAsync(Deno.readDir(pluginsDir));
  assert.deepEqual(folders.filter(({ isDirectory }) => isDirectory).map(({ name }) => name).sort(), ids);
});

Deno.test("hello is the minimal profile", async () => {
  assert.deepEqual(parse(await Deno.readTextFile(`${pluginsDir}hello/plugin.jsonc`)), {
    id: "hello",
    version: "1.0.0",
    airlock: ">=0.1.0 <1.0.0",
    entrypoint: "mod.ts",
    actions: { greet: {} },
  });
});

// The plugins trust that their input fits its schema, so each bound that they rely on must be in there.
const refused: [id: string, action: string, input: JsonValue][] = [
  ["csv-profile", "profile", {}],
  ["csv-profile", "profile", { text: "a", path: "/a" }],
  ["csv-profile", "profile", { text: 1 }],
  ["csv-profile", "profile", { text: "a", delimiter: "::" }],
  ["csv-profile", "profile", { text: "a", separator: "," }],
  ["git-log", "log", { repository: "relative" }],
  ["git-log", "log", { repository: "/a:/b" }],
  ["git-log", "log", { repository: "/a", ref: "--output=/x" }],
  ["git-log", "log", { repository: "/a", ref: "" }],
  ["git-log", "log", { repository: "/a", limit: 1.5 }],
  ["git-log", "log", { repository: "/a", limit: 1_001 }],
  ["ngram", "infer", { prompt: "a", maxTokens: 0 }],
  ["ngram", "infer", { prompt: "a", temperature: -1 }],
  ["ngram", "infer", { prompt: "a", seed: 0.5 }],
  ["ngram", "infer", {}],
  ["notes", "add", { text: "" }],
  ["notes", "add", { text: "x".repeat(8_193) }],
  ["notes", "add", { text: "a", tags: ["b", "b"] }],
  ["notes", "add", { text: "a", tags: [""] }],
  ["notes", "list", { limit: 201 }],
  ["notes", "get", {}],
  ["page-title", "title", {}],
  ["page-title", "title", { url: "http://a", timeoutMs: 20_001 }],
];

Deno.test("the input schemas refuse what the plugins do not check", async () => {
  for (const [id, action, input] of refused) {
    const { manifest } = await admitted(id);
    assert.equal(
      validatorOf(manifest.actions[action]?.input).validate(input).valid,
      false,
      JSON.stringify(input),
    );
  }
});

const taken: [id: string, action: string, input: JsonValue][] = [
  ["csv-profile", "profile", { text: "" }],
  ["csv-profile", "profile", { path: "/a.csv", delimiter: "\t", header: "auto" }],
  ["git-log", "log", { repository: "/a b", ref: "v1..v2", path: "-x", limit: 1_000 }],
  ["ngram", "infer", { prompt: "", maxTokens: 65_536, temperature: 0, seed: 4_294_967_295 }],
  ["ngram", "load_model", {}],
  ["ngram", "model_info", {}],
  ["notes", "add", { text: "😀".repeat(8_192), title: "", tags: [] }],
  ["notes", "search", { query: "a", after: "01ARZ3NDEKTSV4RRFFQ69G5FAV", limit: 1 }],
  ["page-title", "title", { url: "https://example.com", timeoutMs: 1 }],
];

Deno.test("the input schemas take what the plugins are for", async () => {
  for (const [id, action, input] of taken) {
    const { manifest } = await admitted(id);
    const { valid, errors } = validatorOf(manifest.actions[action]?.input).validate(input);
    assert.ok(valid, JSON.stringify(errors));
  }
});

function validatorOf(schema: unknown): Validator {
  assert.ok(isSchema(schema));
  return new Validator(schema, "2020-12");
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null;
}
