/**
 * Backoff: the pause before a connection is tried again. Pure.
 *
 * @module
 */

export interface Backoff {
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
}

/**
 * Milliseconds before try `attempt` (from 1): `backoffMs`, doubled for each further one up to `backoffMaxMs`, and of
 * that between a half and the whole, by chance, so that many clients of one server do not come back all at once.
 */
export function pauseBefore(attempt: number, { backoffMs, backoffMaxMs }: Backoff, random: number): number {
  const wholeMs = Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(attempt - 1, 30));
  return wholeMs / 2 + random * wholeMs / 2;
}
