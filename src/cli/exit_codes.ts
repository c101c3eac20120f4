/** What a command that fails ends with, for scripts that decide by it; docs/troubleshooting.md has the table. */
import { saysNoScorer } from "../scorer/errors.ts";

/** By the error's name, so that no class need be loaded for it; the codes are those of sysexits.h. */
const CODES: Readonly<Record<string, number>> = {
  /** EX_IOERR: the GPU failed; the same command may well succeed, on another one or with less at a time. */
  GpuError: 74,
  /** EX_DATAERR: numbers that are none; the same command fails again. */
  DivergedError: 65,
  NonfinitePolicyError: 65,
};

/** EX_TEMPFAIL: no scorer answered; the run has saved, and goes on when it is started again. */
const NO_SCORER = 75;

export function exitCodeOf(error: unknown): number {
  if (saysNoScorer(error)) return NO_SCORER;
  return error instanceof Error && Object.hasOwn(CODES, error.name) ? CODES[error.name] : 1;
}
