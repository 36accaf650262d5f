/**
 * Changes of the configuration, by the names of the settings. Pure.
 *
 * Only names of our own schema are listed: a record by plugin, or a list, counts as one setting, whatever is in it.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { type Config, configSchema } from "../schemas/config.ts";

/** Dotted names of the settings in which `before`, some older configuration, differs from `now`. */
export function changedSettings(before: object, now: Config): string[] {
  return settingPaths(configSchema)
    .filter((path) => !isDeepStrictEqual(valueAt(before, path), valueAt(now, path)))
    .map((path) => path.join("."));
}

function settingPaths(schema: z.ZodObject): string[][] {
  return Object.entries(schema.shape).flatMap(([name, value]) => {
    const inner = unwrapped(value);
    const paths = inner instanceof z.ZodObject ? settingPaths(inner) : [[]];
    return paths.map((path) => [name, ...path]);
  });
}

/** The schema under its defaults. */
function unwrapped(schema: unknown): unknown {
  const isWrapper = schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ||
    schema instanceof z.ZodOptional;
  return isWrapper ? unwrapped(schema.unwrap()) : schema;
}

/** undefined where there is none. */
function valueAt(config: object, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = Reflect.get(value, name);
  }
  return value;
}
