import { deepFreeze } from "./freeze.ts";
import type { Config } from "./schema.ts";

/** One run of a sweep: beta is one number. */
export type RunConfig = Omit<Config, "beta"> & { readonly beta: number };

/** The runs a configuration asks for: one per value of beta, in order. */
export function sweepRuns(config: Config): RunConfig[] {
  const betas = typeof config.beta === "number" ? [config.beta] : config.beta;
  return betas.map((beta) => deepFreeze({ ...config, beta }));
}
