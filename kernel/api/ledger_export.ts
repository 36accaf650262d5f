/**
 * The export of a ledger: a stretch of it as one self-contained file, streamed as fast as its reader takes it.
 *
 * Invariants:
 * - one caller has {@linkcode exportsPerCallerMax} of them under way at most, all callers together
 *   {@linkcode exportsMax};
 * - a reader who takes nothing for {@linkcode takeTimeoutMs} has its stream broken off;
 * - one that breaks off for any reason is seen to: the connection ends without the body's end.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { indexText } from "./ledger.ts";
import { createPacedBody } from "./paced_body.ts";
import { ReadSlots, takeTimeoutMs } from "./read_slots.ts";
import { file, tokenProblems } from "./responses.ts";
import { strictQuery } from "./strict_query.ts";

export const exportsMax = 16;
export const exportsPerCallerMax = 2;
const retryAfterMs = 5_000;
const contentType = "application/x-ndjson";

export function registerLedgerExport(app: Api, kernel: ApiKernel): void {
  const slots = new ReadSlots({
    ...{ action: "export the ledger", perCallerMax: exportsPerCallerMax, max: exportsMax, retryAfterMs },
    // An export may take hours.
    ...{ waitingMax: 0, waitMs: 0 },
  });

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/export",
      operationId: "exportLedger",
      tags: ["ledger"],
      summary: "Export a stretch of the log",
      description:
        "Needs the role `viewer`. A bundle, which `airlock ledger verify` checks offline: one line of JSON with " +
        "the checkpoint and the hashes that lead to it, then the stored lines, to the byte.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      request: {
        query: strictQuery({
          from: indexText.default(0).describe("Index of the first entry"),
          to: indexText.optional().describe("Index after the last one; the newest one's if left out"),
        }),
      },
      responses: {
        200: file("The bundle", contentType),
        ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const { from, to } = c.req.valid("query");
      const release = await slots.take(c.get("caller").actor, c.req.raw.signal);
      try {
        const { header, lines } = await kernel.ledger.reader.bundle(from, to);
        const name = `${header.origin.replace(/[^A-Za-z0-9._-]/g, "_")}-${header.from}-${header.to}.ndjson`;
        const headers = {
          "content-type": contentType,
          "content-disposition": `attachment; filename="${name}"`,
        };
        if (c.req.method === "HEAD") {
          release();
          return c.body(null, 200, headers);
        }
        return c.body(createPacedBody(lines, { takeTimeoutMs, ended: release }), 200, headers);
      } catch (error) {
        release();
        throw error;
      }
    },
  );
}
