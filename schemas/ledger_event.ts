/**
 * Ledger events: what may stand in the ledger, type by type.
 *
 * Each type has an allow-list of fields. Scalars are integers and strings only. A field that ends in
 * `Commitment` is the hex of a salted SHA-256 (see `kernel/ledger/`): inputs, outputs and any text that a
 * plugin or a caller chose enter in no other way.
 *
 * What stands in clear is ours (ids, codes, hashes, versions of Airlock and Deno), or the operator's (the
 * origin, the scopes that were granted), or one of the names that a package chooses from a narrow grammar,
 * because nobody could read the ledger without them:
 *
 * - its id: 1 to 64 of `a-z`, `0-9` and inner hyphens;
 * - its version: a semantic version of at most 128 characters;
 * - the names of its actions: a letter, then at most 63 letters, digits, `_` and `-`;
 * - the public hosts that its manifest names, which it is granted without its operator: `name:port`, the name a
 *   lower-case DNS name (labels of `a-z`, `0-9`, `_` and inner hyphens) of at most 253 characters, 256 hosts at
 *   most. Who audits must see what a plugin may reach.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import { actionNameSchema } from "./action_name.ts";
import { roleSchema } from "./api.ts";
import { auditedPermissions } from "./audit.ts";
import { isolationSchema, permissionNames } from "./capabilities.ts";
import { jobIdSchema } from "./job.ts";
import { versionSchema } from "./manifest.ts";
import { problemCodeSchema } from "./problem.ts";

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const requestId = z.string().regex(/^[0-9A-Za-z-]{1,64}$/);
const tokenId = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/);
const nat = z.int().nonnegative();
/** `name+hash+base64`: ours, but for the origin in it, which the operator may choose. */
const verifierKey = z.string().max(256);
const commitmentField = z.string().max(64).regex(/^[a-z][A-Za-z]*Commitment$/);
/**
 * The operator allowed them, or they are the package's own folder, its data, and its public hosts. At most 256
 * of a kind are in force; an entry of what is taken after a crash may name those of two grants.
 */
const grantedScopes = z.partialRecord(
  z.enum([...permissionNames, "eval"]),
  z.array(z.string().max(1_024)).max(512),
);
/** The most calls that one `kernel.recovered` lists: some 35,000 bytes. */
export const recoveredCallsMax = 2_000;

/** The `data` of each event type. */
export const ledgerEventData = {
  "ledger.created": z.strictObject({
    origin: z.string().max(128),
    keys: z.array(verifierKey).min(1).max(2),
  }),
  "ledger.recovered": z.strictObject({ bytesCut: nat, cutSha256: sha256Hex }),
  /** From this entry on, `key` signs checkpoints too. */
  "ledger.rotated": z.strictObject({ key: verifierKey }),
  /** `key` counts for no checkpoint that is larger than this entry's size: under load it signs a few more. */
  "ledger.retired": z.strictObject({ key: verifierKey }),
  "commitment.deleted": z.strictObject({
    entry: nat,
    fields: z.array(commitmentField).min(1).max(8),
  }),
  /** What opens the commitments of `entry` was shown to the actor. */
  "commitment.opened": z.strictObject({ entry: nat }),
  "kernel.started": z.strictObject({
    version: versionSchema,
    deno: z.string().max(64),
    tier: isolationSchema,
    configCommitment: sha256Hex,
  }),
  /** No entry of a forced stop: the warden kills, and the next start writes `kernel.recovered`. */
  "kernel.stopped": z.strictObject({ reason: z.enum(["drained", "failed"]) }),
  /**
   * The life of the kernel that began at entry `started` (-1: not among the records that were read) did not end
   * with `kernel.stopped`, or had `calls` without an outcome then, named by their `call.accepted`. More of them
   * than fit into one entry stand in several. `complete`: the records were read back to `started`.
   */
  "kernel.recovered": z.strictObject({
    started: z.int().min(-1),
    calls: z.array(nat).max(recoveredCallsMax),
    complete: z.enum(["yes", "no"]),
  }),
  /**
   * Names of the settings that are not as at the last start; the ones of a record of plugins are never among
   * them. The same configuration is committed to in the `kernel.started` before it: who shreds one must shred
   * both.
   */
  "config.changed": z.strictObject({
    keys: z.array(z.string().max(64).regex(/^[$A-Za-z]+(?:\.[A-Za-z]+)*$/)).min(1).max(256),
    configCommitment: sha256Hex,
  }),
  /**
   * A folder of a plugin is there for the first time, or with other bytes. No digest of what cannot be read
   * whole.
   */
  "plugin.found": z.strictObject({ folderCommitment: sha256Hex, packageSha256: sha256Hex.optional() }),
  "plugin.admitted": z.strictObject({ packageSha256: sha256Hex, signed: z.enum(["yes", "no"]) }),
  "plugin.rejected": z.strictObject({
    folderCommitment: sha256Hex,
    reasonCommitment: sha256Hex,
    code: problemCodeSchema,
  }),
  "plugin.started": z.strictObject({
    isolation: isolationSchema,
    packageSha256: sha256Hex,
    granted: grantedScopes,
  }),
  "plugin.stopped": z.strictObject({
    reason: z.enum(["operator", "idle", "shutdown", "reload", "per-call"]),
  }),
  "plugin.failed": z.strictObject({ code: problemCodeSchema, reasonCommitment: sha256Hex }),
  "plugin.crashed": z.strictObject({
    exitCode: z.int(),
    /** As the operating system names it, or "". */
    signal: z.string().max(16),
    calls: nat,
    detailCommitment: sha256Hex,
  }),
  "plugin.killed": z.strictObject({ code: problemCodeSchema, calls: nat, detailCommitment: sha256Hex }),
  "plugin.enabled": z.strictObject({}),
  "plugin.disabled": z.strictObject({}),
  "plugin.loaded": z.strictObject({ packageSha256: sha256Hex }),
  "plugin.unloaded": z.strictObject({}),
  "plugin.ordered": z.strictObject({
    verb: z.enum([
      ...["load", "start", "stop", "suspend", "resume", "unload"] as const,
      ...["enable", "disable", "reset", "grant"] as const,
    ]),
  }),
  "plugin.suspended": z.strictObject({}),
  "plugin.resumed": z.strictObject({}),
  "plugin.quarantined": z.strictObject({
    code: problemCodeSchema,
    failures: nat,
    windowMs: nat,
    reasonCommitment: sha256Hex,
  }),
  "plugin.reset": z.strictObject({}),
  "breaker.changed": z.strictObject({ state: z.enum(["closed", "open", "half_open"]) }),
  /** In force from here on, and not before. */
  "grant.given": z.strictObject({ granted: grantedScopes }),
  /** No longer in force for cells that start from here on; one that runs has what its `plugin.started` says. */
  "grant.taken": z.strictObject({ granted: grantedScopes }),
  "call.accepted": z.strictObject({
    action: actionNameSchema,
    request: requestId,
    inputCommitment: sha256Hex,
  }),
  "call.retried": z.strictObject({
    action: actionNameSchema,
    request: requestId,
    accepted: nat,
    code: problemCodeSchema,
  }),
  "call.completed": z.strictObject({
    action: actionNameSchema,
    request: requestId,
    accepted: nat,
    durationUs: nat,
    outputCommitment: sha256Hex,
  }),
  "call.failed": z.strictObject({
    action: actionNameSchema,
    request: requestId,
    accepted: nat,
    durationUs: nat,
    code: problemCodeSchema,
    detailCommitment: sha256Hex,
  }),
  "call.refused": z.strictObject({
    request: requestId,
    code: problemCodeSchema,
    targetCommitment: sha256Hex,
  }),
  "request.refused": z.strictObject({
    request: requestId,
    code: problemCodeSchema,
    targetCommitment: sha256Hex,
  }),
  /** The first check that a plugin's code passed of a resource. `plugin` is who; the actor is the kernel. */
  "permission.used": z.strictObject({
    permission: z.enum(auditedPermissions),
    resourceCommitment: sha256Hex,
  }),
  /** `count` refused checks of this resource, each told once: here, or in a `permission.counted`. */
  "permission.refused": z.strictObject({
    permission: z.enum(auditedPermissions),
    resourceCommitment: sha256Hex,
    count: z.int().positive(),
  }),
  /** Refused checks of this plugin that are in no other entry. */
  "permission.counted": z.strictObject({ count: z.int().positive(), windowMs: nat }),
  /**
   * A job is on disk. Its attempts are calls, whose `request` is `<job>-<lease>`: leases of a job are counted from 1,
   * and no two calls have the same one, while an attempt that was given back before it began leaves its number to
   * the next. `plugin` is empty, and there is no action, for a pipeline; its input is the plan with its input.
   * `parent`: the pipeline that it is a part of.
   */
  "job.enqueued": z.strictObject({
    job: jobIdSchema,
    action: actionNameSchema.optional(),
    parent: jobIdSchema.optional(),
    schedule: jobIdSchema.optional(),
    inputCommitment: sha256Hex,
  }),
  /** One of these three for each job that has ended; another after each redrive. `attempt`: attempts begun. */
  "job.completed": z.strictObject({ job: jobIdSchema, attempt: nat }),
  "job.failed": z.strictObject({
    job: jobIdSchema,
    attempt: nat,
    code: problemCodeSchema,
    detailCommitment: sha256Hex,
  }),
  "job.cancelled": z.strictObject({ job: jobIdSchema, attempt: nat }),
  /** Somebody asked for it; what comes of it is in the entries that follow. */
  "job.ordered": z.strictObject({ job: jobIdSchema, verb: z.enum(["cancel", "retry"]) }),
  "schedule.created": z.strictObject({
    schedule: jobIdSchema,
    action: actionNameSchema,
    scheduleCommitment: sha256Hex,
  }),
  "schedule.deleted": z.strictObject({ schedule: jobIdSchema }),
  /** Refusals of this actor, calls and other requests, that have no entries of their own. */
  "refusal.counted": z.strictObject({ count: z.int().positive(), windowMs: nat }),
  "token.created": z.strictObject({ token: tokenId, role: roleSchema, nameCommitment: sha256Hex }),
  "token.revoked": z.strictObject({ token: tokenId }),
  "token.refused": z.strictObject({ count: z.int().positive(), windowMs: nat }),
} as const;

export type LedgerEventType = keyof typeof ledgerEventData;
export type LedgerEventData<T extends LedgerEventType> = z.infer<(typeof ledgerEventData)[T]>;

export const ledgerEventTypes = Object.keys(ledgerEventData) as [LedgerEventType, ...LedgerEventType[]];

/** What a record's data is made of: integers and strings, in lists and objects. */
export type LedgerValue = string | number | LedgerValue[] | { [key: string]: LedgerValue };
const ledgerValue: z.ZodType<LedgerValue> = z.lazy(() =>
  z.union([z.string(), z.int(), z.array(ledgerValue), z.record(z.string(), ledgerValue)])
);

/**
 * One record, in its fixed key order. A reader takes types that it does not know: a log outlives the
 * version that wrote it.
 */
export const ledgerRecordSchema = z.strictObject({
  v: z.literal(1),
  seq: nat,
  time: z.iso.datetime({ precision: 3 }),
  type: z.string().max(64).regex(/^[a-z]+\.[a-z]+$/),
  actor: z.string().max(128),
  plugin: z.string().max(256),
  data: z.record(z.string(), ledgerValue),
  prev: sha256Hex,
});
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;
