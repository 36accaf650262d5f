/**
 * The rate at which a cell writes to disks: so much at once as it may keep, and then so much in a second.
 *
 * A disk is shared, and whoever waits for a write of his own to be on it waits for those of others, too: the ledger
 * does at each call. What a plugin may keep is bounded, but it can write the same again and again. Where it has
 * written more than its rate it stands still until that is made up for. Pure.
 *
 * @module
 */

export interface DiskRateOptions {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
}

export class DiskRate {
  #leftBytes: number;
  #writtenBytes = 0;
  #atMs: number | undefined;

  constructor(private readonly options: DiskRateOptions) {
    this.#leftBytes = options.burstBytes;
  }

  /** `writtenBytes`: since the cell began. For how long it is to stand still from now on, in ms. */
  take(writtenBytes: number, nowMs: number): number {
    const { bytesPerSecond, burstBytes } = this.options;
    const filled = this.#leftBytes + (nowMs - (this.#atMs ?? nowMs)) / 1_000 * bytesPerSecond;
    // A process that has ended may take its sum with it.
    const written = Math.max(0, writtenBytes - this.#writtenBytes);
    this.#leftBytes = Math.min(burstBytes, filled) - written;
    this.#writtenBytes = writtenBytes;
    this.#atMs = nowMs;
    return Math.max(0, -this.#leftBytes / bytesPerSecond * 1_000);
  }
}
