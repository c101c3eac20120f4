/** Mutants of StrykerJS that no test can notice, each with the reason. */
import type { EquivalentMutant } from "./stryker.ts";

export const EQUIVALENT_MUTANTS: readonly EquivalentMutant[] = [];
