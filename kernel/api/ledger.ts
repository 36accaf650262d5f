/**
 * The ledger, to read: entries as they are stored, the signed checkpoint, and the key that verifies it.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { checkpointSchema, ledgerEntrySchema, listSchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { pageQuery } from "./page.ts";
import { json, tokenProblems } from "./responses.ts";

const entriesQuery = pageQuery(100).extend({
  after: z.string().regex(/^\d{1,15}$/, "must be the index of an entry")
    .transform(Number)
    .optional()
    .describe("Index of the last entry already read"),
});

const text = { "text/plain": { schema: z.string() } };

export function registerLedger(app: Api, kernel: ApiKernel): void {
  const { ledger } = kernel;
  const viewer = requireRole(kernel, "viewer");

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/entries",
      operationId: "listLedgerEntries",
      tags: ["ledger"],
      summary: "List entries",
      description: "Needs the role `viewer`. Ascending by index. `line` is the stored line, to the byte.",
      security: [{ bearer: [] }],
      middleware: viewer,
      request: { query: entriesQuery },
      responses: {
        200: json("Entries", listSchema(ledgerEntrySchema.meta({ id: "LedgerEntry" }))),
        ...tokenProblems("INPUT_INVALID"),
      },
    }),
    async (c) => {
      const items = await ledger.entries(c.req.valid("query"));
      const last = items.at(-1);
      const isEnd = last === undefined || last.index + 1 >= ledger.checkpoint().size;
      return c.json({ items, next: isEnd ? null : String(last.index) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/checkpoint",
      operationId: "getCheckpoint",
      tags: ["ledger"],
      summary: "Show the checkpoint",
      description: "Needs the role `viewer`. A signed note (c2sp.org/tlog-checkpoint), or its parts as JSON.",
      security: [{ bearer: [] }],
      middleware: viewer,
      request: { query: z.object({ format: z.enum(["note", "json"]).default("note") }) },
      responses: {
        200: {
          description: "The checkpoint",
          content: { ...text, "application/json": { schema: checkpointSchema.meta({ id: "Checkpoint" }) } },
        },
        ...tokenProblems("INPUT_INVALID"),
      },
    }),
    (c) => {
      const checkpoint = ledger.checkpoint();
      return c.req.valid("query").format === "json" ? c.json(checkpoint, 200) : c.text(checkpoint.note, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/key",
      operationId: "getLedgerKey",
      tags: ["ledger"],
      summary: "Show the verifier key",
      description: "Needs the role `viewer`. `name+hash+base64`, see c2sp.org/signed-note.",
      security: [{ bearer: [] }],
      middleware: viewer,
      responses: { 200: { description: "The key", content: text }, ...tokenProblems() },
    }),
    (c) => c.text(ledger.verifierKey, 200),
  );
}
