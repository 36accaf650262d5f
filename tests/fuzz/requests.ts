/**
 * Requests to be fuzzed with: of every operation of the OpenAPI document, so that a new route needs nothing here,
 * and of addresses that nobody serves.
 *
 * @module
 */
import fc from "fast-check";
import { roles } from "../../schemas/api.ts";
import type { ApiDocument, Operation, Parameter } from "./api_document.ts";
import { arbitraryOf } from "./json_schema_arbitrary.ts";
import { type Document, documentOf } from "./mutations.ts";
import { actionNames, orderedPluginNames, pluginNames } from "./world.ts";

export type Body = { kind: "document"; document: Document } | { kind: "bytes"; bytes: Uint8Array };

/** A request before ids and tokens are set in. */
export interface RequestCase {
  /** Undefined: of no operation that there is. */
  readonly operation: Operation | undefined;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** A role, or the value of the header; undefined: none. */
  readonly authorization: string | undefined;
  readonly body: Body | undefined;
  readonly contentType: string | undefined;
  readonly framing: "length" | "chunked" | "abandoned";
}

export function requestsOf({ operations, root }: ApiDocument): fc.Arbitrary<RequestCase> {
  const known = operations.map((operation) => ({
    arbitrary: requestOf(operation, root),
    // What takes a body has the most to be tried; cells that start and stop cost more than all else.
    weight: operation.bodySchema !== undefined ? 6 : isOrder(operation) ? 1 : 2,
  }));
  const total = known.reduce((sum, { weight }) => sum + weight, 0);
  return fc.oneof(...known, { arbitrary: strayRequest(operations, root), weight: Math.ceil(total / 12) });
}

/** Whether it changes a plugin. */
function isOrder({ method, path }: Pick<Operation, "method" | "path">): boolean {
  return method !== "GET" && path.startsWith("/v1/plugins/") && !path.includes("/actions/");
}

const methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "QUERY"];

function requestOf(operation: Operation, root: unknown): fc.Arbitrary<RequestCase> {
  const bodies = operation.bodySchema === undefined ? noBody : fc.oneof(
    { arbitrary: documentBody(arbitraryOf(operation.bodySchema, root)), weight: 8 },
    { arbitrary: oddBody, weight: 1 },
  );
  return fc.record({
    operation: fc.constant(operation),
    method: fc.oneof({ arbitrary: fc.constant(operation.method), weight: 30 }, fc.constantFrom(...methods)),
    target: fc.tuple(pathOf(operation), queryOf(operation, root)).map(([path, query]) => path + query),
    headers: headersOf(operation, root),
    authorization,
    body: bodies,
    contentType,
    framing,
  });
}

const odd = fc.oneof(
  fc.constantFrom(
    "__proto__",
    "constructor",
    "..",
    ".",
    "-1",
    "0",
    "1e3",
    "9007199254740993",
    "%00",
    "%2e%2e%2f",
  ),
  fc.constantFrom(
    "%ff",
    "%zz",
    "NaN",
    "null",
    "*",
    "a%20b",
    "[0]",
    "'--",
    "%F0%9F%92%A5",
    "\u00e9",
    "9".repeat(400),
  ),
  fc.constantFrom("x".repeat(3_000), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "@jobs:0@", "@tokens:0@"),
  fc.string({ maxLength: 20 }).map((text) => encodeURIComponent(text)),
);

function pathOf({ path, method, parameters }: Operation): fc.Arbitrary<string> {
  const collection = path.split("/")[2] ?? "";
  const segments = path.split("/").map((segment) => {
    const name = /^\{(.*)\}$/.exec(segment)?.[1];
    if (name === undefined) return fc.constant(segment);
    const parameter = parameters.find((one) => one.in === "path" && one.name === name);
    return fc.oneof({ arbitrary: segmentOf(name, collection, path, method, parameter), weight: 6 }, odd);
  });
  return fc.tuple(...segments).map((parts) => parts.join("/"));
}

function segmentOf(
  name: string,
  collection: string,
  path: string,
  method: string,
  parameter: Parameter | undefined,
): fc.Arbitrary<string> {
  if (name === "action") return fc.constantFrom(...actionNames);
  if (name === "id" && collection === "plugins") {
    return fc.constantFrom<string>(...(isOrder({ method, path }) ? orderedPluginNames : pluginNames));
  }
  if (name === "id") return fc.nat(63).map((n) => `@${collection}:${n}@`);
  if (name === "path") {
    return fc.constantFrom(
      "0/000",
      "0/000.p/5",
      "entries/000.p/1",
      "1/000",
      "x001/000",
      "0/000.p/257",
      "8/0/000",
    );
  }
  const index = fc.oneof(fc.nat(50), fc.nat(5_000)).map(String);
  return parameter?.schema.pattern === undefined ? index : fc.oneof({ arbitrary: index, weight: 4 }, odd);
}

function queryOf({ parameters }: Operation, root: unknown): fc.Arbitrary<string> {
  const own = parameters.filter((one) => one.in === "query");
  const pairs = own.map(({ name, schema }) => {
    const value = fc.oneof(
      { arbitrary: fc.nat(200).map(String), weight: 1 },
      {
        arbitrary: arbitraryOf(schema, root).map((made) => encodeURIComponent(String(made).toWellFormed())),
        weight: 4,
      },
      odd,
    );
    return value.map((text) => `${name}=${text}`);
  });
  const stray = fc.constantFrom(
    "x=1",
    "limit=",
    "limit=0",
    "=",
    "&",
    "after",
    "__proto__=1",
    "%=%",
    "token=a",
    "+",
  );
  const queries = fc.oneof(
    {
      arbitrary: fc.array(fc.oneof(...pairs.map((arbitrary) => ({ arbitrary, weight: 3 })), stray), {
        minLength: 1,
        maxLength: 4,
      }),
      weight: 1,
    },
    {
      arbitrary: pairs.length === 0
        ? fc.constant([])
        : fc.subarray(pairs, { minLength: 1 }).chain((some) => fc.tuple(...some)),
      weight: 2,
    },
    { arbitrary: fc.constant([]), weight: 2 },
  );
  return queries.map((parts) => parts.length === 0 ? "" : `?${parts.join("&")}`);
}

const headerValue = fc.string({ maxLength: 30 }).map((text) => text.replaceAll(/[^\x21-\x7e]/g, "\u00e9"));
const ids = fc.constantFrom(
  "0",
  "1",
  "3",
  "-1",
  "x",
  "1".repeat(16),
  "",
  "01ARZ3NDEKTSV4RRFFQ69G5FAV",
  "1-1",
);
const strayHeaders: readonly fc.Arbitrary<readonly [string, string]>[] = [
  fc.constantFrom("text/event-stream", "application/json", "*/*", "text/html;q=0", ",,;q=x", "a/".repeat(500))
    .map((value) => ["Accept", value] as const),
  fc.constantFrom(
    "",
    "[",
    "a b",
    "evil.example",
    "127.0.0.1:1",
    "%00",
    "\u00e9",
    ":",
    "a/b",
    "x@y",
    "[::1]:99999",
  )
    .map((value) => ["Host", value] as const),
  fc.constantFrom("null", "http://evil.example", "http://127.0.0.1").map((value) =>
    ["Origin", value] as const
  ),
  ids.map((value) => ["Last-Event-ID", value] as const),
  fc.constantFrom("bytes=0-1", "bytes=-").map((value) => ["Range", value] as const),
  fc.constantFrom('"a"', "*").map((value) => ["If-None-Match", value] as const),
  fc.constantFrom("gzip", "br", "x").map((value) => ["Content-Encoding", value] as const),
  fc.constantFrom("gzip, br", "identity;q=0").map((value) => ["Accept-Encoding", value] as const),
  fc.constantFrom("100-continue", "x").map((value) => ["Expect", value] as const),
  fc.constantFrom("PUT", "DELETE").map((value) => ["X-HTTP-Method-Override", value] as const),
  fc.tuple(
    fc.constantFrom("Cookie", "X-Request-Id", "Forwarded", "Sec-WebSocket-Protocol", "Traceparent"),
    headerValue,
  ),
];

function headersOf({ parameters }: Operation, root: unknown) {
  const own = parameters.filter((one) => one.in === "header").map(({ name, schema }) =>
    fc.oneof(ids, arbitraryOf(schema, root).map((made) => String(made).replaceAll(/[^\x20-\x7e]/g, "")))
      .map((value) => [name, value] as const)
  );
  return fc.oneof(
    { arbitrary: fc.constant([]), weight: own.length > 0 ? 1 : 3 },
    fc.array(fc.oneof(...own, ...strayHeaders), { minLength: 1, maxLength: 3 }),
  );
}

const authorization: fc.Arbitrary<string | undefined> = fc.oneof(
  { arbitrary: fc.constantFrom(...roles, "admin", "admin", "operator"), weight: 12 },
  fc.constantFrom(
    undefined,
    "",
    "Bearer",
    "Bearer ",
    "bearer  x",
    "Basic YTpi",
    "Bearer a b",
    "Bearer \u00e9",
  ),
);

const contentType: fc.Arbitrary<string | undefined> = fc.oneof(
  { arbitrary: fc.constant("application/json"), weight: 20 },
  fc.constantFrom(
    undefined,
    "",
    "text/plain",
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
  ),
  fc.constantFrom(
    'application/json; charset="utf-8"',
    "application/JSON",
    "multipart/form-data; boundary=",
    "a/b;;=\u00e9",
  ),
);

const framing = fc.oneof(
  { arbitrary: fc.constant("length" as const), weight: 40 },
  { arbitrary: fc.constant("chunked" as const), weight: 5 },
  { arbitrary: fc.constant("abandoned" as const), weight: 1 },
);

const documentBody = (values: fc.Arbitrary<unknown>): fc.Arbitrary<Body> =>
  documentOf(values).map((document) => ({ kind: "document", document }));

const oddBody: fc.Arbitrary<Body> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => ({ kind: "bytes" as const, bytes })),
  fc.constantFrom(
    "",
    " ",
    "null",
    "[]",
    "{}",
    "1e999",
    '"',
    "[".repeat(10_000),
    '{"a":'.repeat(3_000),
    "1".repeat(5_000),
  )
    .map((text) => ({ kind: "bytes" as const, bytes: new TextEncoder().encode(text) })),
  fc.constantFrom(199_990, 200_001).map((length) => ({
    kind: "bytes" as const,
    bytes: new TextEncoder().encode(`"${"a".repeat(length - 2)}"`),
  })),
  documentBody(fc.jsonValue({ stringUnit: "binary" })),
);

const noBody: fc.Arbitrary<Body | undefined> = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 8 },
  oddBody,
);

/** Of no route: an address beside those that are served. */
function strayRequest(operations: readonly Operation[], root: unknown): fc.Arbitrary<RequestCase> {
  const near = fc.constantFrom(...operations.map(({ path }) => path)).chain((path) =>
    fc.constantFrom(
      `${path}/`,
      `/${path}`,
      path.toUpperCase(),
      `${path}/x`,
      path.replace("/v1", ""),
      `${path};a`,
      path,
    )
  );
  const paths = fc.oneof(
    near,
    fc.constantFrom(
      "/",
      "*",
      "//",
      "/v1",
      "/v1/",
      "/v1/../healthz",
      "/log/",
      "/mcp",
      "/docs",
      "/docs/",
      "/%2e%2e/x",
    ),
    fc.constantFrom(
      "http://evil.example/v1/jobs",
      "http://[/",
      "/?",
      "/v1/jobs?#",
      "/openapi.json",
      "/metrics?x",
    ),
    fc.webPath(),
    odd.map((text) => `/docs/${text}`),
    odd.map((text) => `/v1/${text}`),
  );
  return fc.record({
    operation: fc.constant(undefined),
    method: fc.constantFrom(...methods),
    target: paths.map((path) => path.replaceAll(/[^\x21-\x7e]/g, "\u00e9")),
    headers: headersOf({ parameters: [], method: "", path: "", bodySchema: undefined, responses: {} }, root),
    authorization,
    body: noBody,
    contentType,
    framing,
  });
}
