/**
 * JSONC parsing with the interface of `@std/jsonc`, carried by npm's `jsonc-parser`.
 *
 * `deno.json` maps `@std/jsonc` to this file because JSR is not reachable everywhere; where it is,
 * mapping that name to `jsr:@std/jsonc` is all it takes. Pure.
 *
 * @module
 */
import { createLocator, type JsonValue, parseJsoncTree, valueOf } from "./jsonc_tree.ts";

export type { JsonValue };

/** Parses JSON with comments and trailing commas. Throws SyntaxError with line and column. */
export function parse(text: string): JsonValue {
  const { root, faults } = parseJsoncTree(text);
  if (root !== undefined && faults.length === 0) return valueOf(root);
  const { offset, message } = faults[0] ?? { offset: 0, message: "Expected a value" };
  const { line, column } = createLocator(text)(offset);
  throw new SyntaxError(`Cannot parse JSONC: ${message} (line ${line}, column ${column})`);
}
