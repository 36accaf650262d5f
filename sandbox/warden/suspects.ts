/**
 * Plugins that were greedy not long ago, see `cpu_demand.ts`. It is the plugin's and outlives its cells: else one that
 * has its cell ended again and again would be given the patience for a first burst, and soon a trial, with each. Pure.
 *
 * @module
 */

const rememberedMs = 600_000;

export class Suspects {
  /** By the private folder. */
  readonly #suspects = new Map<string, { readonly trialAfterMs: number; readonly untilMs: number }>();

  /** How long it is to be greedy before it is tried; undefined of none. */
  trialAfterMs(dataDir: string, nowMs: number): number | undefined {
    const suspect = this.#suspects.get(dataDir);
    return suspect === undefined || suspect.untilMs <= nowMs ? undefined : suspect.trialAfterMs;
  }

  /** It is greedy now. */
  add(dataDir: string, trialAfterMs: number, nowMs: number): void {
    if (!this.#suspects.has(dataDir)) this.#forget(nowMs);
    this.#suspects.set(dataDir, { trialAfterMs, untilMs: nowMs + rememberedMs });
  }

  #forget(nowMs: number): void {
    for (const [dataDir, { untilMs }] of this.#suspects) {
      if (untilMs <= nowMs) this.#suspects.delete(dataDir);
    }
  }

  /** It has passed a trial. */
  delete(dataDir: string): void {
    this.#suspects.delete(dataDir);
  }
}
