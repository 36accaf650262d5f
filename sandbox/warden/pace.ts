/**
 * The pace of the warden's walks through folders: a short slice of work, then a rest.
 *
 * All walks share one pace, so that they hold up the warden's other work for one slice at most, however many
 * there are and however large the folders that plugins fill.
 *
 * @module
 */

const sliceMs = 3;
const restMs = 9;

export class Pace {
  #sliceEndsMs = 0;
  #rest: Promise<void> | undefined;

  /** Nothing while there is time left; else what to wait for. */
  turn(): Promise<void> | undefined {
    if (this.#rest !== undefined) return this.#rest;
    const nowMs = performance.now();
    if (nowMs < this.#sliceEndsMs) return undefined;
    if (nowMs >= this.#sliceEndsMs + restMs) {
      this.#sliceEndsMs = nowMs + sliceMs;
      return undefined;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(() => {
      this.#rest = undefined;
      this.#sliceEndsMs = performance.now() + sliceMs;
      resolve();
    }, restMs);
    this.#rest = promise;
    return promise;
  }
}
