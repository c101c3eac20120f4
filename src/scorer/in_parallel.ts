/** Several pieces of work at once. */

/**
 * Runs all items, so many at once, begun in order. Where one fails the others are given up, and its error is told.
 * @returns their results, in the items' order
 * @throws what the first that fails throws
 */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (item: T, signal?: AbortSignal) => Promise<R>,
  signal?: AbortSignal,
): Promise<R[]> {
  const giveUp = new AbortController();
  const either = signal ? AbortSignal.any([signal, giveUp.signal]) : giveUp.signal;
  const results = new Array<R>(items.length);
  let next = 0;
  async function work(): Promise<void> {
    while (next < items.length && !either.aborted) {
      const i = next++;
      results[i] = await run(items[i], either);
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
    signal?.throwIfAborted();
    return results;
  } catch (error) {
    giveUp.abort(error);
    throw error;
  }
}
