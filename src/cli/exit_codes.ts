/** What a command that fails ends with, for scripts that decide by it; docs/troubleshooting.md has the table. */

/** By the error's name, so that no class need be loaded for it; the codes are those of sysexits.h. */
const CODES: Readonly<Record<string, number>> = {
  /** EX_IOERR: the GPU failed; the same command may well succeed, on another one or with less at a time. */
  GpuError: 74,
  /** EX_DATAERR: numbers that are none; the same command fails again. */
  DivergedError: 65,
  NonfinitePolicyError: 65,
};

export function exitCodeOf(error: unknown): number {
  return error instanceof Error && Object.hasOwn(CODES, error.name) ? CODES[error.name] : 1;
}
