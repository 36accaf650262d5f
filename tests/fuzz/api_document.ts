/**
 * The OpenAPI document as the fuzzing reads it: what each operation takes and what it may answer.
 *
 * @module
 */
import { z } from "zod";
import type { JsonSchema } from "./json_schema_arbitrary.ts";

const schema = z.custom<JsonSchema>((value) => typeof value === "object" && value !== null);
const content = z.record(z.string(), z.object({ schema: schema.optional() })).default({});

const documentSchema = z.object({
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        parameters: z.array(z.object({
          name: z.string(),
          in: z.enum(["path", "query", "header"]),
          schema: schema.default({}),
        })).default([]),
        requestBody: z.object({ content }).optional(),
        responses: z.record(z.string(), z.object({ content })),
      }),
    ),
  ),
  components: z.unknown(),
});

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly schema: JsonSchema;
}

export interface Operation {
  /** In capitals. */
  readonly method: string;
  /** Its template, as `/v1/jobs/{id}`. */
  readonly path: string;
  readonly parameters: readonly Parameter[];
  /** Undefined: it takes none. */
  readonly bodySchema: JsonSchema | undefined;
  /** By status, then by content type. */
  readonly responses: Readonly<Record<string, Readonly<Record<string, JsonSchema | undefined>>>>;
}

export interface ApiDocument {
  readonly operations: readonly Operation[];
  /** What references of schemas are followed in. */
  readonly root: { readonly components: unknown };
}

export function parseApiDocument(value: unknown): ApiDocument {
  const { paths, components } = documentSchema.parse(value);
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters, requestBody, responses }]): Operation => ({
      method: method.toUpperCase(),
      path,
      parameters,
      bodySchema: requestBody === undefined
        ? undefined
        : requestBody.content["application/json"]?.schema ?? {},
      responses: Object.fromEntries(
        Object.entries(responses).map(([status, response]) => [
          status,
          Object.fromEntries(Object.entries(response.content).map(([type, of]) => [type, of.schema])),
        ]),
      ),
    }))
  );
  return { operations, root: { components } };
}
