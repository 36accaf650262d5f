/**
 * Commitments: what opens those of an entry, and its deletion.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { commitmentsSchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { indexText } from "./ledger.ts";
import { tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

const path = "/v1/ledger/commitments/{index}";
const params = z.object({ index: indexText });
const deletedSchema = z.strictObject({
  index: z.int().nonnegative(),
  deleted: z.int().nonnegative().describe("Commitments that can no longer be opened"),
});

export function registerCommitments(app: Api, kernel: ApiKernel): void {
  const admin = requireRole(kernel, "admin");

  app.openapi(
    createRoute({
      method: "get",
      path,
      operationId: "getCommitments",
      tags: ["ledger"],
      summary: "Show what opens an entry's commitments",
      description:
        'Needs the role `admin`. `SHA-256("airlock/commitment/v1\\n" ‖ salt ‖ value)`, in hex, is what stands ' +
        "in the entry. No items where it was deleted, was never there, or had to make room for newer ones; else " +
        "that it was shown is an entry itself, durable before the answer.",
      security: [{ bearer: [] }],
      middleware: admin,
      request: { params },
      responses: {
        200: written("Salts and values", commitmentsSchema.meta({ id: "Commitments" })),
        ...tokenProblems("INPUT_INVALID", "ENTRY_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const { index } = c.req.valid("param");
      const { view, checkpoint } = await kernel.commitments.open(index, c.get("caller").actor);
      return c.json(view, 200, { [checkpointHeader]: checkpoint });
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path,
      operationId: "deleteCommitments",
      tags: ["ledger"],
      summary: "Delete what opens an entry's commitments",
      description:
        "Needs the role `admin`. The entry stays and every proof of it holds; what it commits to can no longer be " +
        "told. The deletion is an entry itself. Repeating it succeeds and writes nothing.",
      security: [{ bearer: [] }],
      middleware: admin,
      request: { params },
      responses: {
        200: written("How many were deleted", deletedSchema.meta({ id: "CommitmentsDeleted" })),
        ...writeProblems("INPUT_INVALID", "ENTRY_NOT_FOUND"),
      },
    }),
    async (c) => {
      const { index } = c.req.valid("param");
      const { deleted, checkpoint } = await kernel.commitments.delete(index, c.get("caller").actor);
      return c.json({ index, deleted }, 200, { [checkpointHeader]: checkpoint });
    },
  );
}
