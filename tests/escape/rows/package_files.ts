/**
 * A package of two files: a manifest in the minimal profile, and a module.
 *
 * @module
 */
import { manifest } from "../../support/airlock.ts";

export function packageFiles(
  id: string,
  module: string,
  more: Record<string, unknown> = {},
): Record<string, string> {
  return { "plugin.jsonc": manifest(id, { restart: { max: 1_000 }, ...more }), "mod.ts": module };
}
