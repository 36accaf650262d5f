/**
 * The audit: which resources a plugin's code asked Deno for, how often, and what Deno said.
 *
 * Deno tells of each permission check of a cell, and the warden counts them (`sandbox/warden/cell_audit.ts`).
 * What a check names was chosen by the plugin: it is clipped, and shown as its word. Pure.
 *
 * @module
 */
import { z } from "zod";
import { permissionNames } from "./capabilities.ts";

/** What Deno checks. It tells nothing of `run`: see `sandbox/warden/cell_audit.ts`. */
export const auditedPermissions = [...permissionNames, "import"] as const;
export type AuditedPermission = (typeof auditedPermissions)[number];

/** UTF-16 units of a resource's name; what is longer is cut, and ends in `…`. */
export const resourceCharsMax = 512;
/** Different checks that one report names; others follow in the next one. */
export const reportedChecksMax = 256;

/** Equal checks of one cell since its last report. */
export const permissionCheckSchema = z.strictObject({
  permission: z.enum(auditedPermissions),
  /** As Deno names it: a path, `host:port`, a variable. Null: all there are. A path is absolute. */
  resource: z.string().max(resourceCharsMax).nullable(),
  count: z.int().positive(),
});
export type PermissionCheck = z.infer<typeof permissionCheckSchema>;

export const auditOutcomes = ["granted", "refused"] as const;
export type AuditOutcome = (typeof auditOutcomes)[number];

/** One resource of a plugin's audit, as the API shows it. */
export const auditItemSchema = z.strictObject({
  permission: z.enum(auditedPermissions),
  resource: z.string().nullable().describe(
    "A path, with `${package}` and `${data}` for the plugin's own folders; host:port; a name. Null: all there are. " +
      "`<scope>/*`: others within that granted scope, which are no longer told apart. Chosen by the plugin.",
  ),
  outcome: z.enum(auditOutcomes),
  count: z.int().positive().describe("Checks. One operation may make several."),
  firstAt: z.iso.datetime(),
  lastAt: z.iso.datetime(),
});
export type AuditItem = z.infer<typeof auditItemSchema>;

/** A page of a plugin's audit. */
export const auditViewSchema = z.strictObject({
  items: z.array(auditItemSchema),
  next: z.string().nullable(),
  untold: z.int().nonnegative().describe("Refused checks of resources that are not told apart."),
  isAudited: z.boolean().describe(
    "false where this machine, or a compiled binary, has no audit: then nothing is known.",
  ),
});
export type AuditView = z.infer<typeof auditViewSchema>;
