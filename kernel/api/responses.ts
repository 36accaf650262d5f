/**
 * Responses: how answers and problems stand in the OpenAPI document.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { type ProblemCode, problemSchema, problemTable } from "../../schemas/problem.ts";

const problem = problemSchema.meta({ id: "Problem" });

const writtenHeaders = z.object({
  "Airlock-Checkpoint": z.string().describe("base64 of the signed checkpoint that covers the act"),
});

/** What any route with a token may answer. */
const commonProblems: ProblemCode[] = ["UNAUTHENTICATED", "FORBIDDEN", "NOT_READY", "INTERNAL"];

/** What any route that accepts a body may answer. */
export const bodyProblems: ProblemCode[] = [
  "MALFORMED_JSON",
  "UNSUPPORTED_MEDIA_TYPE",
  "BODY_TOO_LARGE",
  "BODY_TIMEOUT",
];

/** An answer of type `application/json`. */
export function json<T extends z.ZodType>(description: string, schema: T) {
  return { description, content: { "application/json": { schema } } };
}

/** The same, for an act that is in the ledger. */
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
