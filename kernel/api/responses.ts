/**
 * Responses: how answers and problems stand in the OpenAPI document.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { type ProblemCode, problemSchema, problemTable } from "../../schemas/problem.ts";

const problem = problemSchema.meta({ id: "Problem" });

const checkpoint = z.string().describe("base64 of the signed checkpoint that covers the act");

/** Of an answer to a write. */
export const writtenHeaders = z.object({ "Airlock-Checkpoint": checkpoint });

/**
 * Of a problem that answers a write: one that was refused before anyone knew who asks has no entry to cover.
 */
const problemHeaders = z.object({ "Airlock-Checkpoint": checkpoint.optional() });

/** What any route with a token may answer. */
const commonProblems: ProblemCode[] = ["UNAUTHENTICATED", "FORBIDDEN", "NOT_READY", "INTERNAL"];

/** What any route that accepts a body may answer. */
export const bodyProblems: ProblemCode[] = [
  "MALFORMED_JSON",
  "UNSUPPORTED_MEDIA_TYPE",
  "BODY_TOO_LARGE",
  "BODY_TIMEOUT",
];

/** Content of type `text/plain`. */
export const text = { "text/plain": { schema: z.string() } };

/** An answer of type `application/json`. */
export function json<T extends z.ZodType>(description: string, schema: T) {
  return { description, content: { "application/json": { schema } } };
}

/**
 * An answer of another type. Its key is typed as any text: the types of zod-openapi take "x-ndjson" for JSON.
 */
export function file(description: string, contentType: string) {
  return { description, content: { [contentType]: { schema: z.string().meta({ format: "binary" }) } } };
}

/** The same as {@linkcode json}, for an act that is in the ledger. */
export function written<T extends z.ZodType>(description: string, schema: T) {
  return { ...json(description, schema), headers: writtenHeaders };
}

/** The problems `codes`, by status. */
export function problems(...codes: ProblemCode[]): object {
  const byStatus = Object.groupBy(new Set(codes), (code) => problemTable[code][0]);
  // Typed as nothing: handlers throw problems, and so never return one of these.
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, group = []]) => [status, {
      description: group.map((code) => `\`${code}\`: ${problemTable[code][1]}.`).join("\n\n"),
      content: { "application/problem+json": { schema: problem } },
    }]),
  );
}

/** The problems `codes` and those of every route with a token. */
export function tokenProblems(...codes: ProblemCode[]): object {
  return problems(...commonProblems, ...codes);
}

/** The same, for a route that writes: a refused or failed act is in the ledger too, whose queue may be full. */
export function writeProblems(...codes: ProblemCode[]): object {
  return Object.fromEntries(
    Object.entries(tokenProblems("QUEUE_FULL", ...codes)).map(([status, response]) => [
      status,
      status === String(problemTable.UNAUTHENTICATED[0])
        ? response
        : { ...response, headers: problemHeaders },
    ]),
  );
}
