/**
 * A body that is read into a value: what an attacker may make it cost, and where it does not fit its schema.
 *
 * Its bounds are those of `json_bounds.ts`, its faults are told as in `json_faults.ts`.
 *
 * @module
 */
import type { z } from "zod";
import { knownKeysAt } from "../../schemas/explain_issue.ts";
import { type Fault, ProblemError } from "../../schemas/problem.ts";
import { type BodyLimits, parseJsonBytes, readBody } from "./json_body.ts";
import { extentFault, valueFault } from "./json_bounds.ts";
import { faultsMax, faultsOf, inputInvalid, type Path } from "./json_faults.ts";

/**
 * The value in a request's body. Throws what `readBody` does, MALFORMED_JSON, and INPUT_INVALID for a value that is
 * too large. No body is `whenEmpty`, and MALFORMED_JSON without that.
 */
export async function readJson(
  request: Request,
  limits: BodyLimits,
  { whenEmpty }: { whenEmpty?: unknown } = {},
): Promise<unknown> {
  const bytes = await readBody(request, limits);
  if (bytes.length === 0) {
    if (whenEmpty !== undefined) return whenEmpty;
    throw new ProblemError("MALFORMED_JSON", "Cannot parse the body as JSON: it is empty");
  }
  refuse(extentFault(bytes));
  const value = parseJsonBytes(bytes);
  refuse(valueFault(value));
  return value;
}

/**
 * `value` as `schema` has it. Throws INPUT_INVALID with its faults. `names`: the keys that an object at a path may
 * have, for hints.
 */
export function parseValue<S extends z.ZodType>(
  schema: S,
  value: unknown,
  names: (path: Path) => string[] = (path) => knownKeysAt(schema, path),
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw inputInvalid(faultsOf(result.error, { faultsMax, names }));
}

function refuse(fault: Fault | undefined): void {
  if (fault !== undefined) throw inputInvalid([fault]);
}
