/**
 * Arbitraries from JSON Schemas: values that fit a schema of the OpenAPI document or of the protocol, mostly. What
 * a schema says beside its types (a format, a pattern that cannot be generated from) may be missed: what is made is
 * sent to a server that has to tell.
 *
 * A string is generated with {@linkcode Pools}' marks in it, which stand for ids that exist when it is sent.
 *
 * Pure.
 *
 * @module
 */
import fc from "fast-check";
import { z } from "zod";
import { jobIdSchema } from "../../schemas/job.ts";
import { actionNameSchema } from "../../schemas/action_name.ts";
import { pluginIdSchema } from "../../schemas/plugin_id.ts";
import { actionNames, pluginNames } from "./world.ts";

/** What is read of a schema, see https://json-schema.org/draft/2020-12. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Branches within branches. */
const depthMax = 3;
const itemsMax = 4;

const patternOf = (schema: z.ZodType) => z.toJSONSchema(schema).pattern;
const poolOfPattern = new Map<string | undefined, fc.Arbitrary<string>>([
  [patternOf(jobIdSchema), fc.nat(63).map((n) => `@jobs:${n}@`)],
  [patternOf(pluginIdSchema), fc.constantFrom(...pluginNames)],
  [patternOf(actionNameSchema), fc.constantFrom(...actionNames)],
]);

/** Of a schema that is referred to, by its reference. */
type Tie = (reference: string) => fc.Arbitrary<unknown>;

/** `root`: what references are followed in. */
export function arbitraryOf(schema: JsonSchema, root: unknown): fc.Arbitrary<unknown> {
  const references = referencesOf(schema, root);
  const { whole } = fc.letrec((tie) => ({
    ...Object.fromEntries(references.map((name) => [name, ofSchema(resolve(name, root), tie)])),
    whole: ofSchema(schema, tie),
  }));
  return whole ?? fc.constant(null);
}

/** All that are reached. */
function referencesOf(schema: JsonSchema, root: unknown): string[] {
  const found = new Set<string>();
  const rest: unknown[] = [schema];
  while (rest.length > 0) {
    const value = rest.pop();
    if (typeof value !== "object" || value === null) continue;
    rest.push(...Object.values(value));
    const reference: unknown = Reflect.get(value, "$ref");
    if (typeof reference !== "string" || found.has(reference)) continue;
    found.add(reference);
    rest.push(resolve(reference, root));
  }
  return [...found];
}

function ofSchema(schema: JsonSchema, tie: Tie): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return tie(schema.$ref);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined && schema.enum.length > 0) return fc.constantFrom(...schema.enum);
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches !== undefined && branches.length > 0) {
    // Too deep, the first one is taken: a schema that names itself names another one first.
    return fc.oneof({ maxDepth: depthMax }, ...branches.map((branch) => ofSchema(branch, tie)));
  }
  if (schema.allOf !== undefined) {
    return fc.tuple(...schema.allOf.map((part) => ofSchema(part, tie))).map((parts) =>
      Object.assign({}, ...parts)
    );
  }
  const types = typeof schema.type === "string" ? [schema.type] : schema.type ?? [];
  if (types.length === 0) return schema.properties === undefined ? anyValue() : ofObject(schema, tie);
  return fc.oneof(...types.map((type) => ofType(type, schema, tie)));
}

function ofType(type: string, schema: JsonSchema, tie: Tie): fc.Arbitrary<unknown> {
  switch (type) {
    case "string":
      return ofString(schema);
    case "integer":
    case "number":
      return ofNumber(schema);
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(ofSchema(schema.items ?? {}, tie), {
        minLength: Math.min(schema.minItems ?? 0, itemsMax),
        maxLength: Math.min(schema.maxItems ?? itemsMax, itemsMax),
      });
    case "object":
      return ofObject(schema, tie);
    default:
      return anyValue();
  }
}

function ofObject(schema: JsonSchema, tie: Tie): fc.Arbitrary<unknown> {
  const { properties = {}, required = [], additionalProperties } = schema;
  const members = Object.fromEntries(
    Object.entries(properties).map(([name, inner]) => [name, ofSchema(inner, tie)]),
  );
  const needed = required.filter((name) => Object.hasOwn(properties, name));
  const least = Object.fromEntries(Object.entries(members).filter(([name]) => needed.includes(name)));
  // All that is optional, by chance, seldom fits together.
  const known = fc.oneof(fc.record(least), fc.record(members, { requiredKeys: needed }));
  if (typeof additionalProperties !== "object") return known;
  const more = fc.dictionary(fc.string({ maxLength: 8 }), ofSchema(additionalProperties, tie), {
    maxKeys: 3,
  });
  return fc.tuple(known, more).map(([one, other]) => ({ ...one, ...other }));
}

function ofNumber({ minimum, maximum }: JsonSchema): fc.Arbitrary<number> {
  const min = Math.max(minimum ?? -1_000_000, -1_000_000_000);
  const max = Math.min(maximum ?? 1_000_000, 1_000_000_000);
  // Small ones are quick; the bounds are where mistakes are.
  const small = fc.integer({ min, max: Math.min(max, Math.max(min, 50)) });
  return fc.oneof({ arbitrary: small, weight: 4 }, fc.constantFrom(min, max), fc.integer({ min, max }));
}

const instants = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+09:00", "9999-12-31T23:59:59Z"];

function ofString({ pattern, format, minLength = 0, maxLength = 64 }: JsonSchema): fc.Arbitrary<string> {
  const pooled = poolOfPattern.get(pattern);
  if (pooled !== undefined) return pooled;
  if (format === "date-time") {
    const near = fc.integer({ min: 0, max: 2_000 })
      .map((ms) => new Date(Date.UTC(2026, 0) + ms).toISOString());
    return fc.oneof(fc.constantFrom(...instants), near);
  }
  const length = { minLength, maxLength: Math.max(minLength, Math.min(maxLength, 64)) };
  const plain = fc.oneof(
    fc.string(length),
    fc.constantFrom("* * * * *", "UTC", "1.0").filter(
      (text) => text.length >= minLength && text.length <= maxLength,
    ),
  );
  // A class of all of Unicode is made in seconds.
  if (pattern === undefined || pattern.includes("\\p{")) return plain;
  const matching = fc.stringMatching(new RegExp(pattern, "u"), { size: "small" });
  return fc.oneof({ arbitrary: matching, weight: 8 }, plain);
}

function anyValue(): fc.Arbitrary<unknown> {
  return fc.oneof(
    fc.constant({}),
    fc.constant({ n: 1, text: "t" }),
    fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }),
  );
}

function resolve(reference: string, root: unknown): JsonSchema {
  let found: unknown = root;
  for (const segment of reference.replace(/^#\/?/, "").split("/").filter((name) => name !== "")) {
    found = typeof found === "object" && found !== null ? Reflect.get(found, segment) : undefined;
  }
  return typeof found === "object" && found !== null ? found : {};
}
