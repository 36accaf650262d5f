/**
 * The ledger: entries as they are stored, and the signed checkpoint.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { checkpointSchema, ledgerEntrySchema, listSchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { pageQuery } from "./page.ts";
import { holdSlot, type ReadSlots } from "./read_slots.ts";
import { json, text, tokenProblems } from "./responses.ts";
import { strictQuery } from "./strict_query.ts";

/** The index of an entry, or a size of the log, in the one way to write it. */
export const indexText = z.string().regex(/^(?:0|[1-9]\d{0,15})$/, "must be the index of an entry")
  .transform(Number)
  .pipe(z.int("must be the index of an entry"));

const typesMax = 32;
const typeName = z.string().max(64).regex(/^[a-z]+\.(?:[a-z]+|\*)$/, 'must be a type, or "word.*"');
const instant = z.iso.datetime({ offset: true, error: "must be a time such as 2026-11-20T10:00:00Z" })
  .transform((text) => Date.parse(text));

const entriesQuery = strictQuery({
  ...pageQuery(100).shape,
  after: indexText.optional().describe(
    "`next` of the page before, or the index of the last entry already read",
  ),
  type: z.preprocess(
    (value) => typeof value === "string" ? [value] : value,
    z.array(typeName).max(typesMax),
  ).optional().openapi({
    type: "array",
    items: { type: "string" },
    description: "A type, or `call.*` for all that begin so; repeated, any of them",
  }),
  plugin: z.string().min(1).max(256).optional().describe("`id@version`, or `id` for any version and none"),
  actor: z.string().min(1).max(128).optional().describe("Such as `kernel` or `token:<id>`"),
  since: instant.optional().openapi({
    type: "string",
    format: "date-time",
    description: "At this time or later",
  }),
  until: instant.optional().openapi({ type: "string", format: "date-time", description: "Before this time" }),
});

export function registerLedger(app: Api, kernel: ApiKernel, reads: ReadSlots): void {
  const { ledger } = kernel;
  const viewer = requireRole(kernel, "viewer");

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/entries",
      operationId: "listLedgerEntries",
      tags: ["ledger"],
      summary: "List entries",
      description:
        "Needs the role `viewer`. Ascending by index. `line` is the stored line, to the byte. With a filter a " +
        "request looks at `ledger.filterRecordsMax` entries at most, so a page may hold few entries or none " +
        "and still have a `next`.",
      security: [{ bearer: [] }],
      middleware: [viewer, holdSlot(reads)] as const,
      request: { query: entriesQuery },
      responses: {
        200: json("Entries", listSchema(ledgerEntrySchema.meta({ id: "LedgerEntry" }))),
        ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
      },
    }),
    async (c) => {
      const { type: types, since: sinceMs, until: untilMs, ...query } = c.req.valid("query");
      const { items, next } = await ledger.reader.entries({ ...query, types, sinceMs, untilMs });
      return c.json({ items, next: next === null ? null : String(next) }, 200);
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
      request: { query: strictQuery({ format: z.enum(["note", "json"]).default("note") }) },
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
}
