/**
 * Work on many things at once, and never on more than so many: what each waits for, a disk or a thread, then has
 * others to do meanwhile.
 *
 * Pure of I/O.
 *
 * @module
 */

/**
 * Does `work` on each of `items`, at most `atOnceMax` at once, in their order; resolves to what it gave, in the same
 * order. Rejects with the first failure, and begins no more.
 */
export async function concurrently<T, R>(
  items: readonly T[],
  atOnceMax: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const rest = items.entries();
  let hasFailed = false;
  const workThrough = async () => {
    // One iterator for all: each takes the next.
    for (const [index, item] of rest) {
      if (hasFailed) return;
      try {
        results[index] = await work(item, index);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, workThrough));
  return results;
}
