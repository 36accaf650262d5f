/**
 * The manifest, `plugin.jsonc`: what a package says of itself and what it requests.
 *
 * The minimal profile is `id`, `version`, `airlock`, `entrypoint` and `actions`; every other key has a
 * safe default. Unknown keys are errors. Pure.
 *
 * @module
 */
import { z } from "zod";
import { tryParseRange } from "@std/semver";
import { actionNameSchema } from "./action_name.ts";
import { capabilitiesSchema, isolationSchema } from "./capabilities.ts";
import { limitsSchema } from "./limits.ts";
import { pluginIdSchema } from "./plugin_id.ts";
import { pluginKinds } from "./plugin_kind.ts";

/** Semantic version 2.0.0, see https://semver.org/. */
export const versionSchema = z.string().max(128).regex(
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/,
  "must be a semantic version such as 1.2.3",
);

const versionRangeCharsMax = 256;

export const versionRangeSchema = z.string().min(1).max(versionRangeCharsMax).refine(
  // A range that is too long is refused for that, and never parsed: its patterns take quadratic time.
  (range) => range.length > versionRangeCharsMax || tryParseRange(range) !== undefined,
  "must be a version range such as >=0.1.0 <1.0.0",
);

/** A path inside the package: relative, forward slashes, no `.` or `..` segment. */
export const packagePathSchema = z.string().min(1).max(1_024).regex(
  /^(?!\/)(?!.*(?:^|\/)\.{0,2}(?:\/|$))[^\0\\\r\n]+$/,
  "must be a relative path inside the package",
);

/** A JSON Schema (2020-12): an object or a boolean. Its own shape is checked where it is used. */
export const jsonSchemaSchema = z.union([z.boolean(), z.record(z.string(), z.json())]);

const retrySchema = z.strictObject({
  attempts: z.int().min(1).max(100).default(1).describe("How often a job is tried, the first time included."),
  backoffMs: z.int().min(0).max(3_600_000).default(200)
    .describe("Pause before the second attempt; it doubles for each further one."),
});

export const actionSchema = z.strictObject({
  description: z.string().max(4_096).optional().describe("What the action does, in a sentence or two."),
  input: jsonSchemaSchema.optional().describe("JSON Schema of the input."),
  output: jsonSchemaSchema.optional().describe("JSON Schema of the output."),
  stream: z.boolean().default(false).describe("The action yields tokens."),
  timeoutMs: z.int().min(10).max(86_400_000).optional().describe("Bounded by limits.wallMs."),
  idempotent: z.boolean().default(false).describe("Doing it twice is the same as once: safe to retry."),
  concurrency: z.int().min(1).max(1_024).default(4).describe("Calls of this action under way at once."),
  retry: retrySchema.optional().describe("How jobs of this action are retried."),
});
export type ActionManifest = z.infer<typeof actionSchema>;

export const manifestSchema = z.strictObject({
  $schema: z.string().optional().describe("For completion in an editor."),
  id: pluginIdSchema.describe("Unique name of the plugin: a-z, 0-9 and inner hyphens."),
  version: versionSchema.describe("Semantic version of the plugin."),
  airlock: versionRangeSchema.describe("The versions of Airlock that this plugin runs on."),
  entrypoint: packagePathSchema.describe("The module that exports `actions`, for example mod.ts."),
  name: z.string().min(1).max(128).optional().describe("Name for people."),
  description: z.string().max(4_096).optional().describe("What the plugin is for."),
  author: z.string().max(256).optional().describe("Who made it."),
  license: z.string().max(128).optional().describe("SPDX expression, for example MIT."),
  homepage: z.url().optional().describe("Where to read more."),
  changelog: packagePathSchema.optional().describe("File of the package that says what changed."),
  tier: z.enum(["tool", "system"]).default("tool").describe(
    "system: a part of the installation, not a tool.",
  ),
  kind: z.enum(pluginKinds).default("custom").describe("What sort of plugin this is."),
  actions: z.record(actionNameSchema, actionSchema)
    .describe("What the plugin can be called for, by the names of its functions.")
    .refine((actions) => Object.keys(actions).length > 0, "must have at least one action")
    .refine((actions) => Object.keys(actions).length <= 256, "must have at most 256 actions"),
  capabilities: capabilitiesSchema.prefault({}).describe(
    "What the plugin requests beyond its own two folders.",
  ),
  limits: limitsSchema.prefault({}).describe("What the plugin may use at most; the operator may set less."),
  isolation: isolationSchema.default("process").describe("The weakest tier this plugin may run in."),
  dependencies: z.array(z.strictObject({
    id: pluginIdSchema.describe("Id of the other plugin."),
    range: versionRangeSchema.describe("The versions of it that will do."),
    optional: z.boolean().default(false).describe("The plugin also works without."),
  })).max(64).default([]).describe("Plugins that this one calls."),
  config: z.strictObject({
    version: z.int().positive().default(1).describe("Raised whenever stored settings need a migration."),
    schema: jsonSchemaSchema.describe("JSON Schema of the settings."),
    migrations: packagePathSchema.optional().describe("Module that turns older settings into newer ones."),
  }).optional().describe("The plugin's settings."),
  health: z.strictObject({
    intervalMs: z.int().min(100).max(3_600_000).default(10_000).describe("How often `health` is called."),
    timeoutMs: z.int().min(10).max(60_000).default(1_000).describe("How long it may take."),
  }).optional().describe("Checks by the plugin's own `health` function."),
  restart: z.strictObject({
    policy: z.enum(["never", "on-failure", "always"]).default("on-failure").describe(
      "When to start it again.",
    ),
    max: z.int().min(0).max(1_000).default(3).describe(
      "Failures in the window after which it is quarantined; 0 counts as 1.",
    ),
    windowMs: z.int().min(100).max(86_400_000).default(60_000).describe("The window."),
  }).prefault({}).describe("What happens after the plugin's cell ended by itself."),
  idleMs: z.int().min(100).max(86_400_000).default(60_000)
    .describe("An idle plugin is put to sleep after this long."),
  reuse: z.enum(["warm", "per-call"]).default("warm").describe("per-call: a fresh cell for each call."),
  critical: z.boolean().default(false).describe("Airlock is not ready while this plugin is not."),
  ui: z.strictObject({
    panels: z.array(z.json()).max(64).default([]).describe("Pages of its own."),
    widgets: z.array(z.json()).max(64).default([]).describe("Tiles on the overview."),
  }).prefault({}).describe("What the plugin shows in the console."),
  metrics: z.strictObject({
    enabled: z.boolean().default(true).describe("Whether figures of this plugin are kept."),
  }).prefault({}).describe("Figures of this plugin."),
});
export type Manifest = z.infer<typeof manifestSchema>;
