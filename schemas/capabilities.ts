/**
 * Capabilities, as a manifest requests them, and grants, as an operator gives them.
 *
 * The seven lists map one to one to Deno permissions. In a request `*` stands for "the operator names
 * which"; a grant never contains one. `${package}` and `${data}` are the package's read-only folder and
 * the plugin's private folder. Pure.
 *
 * @module
 */
import { z } from "zod";

/** The Deno permissions that a plugin can be granted, in the order they are shown. */
export const permissionNames = ["net", "read", "write", "run", "env", "sys", "ffi"] as const;
export type PermissionName = (typeof permissionNames)[number];

const scope = z.string().min(1).max(1_024).regex(/^[^\0\r\n]*$/, "must be one line without NUL");
const scopes = z.array(scope).max(256);

const requestedScopes = scopes.default([]);

/** Services of the kernel itself, checked on each use. */
export const hostCapabilitiesSchema = z.strictObject({
  kv: z.strictObject({
    bytesMax: z.int().positive().default(1_048_576).describe("Largest size of all values."),
  }).optional().describe("A key-value store of its own."),
  call: requestedScopes.describe("Plugins to call, each as id or id@range."),
  runner: requestedScopes.describe("Programs that the host runs for the plugin."),
  devices: requestedScopes.describe("Devices, by name."),
  ai: requestedScopes.describe("Models, by name."),
  systemConfig: requestedScopes.describe("Settings of the system, by name."),
  custom: z.record(z.string(), z.unknown()).default({}).describe("Services of a particular installation."),
  secrets: z.record(
    z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/),
    z.strictObject({
      host: scope.describe("The one host, `name:port`, that the secret is sent to."),
      header: z.string().min(1).max(128).describe("The request header that carries it."),
    }),
  ).default({}).describe(
    "Secrets that the kernel puts into requests of `ctx.fetch`; the plugin never sees them.",
  ),
  events: z.strictObject({
    publish: requestedScopes.describe("Events to send, for example summarise.*"),
    subscribe: requestedScopes.describe("Events to receive, for example job.*"),
  }).default({ publish: [], subscribe: [] }).describe("Events on the bus."),
  jobs: z.boolean().default(false).describe("Enqueue jobs."),
  http: requestedScopes.describe("Paths that the plugin's own `fetch` answers, below /p/{id}."),
});

export const capabilitiesSchema = z.strictObject({
  net: requestedScopes.describe(
    "Hosts, `name:port`. Public ones are granted by default; `*:443` leaves the hosts to the operator.",
  ),
  read: requestedScopes.describe("Absolute paths. `*` leaves them to the operator."),
  write: requestedScopes.describe("Absolute paths. `*` leaves them to the operator."),
  run: requestedScopes.describe("Programs, by name or absolute path. Sealed tier only."),
  env: requestedScopes.describe("Names of environment variables; `AWS_*` leaves the rest to the operator."),
  sys: requestedScopes.describe("Deno's sys kinds, such as `hostname`."),
  ffi: requestedScopes.describe("Paths of native libraries. Sealed tier only."),
  eval: z.boolean().default(false).describe("Code from strings: eval and `new Function`."),
  host: hostCapabilitiesSchema.prefault({}).describe("Services of the kernel itself."),
});
export type Capabilities = z.infer<typeof capabilitiesSchema>;

/** What an operator writes: any subset; what is left out is not granted. */
export const operatorGrantsSchema = z.strictObject({
  net: scopes.optional().describe("Hosts, each `name:port`."),
  read: scopes.optional().describe("Absolute paths of files, or of folders with all below them."),
  write: scopes.optional().describe("Absolute paths of files, or of folders with all below them."),
  run: scopes.optional().describe("Absolute paths of programs."),
  env: scopes.optional().describe("Names of environment variables."),
  sys: scopes.optional().describe("Deno's sys kinds, such as `hostname`."),
  ffi: scopes.optional().describe("Absolute paths of native libraries."),
  eval: z.boolean().optional().describe("Code from strings: eval and `new Function`."),
});
export type OperatorGrants = z.infer<typeof operatorGrantsSchema>;

/** What is in force: every key named, every path absolute, nothing left to a default. */
export const grantsSchema = z.strictObject({
  net: scopes,
  read: scopes,
  write: scopes,
  run: scopes,
  env: scopes,
  sys: scopes,
  ffi: scopes,
  eval: z.boolean(),
});
export type Grants = z.infer<typeof grantsSchema>;

/** Isolation tiers, weakest first. */
export const isolationTiers = ["process", "sealed"] as const;
export const isolationSchema = z.enum(isolationTiers);
export type Isolation = z.infer<typeof isolationSchema>;
