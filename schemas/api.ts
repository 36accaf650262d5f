/**
 * Shapes of the HTTP API that are not problems: what callers send and what they get.
 *
 * The OpenAPI document is made from these. Pure.
 *
 * @module
 */
import { z } from "zod";
import { grantsSchema, isolationSchema } from "./capabilities.ts";
import { limitsSchema } from "./limits.ts";
import { pluginIdSchema } from "./plugin_id.ts";
import { pluginKinds } from "./plugin_kind.ts";
import { faultSchema } from "./problem.ts";

/** Roles, weakest first: each may do what the ones before it may. */
export const roles = ["viewer", "invoker", "operator", "admin"] as const;
export const roleSchema = z.enum(roles);
export type Role = z.infer<typeof roleSchema>;

export function roleIncludes(held: Role, needed: Role): boolean {
  return roles.indexOf(held) >= roles.indexOf(needed);
}

/** States of a plugin; see `kernel/lifecycle/transition.ts`. */
export const pluginStates = [
  "unloaded",
  "loading",
  "loaded",
  "starting",
  "running",
  "suspended",
  "sleeping",
  "stopping",
  "unloading",
  "error",
  "quarantined",
] as const;
export const pluginStateSchema = z.enum(pluginStates);
export type PluginState = z.infer<typeof pluginStateSchema>;

export const pluginStatusSchema = z.enum(["loading", "ready", "error", "disabled"]);
export type PluginStatus = z.infer<typeof pluginStatusSchema>;

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const instant = z.iso.datetime();
/** Any JSON value. Not `z.json()`: that is recursive, and an OpenAPI document cannot hold it in place. */
const jsonValue = z.unknown();

export const pluginSchema = z.strictObject({
  id: pluginIdSchema,
  version: z.string(),
  name: z.string().nullable(),
  description: z.string().nullable(),
  state: pluginStateSchema,
  enabled: z.boolean(),
  standing: z.enum(["admitted", "rejected"]),
  status: pluginStatusSchema,
  kind: z.enum(pluginKinds),
  tier: z.enum(["tool", "system"]),
  signed: z.boolean(),
  packageSha256: z.string(),
  isolation: isolationSchema,
  pid: z.int().nullable(),
  loadedAt: instant.nullable(),
  lastActivityAt: instant.nullable(),
  limits: limitsSchema.partial(),
  restarts: z.int().nonnegative(),
  breaker: z.enum(["closed", "open", "half_open"]),
  critical: z.boolean(),
  health: z.strictObject({
    status: z.enum(["healthy", "unhealthy"]),
    at: instant,
    message: z.string().nullable(),
  }).nullable().describe("Of its last health check; null before the first, and without one"),
  actions: z.record(
    z.string(),
    z.strictObject({
      description: z.string().nullable(),
      stream: z.boolean(),
      idempotent: z.boolean(),
      concurrency: z.int(),
      timeoutMs: z.int(),
      input: jsonValue.nullable(),
      output: jsonValue.nullable(),
    }),
  ),
  requested: z.record(z.string(), jsonValue),
  granted: grantsSchema.partial(),
  lastError: z.strictObject({
    code: z.string(),
    message: z.string(),
    at: instant,
    errors: z.array(faultSchema).optional(),
  }).nullable(),
});
export type PluginView = z.infer<typeof pluginSchema>;

export const logLineSchema = z.strictObject({
  seq: z.int().nonnegative(),
  at: instant,
  source: z.enum(["stdout", "stderr", "log"]),
  level: z.enum(["debug", "info", "warning", "error"]),
  text: z.string(),
  droppedBytes: z.int().nonnegative().describe("Bytes that were dropped in place of this line"),
  code: z.literal("LIMIT_LOG").nullable().describe("Why they were; null on an ordinary line"),
});
export type LogLine = z.infer<typeof logLineSchema>;

export const ledgerPositionSchema = z.strictObject({
  index: z.int().nonnegative(),
  size: z.int().positive(),
});

export const invokeResultSchema = z.strictObject({
  output: jsonValue,
  durationMs: z.number().nonnegative(),
  inputSha256: sha256Hex,
  outputSha256: sha256Hex,
  ledger: ledgerPositionSchema,
});

export const progressSchema = z.strictObject({
  fraction: z.number().min(0).max(1),
  note: z.string().max(1_024),
});

export const tokenRequestSchema = z.strictObject({
  name: z.string().min(1).max(128).regex(/^[^\p{C}]+$/u, "must be printable"),
  role: roleSchema,
});

export const tokenSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  role: roleSchema,
  createdAt: instant,
  revokedAt: instant.nullable(),
});
export type TokenView = z.infer<typeof tokenSchema>;

/** A token just made: the only answer that ever shows the secret. */
export const tokenCreatedSchema = tokenSchema.extend({ token: z.string() });

export const ledgerEntrySchema = z.strictObject({
  index: z.int().nonnegative(),
  leafHash: sha256Hex,
  line: z.string(),
});
export type LedgerEntry = z.infer<typeof ledgerEntrySchema>;

export const checkpointSchema = z.strictObject({
  origin: z.string(),
  size: z.int().nonnegative(),
  rootHash: z.base64(),
  note: z.string(),
});
export type CheckpointView = z.infer<typeof checkpointSchema>;

/** An inclusion proof: hashes from the leaf's sibling up, see RFC 6962, section 2.1.1. */
export const inclusionProofSchema = z.strictObject({
  index: z.int().nonnegative(),
  size: z.int().positive(),
  hashes: z.array(z.base64()),
  checkpoint: z.string().describe("The signed note of this size"),
});
export type InclusionProof = z.infer<typeof inclusionProofSchema>;

/** A consistency proof, see RFC 6962, section 2.1.2. */
export const consistencyProofSchema = z.strictObject({
  from: z.int().positive(),
  to: z.int().positive(),
  hashes: z.array(z.base64()),
});
export type ConsistencyProof = z.infer<typeof consistencyProofSchema>;

/** What opens the commitments of one entry: `SHA-256("airlock/commitment/v1\n" ‖ salt ‖ value)`. */
export const commitmentsSchema = z.strictObject({
  index: z.int().nonnegative(),
  items: z.array(z.strictObject({
    field: z.string(),
    salt: z.base64(),
    value: z.base64().nullable().describe("null: larger than what is kept"),
  })),
});
export type CommitmentsView = z.infer<typeof commitmentsSchema>;

export const ledgerKeySchema = z.strictObject({
  key: z.string().describe("The verifier key that was added or retired"),
  ledger: ledgerPositionSchema,
});

export const healthSchema = z.strictObject({
  status: z.literal("ok"),
  pid: z.int(),
  uptimeMs: z.number(),
});

export const readinessSchema = z.strictObject({ status: z.enum(["ready", "starting", "draining"]) });

export const grantsViewSchema = z.strictObject({
  requested: z.record(z.string(), jsonValue),
  granted: grantsSchema,
  operator: z.record(z.string(), jsonValue),
});

export function listSchema<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), next: z.string().nullable() });
}
