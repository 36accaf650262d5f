/**
 * Pages: one stretch of a list, and the cursor of the next.
 *
 * Pure.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Most items in one page. */
export const pageItemsMax = 1_000;

/** `?after=&limit=` of a list. */
export function pageQuery(limitInitial: number) {
  return z.object({
    after: z.string().min(1).max(128).optional().describe("`next` of the page before"),
    limit: z.string().regex(/^\d{1,9}$/, `must be a whole number from 1 to ${pageItemsMax}`)
      .transform(Number)
      .pipe(z.int().min(1).max(pageItemsMax))
      .default(limitInitial)
      .describe(`Items in the page, at most ${pageItemsMax}`),
  });
}
