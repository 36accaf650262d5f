/**
 * Proofs: that an entry is in the log, and that a larger log begins with a smaller one.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { consistencyProofSchema, inclusionProofSchema } from "../../schemas/api.ts";
import { formatTlogProof } from "../ledger/tlog_proof.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { indexText } from "./ledger.ts";
import { holdSlot, type ReadSlots } from "./read_slots.ts";
import { json, text, tokenProblems } from "./responses.ts";
import { strictQuery } from "./strict_query.ts";

export function registerProofs(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  const { reader } = kernel.ledger;
  const viewer = requireRole(kernel, "viewer");
  const slot = holdSlot(reads);

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/proofs/inclusion/{index}",
      operationId: "getInclusionProof",
      tags: ["ledger"],
      summary: "Prove that an entry is in the log",
      description:
        "Needs the role `viewer`. For the newest checkpoint: text (c2sp.org/tlog-proof@v1), or its parts as JSON.",
      security: [{ bearer: [] }],
      middleware: [viewer, slot] as const,
      request: {
        params: z.object({ index: indexText }),
        query: strictQuery({ format: z.enum(["text", "json"]).default("text") }),
      },
      responses: {
        200: {
          description: "The proof",
          content: {
            ...text,
            "application/json": { schema: inclusionProofSchema.meta({ id: "InclusionProof" }) },
          },
        },
        ...tokenProblems("INPUT_INVALID", "ENTRY_NOT_FOUND", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const proof = await reader.inclusionProof(c.req.valid("param").index);
      if (c.req.valid("query").format === "json") return c.json(proof, 200);
      const hashes = proof.hashes.map((hash) => Uint8Array.fromBase64(hash).toHex());
      return c.text(formatTlogProof({ ...proof, hashes }), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/proofs/consistency",
      operationId: "getConsistencyProof",
      tags: ["ledger"],
      summary: "Prove that a log begins with a smaller one",
      description: "Needs the role `viewer`. See RFC 6962, section 2.1.2.",
      security: [{ bearer: [] }],
      middleware: [viewer, slot] as const,
      request: {
        query: strictQuery({
          from: indexText.describe("Size of the smaller log, 1 or more"),
          to: indexText.optional().describe(
            "Size of the larger log; that of the newest checkpoint if left out",
          ),
        }),
      },
      responses: {
        200: json("The proof", consistencyProofSchema.meta({ id: "ConsistencyProof" })),
        ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const { from, to } = c.req.valid("query");
      return c.json(await reader.consistencyProof(from, to), 200);
    },
  );
}
