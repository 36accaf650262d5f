/**
 * A bounded wait: for work that may take longer than anybody can wait for it.
 *
 * @module
 */

/**
 * Waits for `work`, but not for longer than `ms`. Rejects as `work` does, unless that is later: then nobody
 * hears of it.
 */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
