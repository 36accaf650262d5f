/**
 * Plugins that were greedy not long ago, see `cpu_demand.ts`. It is the plugin's and outlives its cells: else one that
 * has its cell ended again and again would be given the patience for a first burst with each. Pure.
 *
 * @module
 */

const rememberedMs = 600_000;

export class Suspects {
  /** By the private folder: until when. */
  readonly #untilMs = new Map<string, number>();

  has(dataDir: string, nowMs: number): boolean {
    return (this.#untilMs.get(dataDir) ?? -Infinity) > nowMs;
  }

  /** It is greedy now. */
  add(dataDir: string, nowMs: number): void {
    for (const [other, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(other);
    this.#untilMs.set(dataDir, nowMs + rememberedMs);
  }
}
