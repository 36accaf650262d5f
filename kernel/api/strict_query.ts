/**
 * A strict query: parameters by name, and no others. A filter with a slip in its name would else be no filter,
 * and its answer one to another question.
 *
 * Pure.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { nearestName } from "../../schemas/nearest_name.ts";

export function strictQuery<T extends Record<string, z.ZodType>>(shape: T) {
  const names = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      const [key = ""] = issue.keys;
      const nearest = nearestName(key, names);
      const known = nearest === undefined ? `it takes ${names.join(", ")}` : `"${nearest}" may be meant`;
      return `must not have the parameter ${JSON.stringify(key)}: ${known}`;
    },
  });
}
