/**
 * Limits: what one plugin may use at most. A manifest asks, the operator's caps bound the answer.
 *
 * Every number is a ceiling and each has its unit last in its name. Pure.
 *
 * @module
 */
import { z } from "zod";

const bounded = (min: number, max: number, initial: number, description: string) =>
  z.int().min(min).max(max).default(initial).describe(description);

export const limitsSchema = z.strictObject({
  memoryMb: bounded(
    16,
    65_536,
    128,
    "Memory of the cell: heap, buffers and what it wrote to its temporary folders.",
  ),
  cpuPercent: bounded(1, 6_400, 200, "CPU share, sustained; 100 is one core."),
  cpuMs: bounded(10, 86_400_000, 10_000, "CPU time of one call."),
  wallMs: bounded(10, 86_400_000, 30_000, "Wall-clock time of one call."),
  fileMb: bounded(1, 65_536, 16, "Size of one file the cell writes."),
  fileDescriptors: bounded(32, 65_536, 64, "Open descriptors of the cell, beside the runtime's own."),
  connections: bounded(0, 65_536, 8, "Open network connections of the cell, beside the runtime's own."),
  diskMb: bounded(1, 1_048_576, 64, "Size of ${data} and of each temporary folder of the cell."),
  files: bounded(1, 10_000_000, 10_000, "Number of files in ${data}."),
  threads: bounded(
    8,
    4_096,
    64,
    "Threads of the cell, beside the runtime's own: a Worker takes one or more.",
  ),
  messagesPerSecond: bounded(
    10,
    10_000_000,
    100_000,
    "Frames from the cell, sustained; a second's worth at once.",
  ),
  outputMb: bounded(1, 1_024, 16, "Size of one output, and of all tokens of one stream."),
  logBytesPerSecond: bounded(0, 1_073_741_824, 65_536, "Log of the cell, sustained."),
});
export type Limits = z.infer<typeof limitsSchema>;

/** What any manifest may ask without a word of the operator. */
const capsInitial: Limits = {
  memoryMb: 1_024,
  cpuPercent: 400,
  cpuMs: 600_000,
  wallMs: 600_000,
  fileMb: 1_024,
  fileDescriptors: 1_024,
  connections: 256,
  diskMb: 1_024,
  files: 100_000,
  threads: 256,
  messagesPerSecond: 1_000_000,
  outputMb: 64,
  logBytesPerSecond: 1_048_576,
};

const limitNames = Object.keys(capsInitial) as (keyof Limits)[];

/** The operator's caps; one that is left out is what any manifest may ask. */
export const limitCapsSchema = z.strictObject(
  Object.fromEntries(limitNames.map((name) => {
    const schema = limitsSchema.shape[name];
    return [name, schema.unwrap().default(capsInitial[name]).describe(schema.description ?? "")];
  })) as { [K in keyof Limits]: z.ZodDefault<z.ZodInt> },
);
export type LimitCaps = z.infer<typeof limitCapsSchema>;

/** The smaller of what a manifest asks and what the operator allows, name by name. */
export function capLimits(requested: Limits, caps: LimitCaps): Limits {
  const capped = { ...requested };
  for (const name of limitNames) capped[name] = Math.min(requested[name], caps[name]);
  return capped;
}

/** Names of the limits that are above their caps. */
export function limitsAbove(limits: Limits, caps: LimitCaps): string[] {
  return limitNames.filter((name) => limits[name] > caps[name]);
}
