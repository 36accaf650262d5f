/**
 * The shape of a plugin's JSON Schema: whether it is one that the cell's validator takes.
 *
 * A schema comes from a stranger, and its `pattern` can take for ever on the right data. So this process
 * never runs one against data; it only looks at the schema itself, in time linear to its size.
 *
 * The dialect is 2020-12 as `@cfworker/json-schema` knows it, less what makes its set-up explode or
 * reach outside: names of inner schemas by `$id`, references to other documents. Pure.
 *
 * @module
 */
import { dereference } from "@cfworker/json-schema";
import { nearestName } from "../../schemas/nearest_name.ts";

export interface SchemaFault {
  path: PropertyKey[];
  message: string;
}

type KeywordKind =
  | "schema"
  | "schemas"
  | "schemaMap"
  | "count"
  | "number"
  | "positive"
  | "boolean"
  | "string"
  | "strings"
  | "stringsMap"
  | "values"
  | "any"
  | "type"
  | "pattern"
  | "reference"
  | "unsupported";

const keywordKinds = new Map<string, KeywordKind>(
  Object.entries(
    {
      schema: [
        "not",
        "if",
        "then",
        "else",
        "items",
        "contains",
        "additionalProperties",
        "unevaluatedProperties",
        "unevaluatedItems",
        "propertyNames",
      ],
      schemas: ["allOf", "anyOf", "oneOf", "prefixItems"],
      schemaMap: ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"],
      count: [
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minContains",
        "maxContains",
      ],
      number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
      positive: ["multipleOf"],
      boolean: ["uniqueItems", "deprecated", "readOnly", "writeOnly"],
      string: ["$schema", "$anchor", "$comment", "title", "description", "format"],
      strings: ["required"],
      stringsMap: ["dependentRequired"],
      values: ["enum", "examples"],
      any: ["const", "default"],
      type: ["type"],
      pattern: ["pattern"],
      reference: ["$ref"],
      unsupported: ["$id", "id", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"],
    } satisfies Record<KeywordKind, string[]>,
  ).flatMap(([kind, names]) => names.map((name) => [name, kind as KeywordKind])),
);

const typeNames = ["null", "boolean", "object", "array", "number", "string", "integer"];

type Path = PropertyKey[];
type JsonObject = Record<string, unknown>;

/** No more faults than this are looked for. */
const faultsMax = 100;

/** The faults of `schema`, which came out of a JSON parser; none if it can be used. */
export function faultsOfSchema(schema: unknown): SchemaFault[] {
  const faults = [...shapeFaults(schema, []).take(faultsMax)];
  if (faults.length > 0 || !isObject(schema)) return faults;
  try {
    return [...referenceFaults(schema).take(faultsMax)];
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return [{ path: [], message: `must be a JSON Schema: ${error.message}` }];
  }
}

function* shapeFaults(schema: unknown, path: Path): Generator<SchemaFault> {
  if (typeof schema === "boolean") return;
  if (!isObject(schema)) return yield { path, message: "must be a JSON Schema: an object, true or false" };
  for (const [keyword, value] of Object.entries(schema)) {
    const keywordPath = [...path, keyword];
    const kind = keywordKinds.get(keyword);
    if (kind === undefined) yield* annotationFaults(keyword, value, keywordPath);
    else if (kind === "schema") yield* shapeFaults(value, keywordPath);
    else if (kind === "schemas") yield* schemasFaults(value, keywordPath);
    else if (kind === "schemaMap") yield* schemaMapFaults(keyword, value, keywordPath);
    else {
      const expected = expectation(kind, value);
      if (expected !== undefined) yield { path: keywordPath, message: expected };
    }
  }
}

function* schemasFaults(value: unknown, path: Path): Generator<SchemaFault> {
  if (!Array.isArray(value) || value.length === 0) {
    return yield { path, message: "must be an array of at least one JSON Schema" };
  }
  for (const [index, item] of value.entries()) yield* shapeFaults(item, [...path, index]);
}

function* schemaMapFaults(keyword: string, value: unknown, path: Path): Generator<SchemaFault> {
  if (!isObject(value)) return yield { path, message: "must be an object of JSON Schemas" };
  for (const [key, item] of Object.entries(value)) {
    const itemPath = [...path, key];
    const expected = keyword === "patternProperties" ? expectation("pattern", key) : undefined;
    if (expected !== undefined) yield { path: itemPath, message: expected };
    yield* shapeFaults(item, itemPath);
  }
}

/** Any other key is allowed, unless it looks like a slip, or its value would be taken for a named schema. */
function* annotationFaults(key: string, value: unknown, path: Path): Generator<SchemaFault> {
  const nearest = key.length < 4 ? undefined : nearestName(key, keywordKinds.keys());
  if (nearest !== undefined && couldHold(nearest, value)) {
    yield { path, message: `Unknown key ${JSON.stringify(key)}: did you mean "${nearest}"?` };
  }
  if (!isObject(value)) return;
  for (const [innerKey, inner] of Object.entries(value)) {
    const innerPath = [...path, innerKey];
    const kind = keywordKinds.get(innerKey);
    if (kind === "unsupported" || kind === "reference") {
      yield { path: innerPath, message: "must not be used outside a JSON Schema" };
    } else yield* annotationFaults("", inner, innerPath);
  }
}

function couldHold(keyword: string, value: unknown): boolean {
  const kind = keywordKinds.get(keyword);
  if (kind === undefined || kind === "unsupported") return false;
  if (kind === "schema") return isObject(value) || typeof value === "boolean";
  if (kind === "schemas") return Array.isArray(value);
  if (kind === "schemaMap") return isObject(value);
  return expectation(kind, value) === undefined;
}

/** What a keyword's value must be, if it is not. */
function expectation(kind: KeywordKind, value: unknown): string | undefined {
  const unless = (fits: boolean, expected: string) => fits ? undefined : expected;
  switch (kind) {
    case "count":
      return unless(Number.isSafeInteger(value) && Number(value) >= 0, "must be a whole number, 0 or more");
    case "number":
      return unless(Number.isFinite(value), "must be a number");
    case "positive":
      return unless(Number.isFinite(value) && Number(value) > 0, "must be a number more than 0");
    case "boolean":
      return unless(typeof value === "boolean", "must be true or false");
    case "string":
      return unless(typeof value === "string", "must be a string");
    case "strings":
      return unless(isStrings(value), "must be an array of strings");
    case "stringsMap":
      return unless(
        isObject(value) && Object.values(value).every(isStrings),
        "must be an object of arrays of strings",
      );
    case "values":
      return unless(Array.isArray(value) && value.length > 0, "must be an array of at least one value");
    case "type":
      return typeExpectation(value);
    case "pattern":
      return unless(typeof value === "string" && isRegExp(value), "must be a regular expression");
    case "reference":
      return unless(
        typeof value === "string" && value.startsWith("#"),
        "must begin with #: only references within the schema are followed",
      );
    case "unsupported":
      return "must not be used: name inner schemas by $anchor or $defs";
    case "any":
    case "schema":
    case "schemas":
    case "schemaMap":
      return undefined;
  }
}

function typeExpectation(value: unknown): string | undefined {
  const names: unknown[] = Array.isArray(value) ? value : [value];
  if (names.length > 0 && names.every((name) => typeNames.some((known) => known === name))) return undefined;
  const wrong = names.find((name) => typeof name === "string" && !typeNames.includes(name));
  const nearest = typeof wrong === "string" ? nearestName(wrong, typeNames) : undefined;
  const guess = nearest === undefined ? "" : `: did you mean "${nearest}"?`;
  return `must be one or several of ${typeNames.join(", ")}${guess}`;
}

/** References that lead nowhere, found the way the validator follows them. */
function* referenceFaults(schema: JsonObject): Generator<SchemaFault> {
  const copy = structuredClone(schema); // the validator leaves its marks in what it is given
  const known = dereference(copy);
  yield* lostReferences(copy, [], (uri) => Object.hasOwn(known, uri));
}

function* lostReferences(
  node: unknown,
  path: Path,
  isKnown: (uri: string) => boolean,
): Generator<SchemaFault> {
  if (Array.isArray(node)) {
    for (const [index, item] of node.entries()) yield* lostReferences(item, [...path, index], isKnown);
    return;
  }
  if (!isObject(node)) return;
  const target = node.__absolute_ref__;
  if (typeof target === "string" && !isKnown(target)) {
    yield {
      path: [...path, "$ref"],
      message: `must name a schema that is there, not ${JSON.stringify(node.$ref)}`,
    };
  }
  for (const [key, child] of Object.entries(node)) yield* lostReferences(child, [...path, key], isKnown);
}

function isRegExp(source: string): boolean {
  try {
    new RegExp(source, "u"); // as the validator does; compiling is not matching
    return true;
  } catch {
    return false;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
