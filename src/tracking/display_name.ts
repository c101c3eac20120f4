/** What services show a run as. */
import type { RunFacts } from "./sink.ts";

/** The run's own name, or the one that the reference program gives it. */
export function displayName({ config, promptCount }: Pick<RunFacts, "config" | "promptCount">): string {
  return config.run_name as string | null ??
    (config.algorithm === "es"
      ? `es_align_seed${config.seed}_n${promptCount}`
      : `grpo_align_beta${config.beta}_seed${config.seed}_unified_n${promptCount}`);
}
