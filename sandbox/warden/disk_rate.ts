/**
 * The rate at which a cell writes to disks: so much at once as it may keep, and then so much in a second.
 *
 * A disk is shared, and whoever waits for a write of his own to be on it waits for those of others, too: the ledger
 * does at each call. What a plugin may keep is bounded, but it can write the same again and again. Where it has
 * written more than its rate it stands still until that is made up for. It is the plugin's and outlives its cells:
 * else one that has its cell ended again and again would begin anew with each. Pure.
 *
 * @module
 */

import type { CellDescription } from "../../schemas/warden_protocol.ts";
import { megabyte } from "./cell_watch.ts";

export interface DiskRateOptions {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
}

export class DiskRate {
  #leftBytes: number;
  #atMs: number | undefined;

  constructor(private readonly options: DiskRateOptions) {
    this.#leftBytes = options.burstBytes;
  }

  /** `writtenBytes`: since the last time. For how long it is to stand still from now on, in ms. */
  take(writtenBytes: number, nowMs: number): number {
    const { bytesPerSecond, burstBytes } = this.options;
    const filled = this.#leftBytes + (nowMs - (this.#atMs ?? nowMs)) / 1_000 * bytesPerSecond;
    this.#leftBytes = Math.min(burstBytes, filled) - writtenBytes;
    this.#atMs = nowMs;
    return Math.max(0, -this.#leftBytes / bytesPerSecond * 1_000);
  }

  /** Whether a new one would say the same. */
  isFull(nowMs: number): boolean {
    return this.take(0, nowMs) === 0 && this.#leftBytes === this.options.burstBytes;
  }
}

/** Those of all plugins that wrote something lately. */
export class DiskRates {
  /** By the private folder. */
  readonly #rates = new Map<string, DiskRate>();

  constructor(private readonly megabytesPerSecond: number) {}

  /** That of the plugin of a cell, from before if it has something to tell. */
  of({ dataDir, limits }: Pick<CellDescription, "dataDir" | "limits">, nowMs: number): DiskRate {
    for (const [folder, rate] of this.#rates) if (rate.isFull(nowMs)) this.#rates.delete(folder);
    const rate = this.#rates.get(dataDir) ?? new DiskRate({
      bytesPerSecond: this.megabytesPerSecond * megabyte,
      burstBytes: limits.diskMb * megabyte,
    });
    this.#rates.set(dataDir, rate);
    return rate;
  }
}
