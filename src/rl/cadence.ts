/**
 * Whether something done every `every` optimizer steps (0 = never) is due at `step`, the last of the `done` steps
 * that were just made: a multiple of `every` lies among them.
 */
export function isDue(every: number, step: number, done: number): boolean {
  return every > 0 && Math.floor(step / every) > Math.floor((step - done) / every);
}
