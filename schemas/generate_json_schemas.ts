/**
 * The JSON Schemas of the texts that people and other programs write or read, made from the zod schemas.
 *
 * A manifest that names `manifest.schema.json` in `$schema` gets completion and checks in an editor. The
 * files are checked in, so that they can be referred to; a test says when they are out of date.
 *
 *     deno run --allow-read --allow-write schemas/generate_json_schemas.ts
 *
 * @module
 */
import { z } from "zod";
import { cellMessagesSchema } from "./cell_protocol.ts";
import { configSchema } from "./config.ts";
import { ledgerRecordSchema } from "./ledger_event.ts";
import { manifestSchema } from "./manifest.ts";
import { problemSchema } from "./problem.ts";

const sources = {
  "manifest.schema.json": ["The manifest of an Airlock plugin, plugin.jsonc", manifestSchema],
  "config.schema.json": ["The configuration of Airlock, airlock.jsonc", configSchema],
  "problem.schema.json": ["A problem, application/problem+json", problemSchema],
  "ledger_record.schema.json": ["One record of the ledger", ledgerRecordSchema],
  "cell_messages.schema.json": [
    "What a cell receives, by name: it checks with this file",
    cellMessagesSchema,
  ],
} as const satisfies Record<string, readonly [title: string, schema: z.core.$ZodType]>;

/** The text of each file, by its name. */
export function generateJsonSchemas(): Map<string, string> {
  return new Map(
    Object.entries(sources).map(([name, [title, schema]]) => {
      // "input": what has a default may be left out.
      const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input" });
      return [name, `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`];
    }),
  );
}

if (import.meta.main) {
  for (const [name, text] of generateJsonSchemas()) {
    await Deno.writeTextFile(new URL(`./json/${name}`, import.meta.url), text);
  }
}
