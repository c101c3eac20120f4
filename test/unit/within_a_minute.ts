/** Deadlines for tests of what must not wait. */

/** `work`, or an error after a minute: far more than it takes, also on a machine with other work. */
export async function withinAMinute<R>(work: Promise<R>, what: string): Promise<R> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within a minute`)), 60_000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
