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
  cpuPercent: bounded(1, 6_400, 100, "CPU share, sustained; 100 is one core."),
  cpuMs: bounded(10, 86_400_000, 10_000, "CPU time of one call."),
  wallMs: bounded(10, 86_400_000, 30_000, "Wall-clock time of one call."),
  fileMb: bounded(1, 65_536, 16, "Size of one file the cell writes."),
  fileDescriptors: bounded(32, 65_536, 64, "Open descriptors of the cell."),
  connections: bounded(0, 65_536, 8, "Open network connections of the cell."),
  diskMb: bounded(1, 1_048_576, 64, "Size of ${data} and of each temporary folder of the cell."),
  files: bounded(1, 10_000_000, 10_000, "Number of files in ${data}."),
  threads: bounded(8, 4_096, 64, "Threads of the cell."),
  messagesPerSecond: bounded(10, 10_000_000, 100_000, "Frames from the cell, sustained."),
  outputMb: bounded(1, 1_024, 16, "Size of one output, and of all tokens of one stream."),
  logBytesPerSecond: bounded(0, 1_073_741_824, 65_536, "Log of the cell, sustained."),
});
export type Limits = z.infer<typeof limitsSchema>;

/** The operator's caps: any subset of the limits. */
export const limitCapsSchema = z.strictObject(
  Object.fromEntries(
    Object.entries(limitsSchema.shape).map(([name, schema]) => [
      name,
      schema.unwrap().optional().describe(schema.description ?? ""),
    ]),
  ) as { [K in keyof Limits]: z.ZodOptional<z.ZodInt> },
);
export type LimitCaps = z.infer<typeof limitCapsSchema>;

/** The smaller of what a manifest asks and what the operator allows, name by name. */
export function capLimits(requested: Limits, caps: LimitCaps): Limits {
  const capped = { ...requested };
  for (const name of Object.keys(capped) as (keyof Limits)[]) {
    capped[name] = Math.min(capped[name], caps[name] ?? Infinity);
  }
  return capped;
}
