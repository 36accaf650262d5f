/**
 * A slow lane that nobody enters until the test says so. Only `*_test.ts` files import this.
 *
 * @module
 */
import { systemClock } from "./clock.ts";
import { SlowLane } from "./slow_lane.ts";

export class HeldLane extends SlowLane {
  readonly #released = Promise.withResolvers<void>();
  readonly #asked = Promise.withResolvers<void>();
  /** How often it was asked for a turn. */
  asked = 0;

  /** By the usual clock nothing takes time, so that frames never need the lane, however slow the machine. */
  constructor(nowMs: () => number = () => 0) {
    super({ ...systemClock, nowMs });
  }

  /** Resolves when it is asked for the first one. */
  get wasAsked(): Promise<void> {
    return this.#asked.promise;
  }

  override async run<T>(slice: () => T): Promise<T> {
    this.asked++;
    this.#asked.resolve();
    await this.#released.promise;
    return await super.run(slice);
  }

  release(): void {
    this.#released.resolve();
  }
}
