/**
 * A clock: the time, and timers. A parameter of what waits, so that a test can hold time still.
 *
 * @module
 */

export interface Clock {
  /** Never goes back. */
  nowMs(): number;
  /** Returns what cancels it. */
  setTimer(fire: () => void, inMs: number): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer: (fire, inMs) => {
    const timer = setTimeout(fire, inMs);
    return () => clearTimeout(timer);
  },
};
