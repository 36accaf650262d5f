/**
 * The warden protocol: one JSON object a line, over the kernel's stdin and stdout.
 *
 * The kernel can ask for a cell, for a signal to one, and for nothing else: it names no program, no flag
 * and no path of a program. Both ends parse what they receive; a line above {@linkcode wardenLineBytesMax}
 * or outside the schema ends the kernel. Pure.
 *
 * @module
 */
import { z } from "zod";
import { permissionCheckSchema, reportedChecksMax } from "./audit.ts";
import { grantsSchema, isolationSchema } from "./capabilities.ts";
import { limitsSchema } from "./limits.ts";

export const wardenLineBytesMax = 1_048_576;

const cellId = z.string().regex(/^[0-9a-z]{1,32}$/);
const absolutePath = z.string().min(1).max(4_096).startsWith("/").regex(/^[^\0\r\n]*$/);

/** All that describes a cell to the warden. Paths were computed by the kernel and are checked again. */
export const cellDescriptionSchema = z.strictObject({
  cell: cellId,
  token: z.string().regex(/^[0-9a-f]{64}$/),
  tier: isolationSchema,
  packageDir: absolutePath,
  dataDir: absolutePath,
  grants: grantsSchema,
  limits: limitsSchema,
});
export type CellDescription = z.infer<typeof cellDescriptionSchema>;

/** Why the warden killed a cell by itself: the limit that the cell crossed. */
export const wardenKillReasons = [
  "LIMIT_MEMORY",
  "LIMIT_CPU",
  "LIMIT_THREADS",
  "LIMIT_DESCRIPTORS",
  "LIMIT_CONNECTIONS",
  "LIMIT_DISK",
  "LIMIT_FILES",
] as const;
export type WardenKillReason = (typeof wardenKillReasons)[number];

/** Calls that one report names at most; the oldest are named. */
export const reportedCallsMax = 32;

const callId = z.int().positive();
const callIds = z.array(callId).max(reportedCallsMax);

/** Kernel → warden. */
export const toWardenSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("start"), description: cellDescriptionSchema }),
  z.strictObject({ type: z.literal("locate"), cell: cellId }),
  z.strictObject({ type: z.literal("kill"), cell: cellId }),
  // Answered by `suspended` and `resumed`, and by `ended` when there is no such cell any more.
  z.strictObject({ type: z.literal("suspend"), cell: cellId }),
  z.strictObject({ type: z.literal("resume"), cell: cellId }),
  // Answered by an `audit` with the same `question`, with what there is; by nothing where the cell has ended.
  z.strictObject({ type: z.literal("audit"), cell: cellId, question: z.int().positive() }),
  // What the cell works on now: all its calls are `count`, the oldest of them `ids`. The warden charges the
  // CPU time of the cell to the calls under way, in equal parts.
  z.strictObject({ type: z.literal("calls"), cell: cellId, count: z.int().nonnegative(), ids: callIds }),
  // Would a cell over these be refused? Answered by `checked`.
  z.strictObject({
    type: z.literal("check"),
    check: z.int().nonnegative(),
    description: cellDescriptionSchema.pick({ tier: true, packageDir: true, dataDir: true, grants: true }),
  }),
  z.strictObject({
    type: z.literal("listening"),
    port: z.int().min(1).max(65_535),
    plugins: z.array(z.strictObject({ id: z.string(), version: z.string(), status: z.string() })),
    plural: z.int().nonnegative(),
    example: z.string().max(4_096),
  }),
  z.strictObject({ type: z.literal("drained") }),
]);
export type ToWarden = z.infer<typeof toWardenSchema>;

/** Warden → kernel. */
export const fromWardenSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("started"), cell: cellId }),
  z.strictObject({ type: z.literal("refused"), cell: cellId, message: z.string() }),
  z.strictObject({ type: z.literal("located"), cell: cellId, pid: z.int().positive().nullable() }),
  z.strictObject({ type: z.literal("log"), cell: cellId, text: z.string() }),
  // What the cell asked Deno for since the last such message. `asked`: the question that it answers.
  z.strictObject({
    type: z.literal("audit"),
    cell: cellId,
    checks: z.array(permissionCheckSchema).max(reportedChecksMax),
    asked: z.int().positive().nullable(),
  }),
  z.strictObject({
    type: z.literal("ended"),
    cell: cellId,
    exitCode: z.int(),
    signal: z.string().nullable(),
    killed: z.enum([...wardenKillReasons, "asked"]).nullable(),
    // In words and figures what was crossed, when the warden killed by itself: "it used 140 MB of 128 MB".
    detail: z.string().max(512),
    // The calls that crossed `limits.cpuMs`, when that is why.
    calls: callIds,
  }),
  // It wrote too much to a disk, and gets no CPU time for so long.
  z.strictObject({ type: z.literal("paused"), cell: cellId, ms: z.int().positive() }),
  z.strictObject({ type: z.literal("suspended"), cell: cellId }),
  z.strictObject({ type: z.literal("resumed"), cell: cellId }),
  z.strictObject({
    type: z.literal("checked"),
    check: z.int().nonnegative(),
    fault: z.string().max(8_192).nullable(),
  }),
  z.strictObject({ type: z.literal("drain") }),
]);
export type FromWarden = z.infer<typeof fromWardenSchema>;

/** What the warden tells a kernel in its first line. */
export const kernelBootSchema = z.strictObject({
  type: z.literal("boot"),
  config: z.unknown(),
  dataDir: absolutePath,
  bundledPlugins: absolutePath,
  pluginFolders: z.array(absolutePath),
  codeDir: absolutePath,
  docsDir: absolutePath,
  socket: absolutePath,
  port: z.int().min(0).max(65_535),
  tier: isolationSchema,
  tierReason: z.string(),
  pid: z.int().positive(),
  /** Whether this machine lets the warden audit what cells ask Deno for. */
  audited: z.boolean(),
});
export type KernelBoot = z.infer<typeof kernelBootSchema>;
