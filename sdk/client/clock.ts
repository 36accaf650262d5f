/**
 * A client's clock: the time, timers and chance, as parameters, so that a test decides them.
 *
 * @module
 */

export interface ClientClock {
  /** Milliseconds on a clock that never goes back. */
  nowMs(): number;
  /** Calls `fire` once, after `inMs`; what it returns cancels that. */
  setTimer(fire: () => void, inMs: number): () => void;
  /** From 0 up to, and not including, 1. */
  random(): number;
}

export const systemClock: ClientClock = {
  nowMs: () => performance.now(),
  setTimer(fire, inMs) {
    const timer = setTimeout(fire, inMs);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
